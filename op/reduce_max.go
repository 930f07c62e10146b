package op

import (
	"math"
	"slices"
)

// ReduceMax: y = max x over the reduced axes; dy goes to the elements that are
// the maximum.
// https://onnx.ai/onnx/operators/onnx__ReduceMax.html
func init() {
	registerReduce("ReduceMax", reduceFunc{
		ref: func(v []float64) float64 { return slices.Max(v) },
		float: func(int) reduction {
			return reduction{init: math.Inf(-1), fold: foldMax}
		},
		ints:    func(acc, v int64) int64 { return max(acc, v) },
		intInit: math.MinInt64,
		grad:    gradSelected,
		readsX:  true, readsY: true,
	})
}

// gradSelected gives dy to the elements equal to the result.
func gradSelected(d []float32, x *vectors, n int) {
	for i, v := range x[1] {
		d[i] = 0
		if v == x[2][i] {
			d[i] = x[0][i]
		}
	}
}
