package op

import "math"

// Floor: y = ⌊x⌋; the gradient is 0.
// https://onnx.ai/onnx/operators/onnx__Floor.html
func init() {
	registerUnary("Floor", 6, func(*reader) elementFunc {
		return stepFunc(math.Floor)
	},
		Case{In: []Arg{RandIn(-3, 3, 2, 5, 3, 7)}},
	)
}

// stepFunc is a piecewise constant function.
func stepFunc(f func(x float64) float64) elementFunc {
	return elementFunc{
		ref:  f,
		fwd:  each(func(x float32) float32 { return float32(f(float64(x))) }),
		grad: func(dx, dy, x, y []float32) { clear(dx) },
	}
}
