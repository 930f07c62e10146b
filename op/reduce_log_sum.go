package op

import "math"

// ReduceLogSum: y = ln Σ x over the reduced axes; dx = dy·e^-y.
// https://onnx.ai/onnx/operators/onnx__ReduceLogSum.html
func init() {
	registerReduce("ReduceLogSum", reduceFunc{
		ref: func(v []float64) float64 {
			s := 0.0
			for _, x := range v {
				s += x
			}
			return math.Log(s)
		},
		float: func(int) reduction { return reduction{done: math.Log} },
		grad: func(d []float32, x *vectors, n int) {
			for i, v := range x[2] {
				d[i] = x[0][i] * float32(math.Exp(-float64(v)))
			}
		},
		readsY:   true,
		zeros:    true,
		positive: true,
	})
}
