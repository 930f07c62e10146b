package op

import (
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Max: y = max(a, b, …) with broadcasting; dy goes to the inputs that are the
// maximum.
// https://onnx.ai/onnx/operators/onnx__Max.html
func init() {
	registerVariadic("Max", variadicFunc{
		ref:     math.Max,
		vec:     kernel.Max,
		ints:    func(a, b int64) int64 { return max(a, b) },
		selects: true,
	})
}
