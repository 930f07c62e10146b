package op

import "math"

// Softsign: y = x / (1 + |x|); dx = dy / (1 + |x|)².
// https://onnx.ai/onnx/operators/onnx__Softsign.html
func init() {
	registerUnary("Softsign", 1, func(*reader) elementFunc {
		return elementFunc{
			ref: func(x float64) float64 { return x / (1 + math.Abs(x)) },
			fwd: each(func(x float32) float32 { return x / (1 + max(x, -x)) }),
			grad: eachGrad(func(x, _ float32) float32 {
				d := 1 + max(x, -x)
				return 1 / (d * d)
			}),
			readsX: true,
		}
	},
		Case{In: []Arg{RandIn(-5, 5, 2, 5, 3, 7)}},
		Case{Name: "vector", In: []Arg{RandIn(-50, 50, 37)}},
	)
}
