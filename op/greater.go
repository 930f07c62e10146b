package op

// Greater: y = (a > b), of type bool, with broadcasting.
// https://onnx.ai/onnx/operators/onnx__Greater.html
func init() {
	registerBinary("Greater", 7, func(*reader) pairFunc {
		return comparison(
			func(a, b float64) bool { return a > b },
			func(a, b float32) bool { return a > b },
			func(a, b int64) bool { return a > b })
	}, nil, comparisonCases(7)...)
}
