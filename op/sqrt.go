package op

import "math"

// Sqrt: y = √x; dx = dy / 2y. https://onnx.ai/onnx/operators/onnx__Sqrt.html
func init() {
	registerUnary("Sqrt", 6, func(*reader) elementFunc {
		return elementFunc{
			ref: math.Sqrt,
			fwd: func(y, x []float32) {
				for i, v := range x {
					y[i] = float32(math.Sqrt(float64(v)))
				}
			},
			grad: func(dx, dy, x, y []float32) {
				for i := range dx {
					dx[i] = dy[i] / (2 * y[i])
				}
			},
			readsY: true,
		}
	},
		Case{In: []Arg{RandIn(0.1, 4, 2, 5, 3, 7)}},
		Case{Name: "vector", In: []Arg{RandIn(0.1, 4, 37)}},
	)
}
