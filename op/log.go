package op

import (
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Log: y = ln x; dx = dy / x.
// https://onnx.ai/onnx/operators/onnx__Log.html
func init() {
	registerUnary("Log", 6, func(*reader) elementFunc {
		return elementFunc{
			ref:    math.Log,
			fwd:    each(func(x float32) float32 { return float32(math.Log(float64(x))) }),
			grad:   func(dx, dy, x, y []float32) { kernel.Div(dx, dy, x) },
			readsX: true,
		}
	},
		Case{In: []Arg{RandIn(0.1, 4, 2, 5, 3, 7)}},
		Case{Name: "vector", In: []Arg{RandIn(0.1, 400, 37)}},
	)
}
