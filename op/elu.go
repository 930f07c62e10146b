package op

import "math"

// Elu: y = x for x > 0, alpha·(e^x - 1) below; dx = dy, and dy·(y + alpha)
// below.
// https://onnx.ai/onnx/operators/onnx__Elu.html
func init() {
	registerUnary("Elu", 6, func(r *reader) elementFunc {
		return eluFunc(r.Float("alpha", 1), 1)
	},
		Case{In: []Arg{RandIn(-3, 3, 2, 5, 3, 7)}},
		Case{Name: "alpha", Attrs: Attrs{"alpha": FloatAttr(1.5)}, In: []Arg{RandIn(-3, 3, 37)}},
	)
}

// eluFunc is gamma·x for x > 0 and gamma·alpha·(e^x - 1) below.
func eluFunc(alpha, gamma float32) elementFunc {
	return elementFunc{
		ref: func(x float64) float64 {
			if x > 0 {
				return float64(gamma) * x
			}
			return float64(gamma) * float64(alpha) * math.Expm1(x)
		},
		fwd: each(func(x float32) float32 {
			if x > 0 {
				return gamma * x
			}
			return gamma * alpha * float32(math.Expm1(float64(x)))
		}),
		grad: eachGrad(func(x, y float32) float32 {
			if x > 0 {
				return gamma
			}
			return y + gamma*alpha
		}),
		readsX: true, readsY: true,
	}
}
