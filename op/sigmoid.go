package op

import (
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Sigmoid: y = 1 / (1 + e^-x); dx = dy·y·(1-y).
// https://onnx.ai/onnx/operators/onnx__Sigmoid.html
func init() {
	registerUnary("Sigmoid", 6, func(*reader) elementFunc {
		return elementFunc{
			ref: func(x float64) float64 { return 1 / (1 + math.Exp(-x)) },
			fwd: kernel.Sigmoid,
			grad: func(dx, dy, x, y []float32) {
				for i := range dx {
					dx[i] = dy[i] * y[i] * (1 - y[i])
				}
			},
			readsY: true,
		}
	},
		Case{In: []Arg{RandIn(-6, 6, 2, 5, 3, 7)}},
		Case{Name: "vector", In: []Arg{RandIn(-100, 100, 37)}},
	)
}
