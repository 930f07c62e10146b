package op

import "math"

// Tan: y = tan x; dx = dy·(1 + tan² x).
// https://onnx.ai/onnx/operators/onnx__Tan.html
func init() {
	registerUnary("Tan", 7, func(*reader) elementFunc {
		return elementFunc{
			ref:    math.Tan,
			fwd:    each(func(x float32) float32 { return float32(math.Tan(float64(x))) }),
			grad:   eachGrad(func(x, _ float32) float32 { return float32(1 + math.Pow(math.Tan(float64(x)), 2)) }),
			readsX: true,
		}
	},
		Case{In: []Arg{RandIn(-1, 1, 2, 5, 3, 7)}},
		Case{Name: "vector", In: []Arg{RandIn(-1, 1, 37)}},
	)
}
