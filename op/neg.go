package op

import "github.com/onnxprune/onnxprune/internal/kernel"

// Neg: y = -x.
// https://onnx.ai/onnx/operators/onnx__Neg.html
func init() {
	registerUnary("Neg", 6, func(*reader) elementFunc {
		return elementFunc{
			ref:  func(x float64) float64 { return -x },
			fwd:  func(y, x []float32) { kernel.Scale(y, x, -1) },
			ints: func(x int64) int64 { return -x },
			grad: func(dx, dy, x, y []float32) { kernel.Scale(dx, dy, -1) },
		}
	},
		Case{In: []Arg{Rand(2, 5, 3, 7)}},
		Case{Name: "int64", In: []Arg{Const(Ints([]int64{-3, 0, 4}, 3))}},
	)
}
