package op

import "math"

// Ceil: y = ⌈x⌉; the gradient is 0.
// https://onnx.ai/onnx/operators/onnx__Ceil.html
func init() {
	registerUnary("Ceil", 6, func(*reader) elementFunc {
		return stepFunc(math.Ceil)
	},
		Case{In: []Arg{RandIn(-3, 3, 2, 5, 3, 7)}},
	)
}
