package op

// BitShift: y = a shifted by b bits to the LEFT or RIGHT, on unsigned integers,
// with broadcasting. A shift by the width of the type or more gives 0.
// https://onnx.ai/onnx/operators/onnx__BitShift.html
func init() {
	vec := func(v ...int64) Arg { return Const(&Tensor{Type: Uint8, Shape: []int{len(v)}, I: v}) }
	registerBinary("BitShift", 11, func(r *reader) pairFunc {
		direction := r.String("direction", "")
		oneOf(r, "direction", direction, "LEFT", "RIGHT")
		if direction == "LEFT" {
			return pairFunc{
				ref:  func(a, b float64) float64 { return float64(uint8(uint64(a) << uint64(b))) },
				ints: func(a, b int64) int64 { return int64(uint64(a) << uint64(b)) },
			}
		}
		return pairFunc{
			ref:  func(a, b float64) float64 { return float64(uint64(a) >> uint64(b)) },
			ints: func(a, b int64) int64 { return int64(uint64(a) >> uint64(b)) },
		}
	}, nil,
		Case{Attrs: Attrs{"direction": StringAttr("LEFT")}, In: []Arg{vec(16, 4, 1, 255, 3), vec(1, 2, 3, 4, 9)}},
		Case{Name: "right", Attrs: Attrs{"direction": StringAttr("RIGHT")}, In: []Arg{vec(16, 4, 1, 255), vec(1, 2, 3, 64)}},
	)
}
