package op

import "math"

// Xor: y = a ⊕ b on booleans, with broadcasting.
// https://onnx.ai/onnx/operators/onnx__Xor.html
func init() {
	registerBinary("Xor", 7, func(*reader) pairFunc {
		return pairFunc{
			ref:   func(a, b float64) float64 { return math.Abs(a - b) },
			ints:  func(a, b int64) int64 { return a ^ b },
			bools: true, onlyBools: true,
		}
	}, nil, logicalCases()...)
}
