package op

// ReduceProd: y = Π x over the reduced axes. It has no gradient.
// https://onnx.ai/onnx/operators/onnx__ReduceProd.html
func init() {
	registerReduce("ReduceProd", reduceFunc{
		ref: func(v []float64) float64 {
			p := 1.0
			for _, x := range v {
				p *= x
			}
			return p
		},
		float: func(int) reduction {
			return reduction{init: 1, fold: func(acc, v float64) float64 { return acc * v }}
		},
		ints:    func(acc, v int64) int64 { return acc * v },
		intInit: 1,
	})
}
