package op

import "math"

// Swish: y = x·σ(alpha·x); with s = σ(alpha·x), dx = dy·(s + alpha·x·s·(1 - s)).
// https://onnx.ai/onnx/operators/onnx__Swish.html
func init() {
	registerUnary("Swish", 24, func(r *reader) elementFunc {
		alpha := float64(r.Float("alpha", 1))
		sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-alpha*x)) }
		return elementFunc{
			ref: func(x float64) float64 { return x * sigmoid(x) },
			fwd: each(func(x float32) float32 { return float32(float64(x) * sigmoid(float64(x))) }),
			grad: eachGrad(func(x, _ float32) float32 {
				v, s := float64(x), sigmoid(float64(x))
				return float32(s + alpha*v*s*(1-s))
			}),
			readsX: true,
		}
	},
		Case{Opset: 24, In: []Arg{RandIn(-3, 3, 2, 5, 3, 7)}},
		Case{Name: "alpha", Opset: 24, Attrs: Attrs{"alpha": FloatAttr(1.7)}, In: []Arg{RandIn(-9, 9, 37)}},
	)
}
