package op

// CastLike: y = x in the element type of input 1; see [cast].
// https://onnx.ai/onnx/operators/onnx__CastLike.html
func init() {
	Register(Def{
		Name: "CastLike", Since: 15,
		New: func(n Node) (Op, error) { return &cast{like: true}, nil },
		Reference: func(n Node, in []*Array) []*Array {
			return refCast(in[0], map[bool]Type{true: Int64, false: Float}[in[1].V[0] == 3])
		},
		Cases: []Case{
			{In: []Arg{Rand(2, 3, 5), Const(Scalar(1))}},
			{Name: "int64", In: []Arg{Const(Floats([]float32{-1.5, 2.5}, 2)), Const(Ints([]int64{3}))}},
		},
	})
}
