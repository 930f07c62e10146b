package op

import "github.com/onnxprune/onnxprune/internal/kernel"

// Relu: y = max(x, 0). https://onnx.ai/onnx/operators/onnx__Relu.html
func init() {
	registerUnary("Relu", 1, func(*reader) elementFunc {
		return elementFunc{
			ref:  func(x float64) float64 { return max(x, 0) },
			fwd:  kernel.Relu,
			ints: func(x int64) int64 { return max(x, 0) },
			grad: func(dx, dy, x, y []float32) { kernel.ReluGrad(dx, dy, y) },

			readsY: true,
		}
	},
		Case{In: []Arg{Rand(2, 5, 3, 7)}},
		Case{Name: "vector", In: []Arg{Rand(37)}},
		Case{Name: "int64", Opset: 14, In: []Arg{Const(Ints([]int64{-3, 0, 4}, 3))}},
	)
}
