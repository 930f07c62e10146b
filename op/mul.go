package op

import "github.com/onnxprune/onnxprune/internal/kernel"

// Mul: y = a · b with broadcasting; da = dy·b, db = dy·a.
// https://onnx.ai/onnx/operators/onnx__Mul.html
func init() {
	registerBinary("Mul", 7, func(*reader) pairFunc {
		return pairFunc{
			ref:    func(a, b float64) float64 { return a * b },
			vec:    kernel.Mul,
			ints:   func(a, b int64) int64 { return a * b },
			gradA:  func(d, dy, a, b, y []float32) { kernel.Mul(d, dy, b) },
			gradB:  func(d, dy, a, b, y []float32) { kernel.Mul(d, dy, a) },
			readsX: true,
		}
	}, []int{0, 1},
		Case{In: []Arg{Rand(2, 3, 4, 5), Rand(2, 3, 4, 5)}},
		Case{Name: "channel", In: []Arg{Rand(2, 3, 4, 5), Rand(3, 1, 1)}},
		Case{Name: "layer scale", In: []Arg{Rand(3, 50, 17), Rand(17)}},
		Case{Name: "gate", In: []Arg{Rand(2, 37, 9, 7), Rand(2, 37, 1, 1)}},
		Case{Name: "gate first", In: []Arg{Rand(2, 5, 1, 1), Rand(2, 5, 3, 3)}},
		Case{Name: "both", In: []Arg{Rand(2, 1, 4, 1), Rand(3, 1, 5)}},
		Case{Name: "outer", In: []Arg{Rand(30, 1), Rand(1, 37)}},
		Case{Name: "scalar", In: []Arg{Rand(2, 3, 700), Rand()}},
		Case{Name: "mask", In: []Arg{Rand(2, 3, 4, 5), Rand(2, 1, 4, 5)}},
		Case{Name: "long", In: []Arg{Rand(1, 2, 3000), Rand(1, 2, 1)}},
		Case{Name: "empty", In: []Arg{Rand(0, 3), Rand(3)}},
		Case{Name: "int64", In: []Arg{Const(Ints([]int64{1, 2, 3}, 3)), Const(Ints([]int64{10}, 1))}},
	)
}
