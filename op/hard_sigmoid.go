package op

// HardSigmoid: y = min(max(alpha·x + beta, 0), 1).
// https://onnx.ai/onnx/operators/onnx__HardSigmoid.html
func init() {
	registerUnary("HardSigmoid", 6, func(r *reader) elementFunc {
		alpha, beta := r.Float("alpha", 0.2), r.Float("beta", 0.5)
		return elementFunc{
			ref: func(x float64) float64 { return max(0, min(1, float64(alpha)*x+float64(beta))) },
			fwd: each(func(x float32) float32 { return max(0, min(1, alpha*x+beta)) }),
			grad: func(dx, dy, x, y []float32) {
				for i, v := range y {
					dx[i] = 0
					if 0 < v && v < 1 {
						dx[i] = alpha * dy[i]
					}
				}
			},
			readsY: true,
		}
	},
		Case{In: []Arg{RandIn(-4, 4, 2, 5, 3, 7)}},
		Case{Name: "sixth", Attrs: Attrs{"alpha": FloatAttr(1. / 6)}, In: []Arg{RandIn(-4, 4, 37)}},
	)
}
