package op

import "fmt"

// squeeze is y = x without axes of length 1: those named, or all of them if none
// is named. The axes are an attribute before opset 13, a constant input since.
// https://onnx.ai/onnx/operators/onnx__Squeeze.html
type squeeze struct {
	view
	axes  []int
	input bool
}

func init() {
	Register(Def{
		Name: "Squeeze", Since: 1,
		New: func(n Node) (Op, error) {
			o := &squeeze{input: n.Opset >= 13}
			if o.input {
				return o, nil
			}
			r := &reader{n: n}
			o.axes = r.Ints("axes")
			return o, r.err
		},
		Reference: refSqueeze,
		Cases: []Case{
			{In: []Arg{Rand(2, 5, 1, 1), Const(Vector(-1, 2))}},
			{Name: "attribute", Opset: 11, Attrs: Attrs{"axes": IntsAttr(0, 2)}, In: []Arg{Rand(1, 5, 1, 3)}},
			{Name: "all", In: []Arg{Rand(3, 1, 5, 1)}},
			{Name: "int64", In: []Arg{Const(Ints([]int64{7}, 1)), Const(Vector(0))}},
		},
	})
}

// kept returns the axes of the input that remain.
func (o *squeeze) kept(in []*Tensor) ([]int, error) {
	s, r := in[0].Shape, in[0].Rank()
	axes, err := o.axes, error(nil)
	if o.input {
		axes, err = constAxes(in, 1, r)
	} else if axes != nil {
		axes, err = wantAxes(axes, r)
	}
	if err != nil {
		return nil, err
	}
	drop := make([]bool, r)
	for _, a := range axes {
		if s[a] != 1 {
			return nil, fmt.Errorf("axis %d of input %s has length %d, wants 1", a, ShapeString(s), s[a])
		}
		drop[a] = true
	}
	kept := []int{}
	for a, d := range s {
		if !drop[a] && (len(axes) > 0 || d != 1) {
			kept = append(kept, a)
		}
	}
	return kept, nil
}

func (o *squeeze) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 1, 2); err != nil {
		return nil, err
	}
	kept, err := o.kept(in)
	if err != nil {
		return nil, err
	}
	return []*Tensor{Info(in[0].Type, permute(in[0].Shape, kept)...)}, nil
}

// Links is empty without axes: an axis cut down to one slice would vanish.
func (o *squeeze) Links(in, out []*Tensor) []Link {
	if len(o.axes) == 0 && (!hasInput(in, 1) || in[1].Size() == 0) {
		return nil
	}
	kept, err := o.kept(in)
	if err != nil {
		return nil
	}
	var links []Link
	for j, a := range kept {
		links = append(links, Link{{0, a}, {^0, j}})
	}
	return links
}

func refSqueeze(n Node, in []*Array) []*Array {
	named := map[int]bool{}
	for _, a := range n.Attrs["axes"].Ints {
		named[int(a)] = true
	}
	if len(in) > 1 {
		for _, a := range in[1].V {
			named[int(a)] = true
		}
	}
	r := len(in[0].Shape)
	shape := []int{}
	for i, d := range in[0].Shape {
		if named[i] || named[i-r] || len(named) == 0 && d == 1 {
			continue
		}
		shape = append(shape, d)
	}
	return refView(in[0], shape)
}
