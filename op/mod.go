package op

import "math"

// Mod: y = a mod b with broadcasting. With fmod = 0, for integers only, y has
// the sign of b; with fmod = 1 that of a. Integers modulo zero give 0.
// https://onnx.ai/onnx/operators/onnx__Mod.html
func init() {
	registerBinary("Mod", 10, func(r *reader) pairFunc {
		if r.Bool("fmod", false) {
			return pairFunc{
				ref: math.Mod,
				vec: pairs(func(a, b float32) float32 { return float32(math.Mod(float64(a), float64(b))) }),
				ints: func(a, b int64) int64 {
					if b == 0 {
						return 0
					}
					return a % b
				},
			}
		}
		return pairFunc{
			ref: func(a, b float64) float64 { return a - b*math.Floor(a/b) },
			ints: func(a, b int64) int64 {
				if b == 0 {
					return 0
				}
				m := a % b
				if m != 0 && (m < 0) != (b < 0) {
					m += b
				}
				return m
			},
		}
	}, nil,
		Case{Name: "float", Attrs: Attrs{"fmod": IntAttr(1)}, In: []Arg{RandIn(-9, 9, 2, 3, 4, 5), RandIn(1, 2, 3, 1, 1)}},
		Case{In: []Arg{Const(Ints([]int64{-7, 7, -7, 7, 6}, 5)), Const(Ints([]int64{3, -3, -3, 3, 3}, 5))}},
		Case{Name: "fmod", Attrs: Attrs{"fmod": IntAttr(1)},
			In: []Arg{Const(Ints([]int64{-7, 7, -7, 7, 6}, 5)), Const(Ints([]int64{3, -3, -3, 3, 3}, 5))}},
	)
}
