package op

import (
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Tanh: y = tanh x; dx = dy·(1 - y²).
// https://onnx.ai/onnx/operators/onnx__Tanh.html
func init() {
	registerUnary("Tanh", 6, func(*reader) elementFunc {
		return elementFunc{
			ref: math.Tanh,
			fwd: kernel.Tanh,
			grad: func(dx, dy, x, y []float32) {
				for i, v := range y {
					dx[i] = dy[i] * (1 - v*v)
				}
			},
			readsY: true,
		}
	},
		Case{In: []Arg{RandIn(-3, 3, 2, 5, 3, 7)}},
		Case{Name: "vector", In: []Arg{RandIn(-30, 30, 37)}},
	)
}
