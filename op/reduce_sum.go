package op

// ReduceSum: y = Σ x over the reduced axes; dx = dy. The axes are an input from
// opset 13 on. https://onnx.ai/onnx/operators/onnx__ReduceSum.html
func init() {
	registerReduce("ReduceSum", reduceFunc{
		ref: func(v []float64) float64 {
			s := 0.0
			for _, x := range v {
				s += x
			}
			return s
		},
		float:     func(int) reduction { return reduction{} },
		ints:      func(acc, v int64) int64 { return acc + v },
		grad:      func(d []float32, x *vectors, n int) { copy(d, x[0]) },
		zeros:     true,
		axesInput: 13,
	},
		Case{Name: "empty", In: []Arg{Rand(2, 0, 4), Const(Vector(1))}},
	)
}
