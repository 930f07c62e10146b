package op

import (
	"fmt"
	"math"
)

// Celu: y = max(0, x) + min(0, alpha·(e^(x/alpha) - 1)); dx = dy, and
// dy·e^(x/alpha) below 0.
// https://onnx.ai/onnx/operators/onnx__Celu.html
func init() {
	registerUnary("Celu", 12, func(r *reader) elementFunc {
		alpha := float64(r.Float("alpha", 1))
		if alpha == 0 {
			r.keep(fmt.Errorf("attribute %q is 0, wants another number", "alpha"))
		}
		f := func(x float64) float64 { return max(0, x) + min(0, alpha*math.Expm1(x/alpha)) }
		return elementFunc{
			ref: f,
			fwd: each(func(x float32) float32 { return float32(f(float64(x))) }),
			grad: eachGrad(func(x, _ float32) float32 {
				v, d := float64(x), 0.0
				if v > 0 {
					d = 1
				}
				if alpha*math.Expm1(v/alpha) < 0 {
					d += math.Exp(v / alpha)
				}
				return float32(d)
			}),
			readsX: true,
		}
	},
		Case{In: []Arg{RandIn(-3, 3, 2, 5, 3, 7)}},
		Case{Name: "alpha", Attrs: Attrs{"alpha": FloatAttr(0.5)}, In: []Arg{RandIn(-3, 3, 37)}},
	)
}
