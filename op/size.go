package op

// sizeOf is y = the number of elements of x, an int64 of rank 0. It reads the
// shape of x only. https://onnx.ai/onnx/operators/onnx__Size.html
type sizeOf struct{}

func init() {
	Register(Def{
		Name: "Size", Since: 1,
		New: func(n Node) (Op, error) { return &sizeOf{}, nil },
		Reference: func(n Node, in []*Array) []*Array {
			return []*Array{{Shape: []int{}, V: []float64{float64(len(in[0].V))}}}
		},
		Cases: []Case{{In: []Arg{Rand(2, 3, 5, 7)}}, {Name: "empty", In: []Arg{Rand(3, 0)}}},
	})
}

func (o *sizeOf) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 1, 1); err != nil {
		return nil, err
	}
	return []*Tensor{Info(Int64)}, nil
}

func (o *sizeOf) Layouts(in []*Tensor) (want, out []Layout) {
	return []Layout{in[0].Layout}, []Layout{RowMajor}
}

func (o *sizeOf) Forward(c *Context, in, out []*Tensor) error {
	out[0].I[0] = int64(in[0].Size())
	return nil
}

// ReadsShape marks the operator as one that needs no elements.
func (o *sizeOf) ReadsShape() {}
