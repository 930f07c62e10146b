package op

// identity is y = x in any layout.
// https://onnx.ai/onnx/operators/onnx__Identity.html
type identity struct{ view }

func init() {
	Register(Def{
		Name: "Identity", Since: 1,
		New:       func(n Node) (Op, error) { return &identity{}, nil },
		Reference: func(n Node, in []*Array) []*Array { return refView(in[0], in[0].Shape) },
		Cases: []Case{
			{In: []Arg{Rand(2, 3, 5, 7)}},
			{Name: "bool", In: []Arg{Const(&Tensor{Type: Bool, Shape: []int{3}, I: []int64{1, 0, 1}})}},
		},
	})
}

func (o *identity) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 1, 1); err != nil {
		return nil, err
	}
	return []*Tensor{Info(in[0].Type, in[0].Shape...)}, nil
}

func (o *identity) Layouts(in []*Tensor) (want, out []Layout) { return keepLayouts(in, 1) }

func (o *identity) Links(in, out []*Tensor) []Link {
	return identityLinks(in, out, func(int) bool { return true })
}
