package op

import "github.com/onnxprune/onnxprune/internal/kernel"

// Sub: y = a - b with broadcasting. https://onnx.ai/onnx/operators/onnx__Sub.html
func init() {
	registerBinary("Sub", 7, func(*reader) pairFunc {
		return pairFunc{
			ref:    func(a, b float64) float64 { return a - b },
			vec:    kernel.Sub,
			ints:   func(a, b int64) int64 { return a - b },
			linear: true, signA: 1, signB: -1,
		}
	}, nil,
		Case{In: []Arg{Rand(2, 3, 4, 5), Rand(2, 3, 4, 5)}},
		Case{Name: "channel", In: []Arg{Rand(2, 3, 4, 5), Rand(3, 1, 1)}},
		Case{Name: "both", In: []Arg{Rand(2, 1, 4, 1), Rand(3, 1, 5)}},
		Case{Name: "scalar first", In: []Arg{Rand(), Rand(7)}},
		Case{Name: "row means", In: []Arg{Rand(2, 9, 33), Rand(2, 9, 1)}},
		Case{Name: "int64", In: []Arg{Const(Ints([]int64{1, 2, 3}, 3)), Const(Ints([]int64{10}, 1))}},
	)
}
