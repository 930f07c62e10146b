package op

import "github.com/onnxprune/onnxprune/internal/kernel"

// Add: y = a + b with broadcasting. https://onnx.ai/onnx/operators/onnx__Add.html
func init() {
	registerBinary("Add", 7, func(*reader) pairFunc {
		return pairFunc{
			ref:    func(a, b float64) float64 { return a + b },
			vec:    kernel.Add,
			ints:   func(a, b int64) int64 { return a + b },
			linear: true, signA: 1, signB: 1,
		}
	}, []int{0, 1},
		Case{In: []Arg{Rand(2, 3, 4, 5), Rand(2, 3, 4, 5)}},
		Case{Name: "channel", In: []Arg{Rand(2, 3, 4, 5), Rand(3, 1, 1)}},
		Case{Name: "both", In: []Arg{Rand(2, 1, 4, 1), Rand(3, 1, 5)}},
		Case{Name: "scalar", In: []Arg{Rand(7), Rand()}},
		Case{Name: "gate", In: []Arg{Rand(2, 3, 4, 5), Rand(2, 3, 1, 1)}},
		Case{Name: "int64", In: []Arg{Const(Ints([]int64{1, 2, 3}, 3)), Const(Ints([]int64{10}, 1))}},
	)
}
