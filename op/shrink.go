package op

// Shrink: y = x + bias for x < -lambd, x - bias for x > lambd, 0 between.
// https://onnx.ai/onnx/operators/onnx__Shrink.html
func init() {
	registerUnary("Shrink", 9, func(r *reader) elementFunc {
		lambda, bias := r.Float("lambd", 0.5), r.Float("bias", 0)
		f := func(x float64) float64 {
			switch {
			case x < -float64(lambda):
				return x + float64(bias)
			case x > float64(lambda):
				return x - float64(bias)
			}
			return 0
		}
		return elementFunc{
			ref:  f,
			fwd:  each(func(x float32) float32 { return float32(f(float64(x))) }),
			ints: func(x int64) int64 { return int64(f(float64(x))) },
			grad: eachGrad(func(x, _ float32) float32 {
				if x < -lambda || x > lambda {
					return 1
				}
				return 0
			}),
			readsX: true,
		}
	},
		Case{In: []Arg{RandIn(-3, 3, 2, 5, 3, 7)}},
		Case{Name: "soft", Attrs: Attrs{"lambd": FloatAttr(1.2), "bias": FloatAttr(1.2)}, In: []Arg{RandIn(-3, 3, 37)}},
		Case{Name: "int64", In: []Arg{Const(Ints([]int64{-2, 0, 3}, 3))}},
	)
}
