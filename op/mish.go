package op

import (
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Mish: y = x·tanh(ln(1 + e^x)).
// https://onnx.ai/onnx/operators/onnx__Mish.html
func init() {
	registerUnary("Mish", 18, func(*reader) elementFunc {
		return elementFunc{
			ref: func(x float64) float64 { return x * math.Tanh(math.Log(1+math.Exp(x))) },
			fwd: func(y, x []float32) {
				for i, v := range x {
					y[i] = softplus(v)
				}
				kernel.Tanh(y, y)
				kernel.Mul(y, y, x)
			},
			grad: eachGrad(func(x, _ float32) float32 {
				t := math.Tanh(float64(softplus(x)))
				s := 1 / (1 + math.Exp(-float64(x)))
				return float32(t + float64(x)*s*(1-t*t))
			}),
			readsX: true,
		}
	},
		Case{In: []Arg{RandIn(-5, 5, 2, 5, 3, 7)}},
		Case{Name: "vector", In: []Arg{RandIn(-50, 50, 37)}},
	)
}
