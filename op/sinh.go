package op

import "math"

// Sinh: y = sinh x; dx = dy·cosh x.
// https://onnx.ai/onnx/operators/onnx__Sinh.html
func init() {
	registerUnary("Sinh", 9, func(*reader) elementFunc {
		return elementFunc{
			ref:    math.Sinh,
			fwd:    each(func(x float32) float32 { return float32(math.Sinh(float64(x))) }),
			grad:   eachGrad(func(x, _ float32) float32 { return float32(math.Cosh(float64(x))) }),
			readsX: true,
		}
	},
		Case{In: []Arg{RandIn(-3, 3, 2, 5, 3, 7)}},
		Case{Name: "vector", In: []Arg{RandIn(-3, 3, 37)}},
	)
}
