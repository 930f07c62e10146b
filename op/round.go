package op

import "math"

// Round: y is the integer nearest to x, the even one of two; the gradient is
// 0.
// https://onnx.ai/onnx/operators/onnx__Round.html
func init() {
	registerUnary("Round", 11, func(*reader) elementFunc {
		return stepFunc(math.RoundToEven)
	},
		Case{In: []Arg{RandIn(-3, 3, 2, 5, 3, 7)}},
		Case{Name: "halves", In: []Arg{Const(Floats([]float32{-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5}, 7))}},
	)
}
