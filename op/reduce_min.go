package op

import (
	"math"
	"slices"
)

// ReduceMin: y = min x over the reduced axes; dy goes to the elements that are
// the minimum.
// https://onnx.ai/onnx/operators/onnx__ReduceMin.html
func init() {
	registerReduce("ReduceMin", reduceFunc{
		ref: func(v []float64) float64 { return slices.Min(v) },
		float: func(int) reduction {
			return reduction{init: math.Inf(1), fold: foldMin}
		},
		ints:    func(acc, v int64) int64 { return min(acc, v) },
		intInit: math.MaxInt64,
		grad:    gradSelected,
		readsX:  true, readsY: true,
	})
}
