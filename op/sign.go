package op

import "math"

// Sign: y = 1 for x > 0, -1 for x < 0, otherwise x; the gradient is 0.
// https://onnx.ai/onnx/operators/onnx__Sign.html
func init() {
	registerUnary("Sign", 9, func(*reader) elementFunc {
		return elementFunc{
			ref: func(x float64) float64 {
				if x == 0 {
					return 0
				}
				return math.Copysign(1, x)
			},
			fwd: each(sign),
			ints: func(x int64) int64 {
				return truth(x > 0) - truth(x < 0)
			},
			grad: func(dx, dy, x, y []float32) { clear(dx) },
		}
	},
		Case{In: []Arg{Rand(2, 5, 3, 7)}},
		Case{Name: "zero", In: []Arg{Const(Floats([]float32{-2.5, 0, 3}, 3))}},
		Case{Name: "int64", In: []Arg{Const(Ints([]int64{-3, 0, 4}, 3))}},
	)
}

func sign(x float32) float32 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x
}
