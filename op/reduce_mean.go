package op

import "github.com/onnxprune/onnxprune/internal/kernel"

// ReduceMean: y = Σ x / n over the reduced axes; dx = dy / n.
// https://onnx.ai/onnx/operators/onnx__ReduceMean.html
func init() {
	registerReduce("ReduceMean", reduceFunc{
		ref: func(v []float64) float64 {
			s := 0.0
			for _, x := range v {
				s += x
			}
			return s / float64(len(v))
		},
		float: func(n int) reduction {
			return reduction{done: func(v float64) float64 { return v / float64(n) }}
		},
		grad: func(d []float32, x *vectors, n int) { kernel.Scale(d, x[0], 1/float32(n)) },
	})
}
