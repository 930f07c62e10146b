package op

// LessOrEqual: y = (a ≤ b), of type bool, with broadcasting.
// https://onnx.ai/onnx/operators/onnx__LessOrEqual.html
func init() {
	registerBinary("LessOrEqual", 12, func(*reader) pairFunc {
		return comparison(
			func(a, b float64) bool { return a <= b },
			func(a, b float32) bool { return a <= b },
			func(a, b int64) bool { return a <= b })
	}, nil, comparisonCases(12)...)
}
