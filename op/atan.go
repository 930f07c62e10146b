package op

import "math"

// Atan: y = atan x; dx = dy/(1 + x²).
// https://onnx.ai/onnx/operators/onnx__Atan.html
func init() {
	registerUnary("Atan", 7, func(*reader) elementFunc {
		return elementFunc{
			ref:    math.Atan,
			fwd:    each(func(x float32) float32 { return float32(math.Atan(float64(x))) }),
			grad:   eachGrad(func(x, _ float32) float32 { return float32(1 / (1 + float64(x)*float64(x))) }),
			readsX: true,
		}
	},
		Case{In: []Arg{RandIn(-5, 5, 2, 5, 3, 7)}},
		Case{Name: "vector", In: []Arg{RandIn(-5, 5, 37)}},
	)
}
