package op

import (
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Min: y = min(a, b, …) with broadcasting; dy goes to the inputs that are the
// minimum.
// https://onnx.ai/onnx/operators/onnx__Min.html
func init() {
	registerVariadic("Min", variadicFunc{
		ref:     math.Min,
		vec:     kernel.Min,
		ints:    func(a, b int64) int64 { return min(a, b) },
		selects: true,
	})
}
