package op

import "math"

// Acosh: y = acosh x; dx = dy/√(x² - 1).
// https://onnx.ai/onnx/operators/onnx__Acosh.html
func init() {
	registerUnary("Acosh", 9, func(*reader) elementFunc {
		return elementFunc{
			ref:    math.Acosh,
			fwd:    each(func(x float32) float32 { return float32(math.Acosh(float64(x))) }),
			grad:   eachGrad(func(x, _ float32) float32 { return float32(1 / math.Sqrt(float64(x)*float64(x)-1)) }),
			readsX: true,
		}
	},
		Case{In: []Arg{RandIn(1.2, 9, 2, 5, 3, 7)}},
		Case{Name: "vector", In: []Arg{RandIn(1.2, 9, 37)}},
	)
}
