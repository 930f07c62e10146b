package op

// BitwiseOr: y = a | b, bit by bit, on integers, with broadcasting.
// https://onnx.ai/onnx/operators/onnx__BitwiseOr.html
func init() {
	registerBinary("BitwiseOr", 18, func(*reader) pairFunc {
		return pairFunc{
			ref:  func(a, b float64) float64 { return float64(int64(a) | int64(b)) },
			ints: func(a, b int64) int64 { return a | b },
		}
	}, nil,
		Case{Opset: 18, In: []Arg{Const(Ints([]int64{-7, 12, 5, 0}, 2, 2)), Const(Ints([]int64{6, 10}, 2))}},
	)
}
