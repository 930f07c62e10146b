package op

// LeakyRelu: y = x for x ≥ 0, alpha·x below.
// https://onnx.ai/onnx/operators/onnx__LeakyRelu.html
func init() {
	registerUnary("LeakyRelu", 6, func(r *reader) elementFunc {
		alpha := r.Float("alpha", 0.01)
		return elementFunc{
			ref: func(x float64) float64 { return max(x, 0) + float64(alpha)*min(x, 0) },
			fwd: func(y, x []float32) {
				for i, v := range x {
					if v < 0 {
						v *= alpha
					}
					y[i] = v
				}
			},
			grad: func(dx, dy, x, y []float32) {
				for i, v := range dy {
					if x[i] < 0 {
						v *= alpha
					}
					dx[i] = v
				}
			},
			readsX: true,
		}
	},
		Case{In: []Arg{Rand(2, 5, 3, 7)}},
		Case{Name: "alpha", Attrs: Attrs{"alpha": FloatAttr(0.3)}, In: []Arg{Rand(37)}},
	)
}
