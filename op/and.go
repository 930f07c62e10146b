package op

// And: y = a ∧ b on booleans, with broadcasting.
// https://onnx.ai/onnx/operators/onnx__And.html
func init() {
	registerBinary("And", 7, func(*reader) pairFunc {
		return pairFunc{
			ref:   func(a, b float64) float64 { return a * b },
			ints:  func(a, b int64) int64 { return a & b },
			bools: true, onlyBools: true,
		}
	}, nil, logicalCases()...)
}

func logicalCases() []Case {
	return []Case{
		{In: []Arg{Const(bools(true, false, true, false)), Const(bools(true, true, false, false))}},
		{Name: "broadcast", In: []Arg{Const(bools(true, false, true, false)), Const(bools(true))}},
	}
}
