package op

// unsqueeze is y = x with axes of length 1 inserted at the named positions of
// the output. The axes are an attribute before opset 13, a constant input
// since. https://onnx.ai/onnx/operators/onnx__Unsqueeze.html
type unsqueeze struct {
	view
	axes  []int
	input bool
}

func init() {
	Register(Def{
		Name: "Unsqueeze", Since: 1,
		New: func(n Node) (Op, error) {
			o := &unsqueeze{input: n.Opset >= 13}
			if o.input {
				return o, nil
			}
			r := &reader{n: n}
			o.axes = r.Ints("axes")
			return o, r.err
		},
		Reference: refUnsqueeze,
		Cases: []Case{
			{In: []Arg{Rand(3, 5), Const(Vector(-1, 2))}},
			{Name: "attribute", Opset: 11, Attrs: Attrs{"axes": IntsAttr(3, 0)}, In: []Arg{Rand(5, 3)}},
			{Name: "scalar", In: []Arg{Rand(), Const(Vector(0))}},
			{Name: "int64", In: []Arg{Const(Ints([]int64{7, 8}, 2)), Const(Vector(1))}},
		},
	})
}

// inserted tells for every axis of the output whether it is a new one.
func (o *unsqueeze) inserted(in []*Tensor) ([]bool, error) {
	axes, err := o.axes, error(nil)
	if o.input {
		if axes, err = constInts(in, 1); err != nil {
			return nil, err
		}
	}
	r := in[0].Rank() + len(axes)
	if axes, err = wantAxes(axes, r); err != nil {
		return nil, err
	}
	fresh := make([]bool, r)
	for _, a := range axes {
		fresh[a] = true
	}
	return fresh, nil
}

func (o *unsqueeze) Infer(in []*Tensor) ([]*Tensor, error) {
	n := 1
	if o.input {
		n = 2
	}
	if err := wantInputs(in, n, n); err != nil {
		return nil, err
	}
	fresh, err := o.inserted(in)
	if err != nil {
		return nil, err
	}
	shape := make([]int, 0, len(fresh))
	k := 0
	for _, f := range fresh {
		if f {
			shape = append(shape, 1)
		} else {
			shape = append(shape, in[0].Shape[k])
			k++
		}
	}
	return []*Tensor{Info(in[0].Type, shape...)}, nil
}

func (o *unsqueeze) Links(in, out []*Tensor) []Link {
	fresh, err := o.inserted(in)
	if err != nil {
		return nil
	}
	var links []Link
	k := 0
	for j, f := range fresh {
		if !f {
			links = append(links, Link{{0, k}, {^0, j}})
			k++
		}
	}
	return links
}

func refUnsqueeze(n Node, in []*Array) []*Array {
	var axes []int
	for _, a := range n.Attrs["axes"].Ints {
		axes = append(axes, int(a))
	}
	if len(in) > 1 {
		for _, a := range in[1].V {
			axes = append(axes, int(a))
		}
	}
	shape := make([]int, len(in[0].Shape)+len(axes))
	for _, a := range axes {
		shape[(a+len(shape))%len(shape)] = 1
	}
	k := 0
	for i := range shape {
		if shape[i] == 0 {
			shape[i] = in[0].Shape[k]
			k++
		}
	}
	return refView(in[0], shape)
}
