package op

import (
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Erf: y = 2/√π·∫₀ˣ e^(-t²) dt; dx = dy·2/√π·e^(-x²).
// https://onnx.ai/onnx/operators/onnx__Erf.html
func init() {
	registerUnary("Erf", 9, func(*reader) elementFunc {
		return elementFunc{
			ref: math.Erf,
			fwd: kernel.Erf,
			grad: func(dx, dy, x, y []float32) {
				for i, v := range x {
					dx[i] = -v * v
				}
				kernel.Exp(dx, dx)
				for i := range dx {
					dx[i] *= dy[i] * (2 / math.SqrtPi)
				}
			},
			readsX: true,
		}
	},
		Case{In: []Arg{RandIn(-3, 3, 2, 5, 3, 7)}},
		Case{Name: "vector", In: []Arg{RandIn(-30, 30, 37)}},
	)
}
