package op

import (
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Exp: y = e^x; dx = dy·y.
// https://onnx.ai/onnx/operators/onnx__Exp.html
func init() {
	registerUnary("Exp", 6, func(*reader) elementFunc {
		return elementFunc{
			ref:    math.Exp,
			fwd:    kernel.Exp,
			grad:   func(dx, dy, x, y []float32) { kernel.Mul(dx, dy, y) },
			readsY: true,
		}
	},
		Case{In: []Arg{RandIn(-3, 3, 2, 5, 3, 7)}},
		Case{Name: "vector", In: []Arg{RandIn(-90, 5, 37)}},
	)
}
