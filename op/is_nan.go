package op

import "math"

// IsNaN: y = 1 where x is no number, as bool.
// https://onnx.ai/onnx/operators/onnx__IsNaN.html
func init() {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	registerPredicate("IsNaN", 9, func(*reader) func(x float64) bool { return math.IsNaN },
		Case{In: []Arg{Const(Floats([]float32{1, nan, inf, -inf, 0, nan}, 1, 2, 3))}},
	)
}
