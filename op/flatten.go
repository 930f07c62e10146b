package op

import "fmt"

// flatten is y[i,j] = x with the axes before axis merged into the first and the
// others into the second. https://onnx.ai/onnx/operators/onnx__Flatten.html
type flatten struct {
	view
	axis int
}

func init() {
	axis := func(a int) Attrs { return Attrs{"axis": IntAttr(a)} }
	Register(Def{
		Name: "Flatten", Since: 1,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			o := &flatten{axis: r.Int("axis", 1)}
			return o, r.err
		},
		Reference: func(n Node, in []*Array) []*Array {
			a := 1
			if v, ok := n.Attrs["axis"]; ok {
				a = int(v.I)
			}
			if a < 0 {
				a += len(in[0].Shape)
			}
			return refView(in[0], []int{Size(in[0].Shape[:a]), Size(in[0].Shape[a:])})
		},
		Cases: []Case{
			{In: []Arg{Rand(2, 3, 5, 7)}},
			{Name: "channels", In: []Arg{Rand(2, 5, 1, 1)}},
			{Name: "axis 0", Opset: 7, Attrs: axis(0), In: []Arg{Rand(3, 5)}},
			{Name: "axis 3", Attrs: axis(3), In: []Arg{Rand(2, 3, 5)}},
			{Name: "negative", Attrs: axis(-2), In: []Arg{Rand(1, 3, 5, 1)}},
			{Name: "scalar", Attrs: axis(0), In: []Arg{Rand()}},
			{Name: "int64", In: []Arg{Const(Ints([]int64{1, 2, 3, 4}, 2, 1, 2))}},
		},
	})
}

func (o *flatten) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 1, 1); err != nil {
		return nil, err
	}
	s, r := in[0].Shape, in[0].Rank()
	a := o.axis
	if a < -r || a > r {
		return nil, fmt.Errorf("axis %d is out of range for rank %d", a, r)
	}
	if a < 0 {
		a += r
	}
	return []*Tensor{Info(in[0].Type, Size(s[:a]), Size(s[a:]))}, nil
}

func (o *flatten) Couplings(in, out []*Tensor) []Coupling {
	return reshapeCouplings(in[0].Shape, out[0].Shape)
}
