package op

import (
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Div: y = a / b with broadcasting; da = dy/b, db = -dy·y/b. Integers are
// truncated toward zero, and divided by zero give 0.
// https://onnx.ai/onnx/operators/onnx__Div.html
func init() {
	registerBinary("Div", 7, func(r *reader) pairFunc {
		return pairFunc{
			ref:  func(a, b float64) float64 { return a / b },
			vec:  kernel.Div,
			ints: divide,
			gradA: func(d, dy, a, b, y []float32) {
				kernel.Div(d, dy, b)
			},
			gradB: func(d, dy, a, b, y []float32) {
				for i := range d {
					d[i] = -dy[i] * y[i] / b[i]
				}
			},
			readsX: true, readsY: true,
		}
	}, nil,
		Case{In: []Arg{Rand(2, 3, 4, 5), RandIn(0.5, 2, 2, 3, 4, 5)}},
		Case{Name: "channel", In: []Arg{Rand(2, 3, 4, 5), RandIn(0.5, 2, 3, 1, 1)}},
		Case{Name: "both", In: []Arg{Rand(2, 1, 4, 1), RandIn(-3, -1, 3, 1, 5)}},
		Case{Name: "scalar", In: []Arg{Rand(7), RandIn(2, 3)}},
		Case{Name: "scalar first", In: []Arg{Rand(), RandIn(2, 3, 2, 3, 5)}},
		Case{Name: "row norms", In: []Arg{Rand(2, 9, 33), RandIn(1, 2, 2, 9, 1)}},
		Case{Name: "int64", In: []Arg{Const(Ints([]int64{8, 12, math.MaxInt32}, 3)), Const(Ints([]int64{4, 3, 1}, 3))}},
	)
}

func divide(a, b int64) int64 {
	if b == 0 {
		return 0
	}
	return a / b
}
