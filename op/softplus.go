package op

import (
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Softplus: y = ln(1 + e^x); dx = dy / (1 + e^-x).
// https://onnx.ai/onnx/operators/onnx__Softplus.html
func init() {
	registerUnary("Softplus", 1, func(*reader) elementFunc {
		return elementFunc{
			ref: func(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) },
			fwd: each(softplus),
			grad: func(dx, dy, x, y []float32) {
				kernel.Sigmoid(dx, x)
				kernel.Mul(dx, dx, dy)
			},
			readsX: true,
		}
	},
		Case{In: []Arg{RandIn(-5, 5, 2, 5, 3, 7)}},
		Case{Name: "vector", In: []Arg{RandIn(-80, 80, 37)}},
	)
}

func softplus(x float32) float32 {
	v := float64(x)
	return float32(max(v, 0) + math.Log1p(math.Exp(-math.Abs(v))))
}
