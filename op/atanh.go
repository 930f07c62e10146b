package op

import "math"

// Atanh: y = atanh x; dx = dy/(1 - x²).
// https://onnx.ai/onnx/operators/onnx__Atanh.html
func init() {
	registerUnary("Atanh", 9, func(*reader) elementFunc {
		return elementFunc{
			ref:    math.Atanh,
			fwd:    each(func(x float32) float32 { return float32(math.Atanh(float64(x))) }),
			grad:   eachGrad(func(x, _ float32) float32 { return float32(1 / (1 - float64(x)*float64(x))) }),
			readsX: true,
		}
	},
		Case{In: []Arg{RandIn(-0.9, 0.9, 2, 5, 3, 7)}},
		Case{Name: "vector", In: []Arg{RandIn(-0.9, 0.9, 37)}},
	)
}
