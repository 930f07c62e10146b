package op

import "math"

// ReduceL2: y = √Σ x² over the reduced axes; dx = dy·x/y.
// https://onnx.ai/onnx/operators/onnx__ReduceL2.html
func init() {
	registerReduce("ReduceL2", reduceFunc{
		ref: func(v []float64) float64 {
			s := 0.0
			for _, x := range v {
				s += x * x
			}
			return math.Sqrt(s)
		},
		float: func(int) reduction {
			return reduction{each: square, done: math.Sqrt}
		},
		grad: func(d []float32, x *vectors, n int) {
			for i, v := range x[1] {
				d[i] = 0
				if y := x[2][i]; y != 0 {
					d[i] = x[0][i] * v / y
				}
			}
		},
		readsX: true, readsY: true,
		zeros: true,
	})
}
