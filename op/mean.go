package op

import "github.com/onnxprune/onnxprune/internal/kernel"

// Mean: y = (a + b + …) / n of n inputs, with broadcasting.
// https://onnx.ai/onnx/operators/onnx__Mean.html
func init() {
	registerVariadic("Mean", variadicFunc{
		ref:  func(a, b float64) float64 { return a + b },
		vec:  kernel.Add,
		mean: true,
	})
}
