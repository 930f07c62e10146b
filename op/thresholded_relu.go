package op

// ThresholdedRelu: y = x where x > alpha, 0 elsewhere.
// https://onnx.ai/onnx/operators/onnx__ThresholdedRelu.html
func init() {
	registerUnary("ThresholdedRelu", 10, func(r *reader) elementFunc {
		alpha := r.Float("alpha", 1)
		return elementFunc{
			ref: func(x float64) float64 {
				if x > float64(alpha) {
					return x
				}
				return 0
			},
			fwd: each(func(x float32) float32 {
				if x > alpha {
					return x
				}
				return 0
			}),
			grad: eachGrad(func(x, _ float32) float32 {
				if x > alpha {
					return 1
				}
				return 0
			}),
			readsX: true,
		}
	},
		Case{In: []Arg{RandIn(-3, 3, 2, 5, 3, 7)}},
		Case{Name: "alpha", Attrs: Attrs{"alpha": FloatAttr(-0.3)}, In: []Arg{RandIn(-3, 3, 37)}},
	)
}
