package op

// HardSwish: y = x·min(max(x/6 + 1/2, 0), 1).
// https://onnx.ai/onnx/operators/onnx__HardSwish.html
func init() {
	registerUnary("HardSwish", 14, func(*reader) elementFunc {
		return elementFunc{
			ref: func(x float64) float64 { return x * max(0, min(1, x/6+0.5)) },
			fwd: each(func(x float32) float32 { return x * max(0, min(1, x*(1./6)+0.5)) }),
			grad: func(dx, dy, x, y []float32) {
				for i, v := range x {
					switch {
					case v <= -3:
						dx[i] = 0
					case v >= 3:
						dx[i] = dy[i]
					default:
						dx[i] = dy[i] * (v*(1./3) + 0.5)
					}
				}
			},
			readsX: true,
		}
	},
		Case{In: []Arg{RandIn(-4, 4, 2, 5, 3, 7)}},
		Case{Name: "vector", In: []Arg{RandIn(-4, 4, 37)}},
	)
}
