package op

import "math"

// IsInf: y = 1 where x is infinite, as bool; detect_positive and detect_negative
// choose the signs that count.
// https://onnx.ai/onnx/operators/onnx__IsInf.html
func init() {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	x := Const(Floats([]float32{1, nan, inf, -inf, 0, inf}, 1, 2, 3))
	registerPredicate("IsInf", 10, func(r *reader) func(x float64) bool {
		positive, negative := r.Bool("detect_positive", true), r.Bool("detect_negative", true)
		return func(x float64) bool { return positive && math.IsInf(x, 1) || negative && math.IsInf(x, -1) }
	},
		Case{In: []Arg{x}},
		Case{Name: "positive", Attrs: Attrs{"detect_negative": IntAttr(0)}, In: []Arg{x}},
		Case{Name: "negative", Attrs: Attrs{"detect_positive": IntAttr(0)}, In: []Arg{x}},
	)
}
