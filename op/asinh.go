package op

import "math"

// Asinh: y = asinh x; dx = dy/√(x² + 1).
// https://onnx.ai/onnx/operators/onnx__Asinh.html
func init() {
	registerUnary("Asinh", 9, func(*reader) elementFunc {
		return elementFunc{
			ref:    math.Asinh,
			fwd:    each(func(x float32) float32 { return float32(math.Asinh(float64(x))) }),
			grad:   eachGrad(func(x, _ float32) float32 { return float32(1 / math.Sqrt(float64(x)*float64(x)+1)) }),
			readsX: true,
		}
	},
		Case{In: []Arg{RandIn(-5, 5, 2, 5, 3, 7)}},
		Case{Name: "vector", In: []Arg{RandIn(-5, 5, 37)}},
	)
}
