package op

// BitwiseNot: y = ¬x, bit by bit, on integers.
// https://onnx.ai/onnx/operators/onnx__BitwiseNot.html
func init() {
	registerUnary("BitwiseNot", 18, func(*reader) elementFunc {
		return elementFunc{
			ref:      func(x float64) float64 { return -x - 1 },
			ints:     func(x int64) int64 { return ^x },
			onlyInts: true,
		}
	},
		Case{Opset: 18, In: []Arg{Const(Ints([]int64{-3, 0, 4}, 3))}},
	)
}
