package op

// Equal: y = (a == b), of type bool, with broadcasting.
// https://onnx.ai/onnx/operators/onnx__Equal.html
func init() {
	registerBinary("Equal", 7, func(*reader) pairFunc {
		return comparison(
			func(a, b float64) bool { return a == b },
			func(a, b float32) bool { return a == b },
			func(a, b int64) bool { return a == b })
	}, nil, comparisonCases(7)...)
}

func comparison(ref func(a, b float64) bool, test func(a, b float32) bool, ints func(a, b int64) bool) pairFunc {
	return pairFunc{
		ref:   func(a, b float64) float64 { return float64(truth(ref(a, b))) },
		test:  test,
		ints:  func(a, b int64) int64 { return truth(ints(a, b)) },
		bools: true,
	}
}

func comparisonCases(opset int) []Case {
	x := []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	return []Case{
		{In: []Arg{Const(Floats(x, 1, 3, 2, 2)), Const(Floats(x[2:5], 3, 1, 1))}},
		{Name: "random", In: []Arg{Rand(2, 3, 4, 5), Rand(2, 3, 4, 5)}},
		{Name: "scalar", Opset: max(opset, 9), In: []Arg{Const(Floats(x, 2, 6)), Const(Scalar(6))}},
		{Name: "int64", Opset: max(opset, 11), In: []Arg{Const(Ints([]int64{1, 2, 3}, 3)), Const(Ints([]int64{3, 2, 1}, 3))}},
	}
}
