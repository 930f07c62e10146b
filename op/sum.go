package op

import "github.com/onnxprune/onnxprune/internal/kernel"

// Sum: y = a + b + … with broadcasting.
// https://onnx.ai/onnx/operators/onnx__Sum.html
func init() {
	registerVariadic("Sum", variadicFunc{
		ref: func(a, b float64) float64 { return a + b },
		vec: kernel.Add,
	})
}
