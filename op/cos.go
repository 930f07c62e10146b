package op

import "math"

// Cos: y = cos x; dx = -dy·sin x.
// https://onnx.ai/onnx/operators/onnx__Cos.html
func init() {
	registerUnary("Cos", 7, func(*reader) elementFunc {
		return elementFunc{
			ref:    math.Cos,
			fwd:    each(func(x float32) float32 { return float32(math.Cos(float64(x))) }),
			grad:   eachGrad(func(x, _ float32) float32 { return float32(-math.Sin(float64(x))) }),
			readsX: true,
		}
	},
		Case{In: []Arg{RandIn(-5, 5, 2, 5, 3, 7)}},
	)
}
