package op

// Reciprocal: y = 1/x; dx = -dy·y².
// https://onnx.ai/onnx/operators/onnx__Reciprocal.html
func init() {
	registerUnary("Reciprocal", 6, func(*reader) elementFunc {
		return elementFunc{
			ref: func(x float64) float64 { return 1 / x },
			fwd: each(func(x float32) float32 { return 1 / x }),
			grad: func(dx, dy, x, y []float32) {
				for i, v := range y {
					dx[i] = -dy[i] * v * v
				}
			},
			readsY: true,
		}
	},
		Case{In: []Arg{RandIn(0.3, 4, 2, 5, 3, 7)}},
		Case{Name: "negative", In: []Arg{RandIn(-4, -0.3, 37)}},
	)
}
