package op

import "math"

// Abs: y = |x|; dx = dy·sign x.
// https://onnx.ai/onnx/operators/onnx__Abs.html
func init() {
	registerUnary("Abs", 6, func(*reader) elementFunc {
		return elementFunc{
			ref:    math.Abs,
			fwd:    each(func(x float32) float32 { return float32(math.Abs(float64(x))) }),
			ints:   func(x int64) int64 { return max(x, -x) },
			grad:   eachGrad(func(x, _ float32) float32 { return sign(x) }),
			readsX: true,
		}
	},
		Case{In: []Arg{Rand(2, 5, 3, 7)}},
		Case{Name: "int64", In: []Arg{Const(Ints([]int64{-3, 0, 4}, 3))}},
	)
}
