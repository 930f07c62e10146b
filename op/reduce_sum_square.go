package op

import "github.com/onnxprune/onnxprune/internal/kernel"

// ReduceSumSquare: y = Σ x² over the reduced axes; dx = 2·dy·x.
// https://onnx.ai/onnx/operators/onnx__ReduceSumSquare.html
func init() {
	registerReduce("ReduceSumSquare", reduceFunc{
		ref: func(v []float64) float64 {
			s := 0.0
			for _, x := range v {
				s += x * x
			}
			return s
		},
		float: func(int) reduction { return reduction{each: square} },
		ints:  func(acc, v int64) int64 { return acc + v*v },
		grad: func(d []float32, x *vectors, n int) {
			for i, v := range x[1] {
				d[i] = 2 * v * x[0][i]
			}
		},
		readsX: true,
		zeros:  true,
	})
}

func square(e []float32, x *vectors) { kernel.Mul(e, x[0], x[0]) }
