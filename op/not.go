package op

// Not: y = ¬x on booleans.
// https://onnx.ai/onnx/operators/onnx__Not.html
func init() {
	registerUnary("Not", 1, func(*reader) elementFunc {
		return elementFunc{
			ref:       func(x float64) float64 { return 1 - x },
			ints:      func(x int64) int64 { return 1 - x },
			onlyBools: true,
		}
	},
		Case{In: []Arg{Const(bools(true, false, true))}},
	)
}

// bools returns a boolean vector.
func bools(v ...bool) *Tensor {
	t := New(Bool, len(v))
	for i, x := range v {
		t.I[i] = truth(x)
	}
	return t
}
