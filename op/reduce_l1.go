package op

import "math"

// ReduceL1: y = Σ |x| over the reduced axes; dx = dy·sign x.
// https://onnx.ai/onnx/operators/onnx__ReduceL1.html
func init() {
	registerReduce("ReduceL1", reduceFunc{
		ref: func(v []float64) float64 {
			s := 0.0
			for _, x := range v {
				s += math.Abs(x)
			}
			return s
		},
		float: func(int) reduction {
			return reduction{each: func(e []float32, x *vectors) {
				for i, v := range x[0] {
					e[i] = max(v, -v)
				}
			}}
		},
		ints: func(acc, v int64) int64 { return acc + max(v, -v) },
		grad: func(d []float32, x *vectors, n int) {
			for i, v := range x[1] {
				d[i] = x[0][i] * sign(v)
			}
		},
		readsX: true,
		zeros:  true,
	})
}
