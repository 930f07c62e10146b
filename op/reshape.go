package op

import "fmt"

// reshape is y = x with the dimensions given by the constant input 1: 0 keeps
// the dimension at its position (unless allowzero), one −1 takes the rest.
// https://onnx.ai/onnx/operators/onnx__Reshape.html
type reshape struct {
	view
	allowZero bool
}

func init() {
	shape := func(v ...int) Arg { return Const(Vector(v...)) }
	Register(Def{
		Name: "Reshape", Since: 5,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			o := &reshape{allowZero: r.Bool("allowzero", false)}
			return o, r.err
		},
		Reference: refReshape,
		Cases: []Case{
			{In: []Arg{Rand(2, 3, 5, 7), shape(0, -1)}},
			{Name: "flat channels", In: []Arg{Rand(2, 5, 1, 1), shape(0, -1)}},
			{Name: "spatial", In: []Arg{Rand(2, 5, 3, 7), shape(0, 0, -1)}},
			{Name: "split", Opset: 7, In: []Arg{Rand(2, 6, 3, 5), shape(2, 2, 3, 3, 5)}},
			{Name: "shifted zero", In: []Arg{Rand(1, 3, 3), shape(-1, 0, 1)}},
			{Name: "batch", In: []Arg{Rand(3, 5, 7), shape(-1, 5, 7)}},
			{Name: "scalar", In: []Arg{Rand(1), Const(Ints([]int64{}, 0))}},
			{Name: "allowzero", Opset: 14, Attrs: Attrs{"allowzero": IntAttr(1)}, In: []Arg{Rand(0, 3), shape(3, 0)}},
			{Name: "int64", In: []Arg{Const(Ints([]int64{1, 2, 3, 4, 5, 6}, 2, 3)), shape(3, -1)}},
		},
	})
}

// target resolves the requested dimensions v for an input of the given shape.
func (o *reshape) target(shape, v []int) ([]int, error) {
	out := make([]int, len(v))
	rest, known := -1, 1
	for i, d := range v {
		switch {
		case d == 0 && !o.allowZero:
			if i >= len(shape) {
				return nil, fmt.Errorf("shape %s keeps axis %d, input has rank %d", ShapeString(v), i, len(shape))
			}
			d = shape[i]
		case d == -1:
			if rest >= 0 {
				return nil, fmt.Errorf("shape %s has more than one -1", ShapeString(v))
			}
			rest = i
			out[i] = 1
			continue
		case d < 0:
			return nil, fmt.Errorf("shape %s has a negative dimension", ShapeString(v))
		}
		out[i] = d
	}
	if err := checkSize(out); err != nil {
		return nil, err
	}
	known = Size(out)
	total := Size(shape)
	if rest >= 0 {
		if known == 0 || total%known != 0 {
			return nil, fmt.Errorf("input %s has %d elements, no -1 in shape %s fits", ShapeString(shape), total, ShapeString(v))
		}
		out[rest] = total / known
		known *= out[rest]
	}
	if known != total {
		return nil, fmt.Errorf("input %s has %d elements, shape %s wants %d", ShapeString(shape), total, ShapeString(v), known)
	}
	return out, nil
}

func (o *reshape) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 2, 2); err != nil {
		return nil, err
	}
	v, err := constInts(in, 1)
	if err != nil {
		return nil, err
	}
	s, err := o.target(in[0].Shape, v)
	if err != nil {
		return nil, err
	}
	return []*Tensor{Info(in[0].Type, s...)}, nil
}

func (o *reshape) Couplings(in, out []*Tensor) []Coupling {
	return reshapeCouplings(in[0].Shape, out[0].Shape)
}

// Cut replaces the dimensions that the target has as numbers.
func (o *reshape) Cut(c *Cut) (Change, error) {
	want := c.Shape(^0)
	v, err := constInts(c.New, 1)
	if err != nil {
		return Change{}, err
	}
	if got, err := o.target(c.New[0].Shape, v); err == nil && EqualShape(got, want) {
		return Change{}, nil
	}
	if len(v) != len(want) {
		return Change{}, fmt.Errorf("shape %s has %d dimensions, wants %d", ShapeString(v), len(v), len(want))
	}
	for i, d := range v {
		kept := d == 0 && !o.allowZero && i < c.New[0].Rank() && c.New[0].Shape[i] == want[i]
		if d != -1 && !kept {
			v[i] = want[i]
		}
	}
	if got, err := o.target(c.New[0].Shape, v); err != nil || !EqualShape(got, want) {
		return Change{}, fmt.Errorf("no target gives %s from %s", ShapeString(want), ShapeString(c.New[0].Shape))
	}
	return Change{Inputs: map[int]*Tensor{1: intsLike(c.In[1], v)}}, nil
}

func refReshape(n Node, in []*Array) []*Array {
	shape := make([]int, len(in[1].V))
	fill, size := -1, 1
	for i, d := range in[1].V {
		shape[i] = int(d)
		if d == 0 && n.Attrs["allowzero"].I == 0 {
			shape[i] = in[0].Shape[i]
		}
		if d < 0 {
			fill = i
		} else {
			size *= shape[i]
		}
	}
	if fill >= 0 {
		shape[fill] = len(in[0].V) / size
	}
	return refView(in[0], shape)
}
