package op

// Or: y = a ∨ b on booleans, with broadcasting.
// https://onnx.ai/onnx/operators/onnx__Or.html
func init() {
	registerBinary("Or", 7, func(*reader) pairFunc {
		return pairFunc{
			ref:   func(a, b float64) float64 { return max(a, b) },
			ints:  func(a, b int64) int64 { return a | b },
			bools: true, onlyBools: true,
		}
	}, nil, logicalCases()...)
}
