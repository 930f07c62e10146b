package op

import "fmt"

// split is y0, y1, … = consecutive parts of x along an axis, in any layout. The
// lengths are an attribute before opset 13 and a constant input since; without
// them the parts are equal, the last one smaller if num_outputs (opset 18) asks
// so. https://onnx.ai/onnx/operators/onnx__Split.html
type split struct {
	axis, parts int
	lengths     []int
	input       bool
	uneven      bool
}

func init() {
	axis := func(a int) Attrs { return Attrs{"axis": IntAttr(a)} }
	Register(Def{
		Name: "Split", Since: 2,
		New:       newSplit,
		Reference: refSplit,
		Cases: []Case{
			{Attrs: axis(1), Outputs: 3, In: []Arg{Rand(2, 7, 3, 5), Const(Vector(3, 0, 4))}},
			{Name: "equal", Attrs: axis(-1), Outputs: 3, In: []Arg{Rand(2, 5, 9)}},
			{Name: "attribute", Opset: 11, Attrs: Attrs{"axis": IntAttr(1), "split": IntsAttr(1, 4)}, Outputs: 2, In: []Arg{Rand(3, 5)}},
			{Name: "uneven", Opset: 18, Attrs: Attrs{"axis": IntAttr(1), "num_outputs": IntAttr(3)}, Outputs: 3, In: []Arg{Rand(2, 7, 3)}},
			{Name: "rows", Opset: 7, Outputs: 2, In: []Arg{Rand(4, 5)}},
			{Name: "int64", Outputs: 2, In: []Arg{Const(Ints([]int64{1, 2, 3, 4}, 4)), Const(Vector(1, 3))}},
		},
	})
}

func newSplit(n Node) (Op, error) {
	r := &reader{n: n}
	o := &split{axis: r.Int("axis", 0), parts: n.Outputs, input: n.Opset >= 13}
	if !o.input {
		o.lengths = r.Ints("split")
	}
	if n.Opset >= 18 && r.Has("num_outputs") {
		o.uneven = true
		if k := r.Int("num_outputs", n.Outputs); k != n.Outputs {
			r.keep(fmt.Errorf("attribute %q is %d, node has %d outputs", "num_outputs", k, n.Outputs))
		}
	}
	if n.Outputs < 1 {
		r.keep(fmt.Errorf("has no outputs"))
	}
	return o, r.err
}

// cut returns the axis and the lengths of the parts.
func (o *split) cut(in []*Tensor) (axis int, lengths []int, err error) {
	s := in[0].Shape
	if axis, err = wantAxis(o.axis, len(s)); err != nil {
		return 0, nil, err
	}
	lengths = append([]int(nil), o.lengths...)
	if o.input {
		if lengths, err = constInts(in, 1); err != nil {
			return 0, nil, err
		}
	}
	d := s[axis]
	if lengths == nil {
		if d%o.parts != 0 && !o.uneven {
			return 0, nil, fmt.Errorf("axis %d of input %s has length %d, not a multiple of %d outputs", axis, ShapeString(s), d, o.parts)
		}
		step := (d + o.parts - 1) / o.parts
		rest := d
		for i := 0; i < o.parts; i++ {
			lengths = append(lengths, min(step, rest))
			rest -= lengths[i]
		}
		return axis, lengths, nil
	}
	rest := d
	for _, l := range lengths {
		if l < 0 || l > rest {
			return 0, nil, fmt.Errorf("parts %s do not fit axis %d of length %d", ShapeString(lengths), axis, d)
		}
		rest -= l
	}
	if rest != 0 || len(lengths) != o.parts {
		return 0, nil, fmt.Errorf("parts %s, wants %d that sum to %d", ShapeString(lengths), o.parts, d)
	}
	return axis, lengths, nil
}

func (o *split) Infer(in []*Tensor) ([]*Tensor, error) {
	n := 1
	if o.input {
		n = 2
	}
	if err := wantInputs(in, 1, n); err != nil {
		return nil, err
	}
	a, lengths, err := o.cut(in)
	if err != nil {
		return nil, err
	}
	out := make([]*Tensor, len(lengths))
	for j, l := range lengths {
		out[j] = Info(in[0].Type, in[0].Shape...)
		out[j].Shape[a] = l
	}
	return out, nil
}

func (o *split) Layouts(in []*Tensor) (want, out []Layout) { return keepLayouts(in, o.parts) }

// Couplings couples every output with its part of the input.
func (o *split) Couplings(in, out []*Tensor) []Coupling {
	own, lengths, err := o.cut(in)
	if err != nil {
		return nil
	}
	var all []Coupling
	for a := range in[0].Shape {
		if a == own {
			start := 0
			for j, n := range lengths {
				all = append(all, Coupling{Sides: []Side{Part(Axis(0, a), start, 1, n), Whole(Axis(^j, a))}})
				start += n
			}
			continue
		}
		sides := []Side{Whole(Axis(0, a))}
		for j := range out {
			sides = append(sides, Whole(Axis(^j, a)))
		}
		all = append(all, Coupling{Sides: sides})
	}
	return all
}

// Zeros holds: the elements are the input's.
func (o *split) Zeros(zero []bool) bool { return zero[0] }

// Cut gives the parts new lengths.
func (o *split) Cut(c *Cut) (Change, error) {
	a, lengths, err := o.cut(c.In)
	if err != nil {
		return Change{}, err
	}
	gone := c.Gone(AxisRef{0, a})
	start := 0
	for j, n := range lengths {
		lengths[j] = keptIn(gone, start, start+n)
		start += n
	}
	if _, now, err := o.cut(c.New); err == nil && EqualShape(now, lengths) {
		return Change{}, nil
	}
	if !o.input {
		return Change{Attrs: Attrs{"split": IntsAttr(lengths...)}}, nil
	}
	var like *Tensor
	if hasInput(c.In, 1) {
		like = c.In[1]
	}
	return Change{Drop: []string{"num_outputs"}, Inputs: map[int]*Tensor{1: intsLike(like, lengths)}}, nil
}

func (o *split) Forward(c *Context, in, out []*Tensor) error {
	x := in[0]
	a, lengths, err := o.cut(in)
	if err != nil {
		return err
	}
	str, off := x.Strides(), 0
	for j, y := range out {
		if y != nil {
			moveTensor(c, y.Shape, y, 0, y.Strides(), x, off, str)
		}
		off += lengths[j] * str[a]
	}
	return nil
}

func (o *split) Reads() (in, out uint32) { return 1 << 1, 0 }

// Accumulates marks the operator as an [Accumulator].
func (o *split) Accumulates() {}

func (o *split) Backward(c *Context, in, out, dout, din []*Tensor) error {
	dx := din[0]
	if dx == nil {
		return nil
	}
	a, lengths, err := o.cut(in)
	if err != nil {
		return err
	}
	for _, dy := range dout {
		if dy == nil {
			clearGrad(dx)
			break
		}
	}
	str, off := dx.Strides(), 0
	for j, dy := range dout {
		if dy != nil {
			moveGrad(c, dy.Shape, dx, off, str, dy, 0, dy.Strides())
		}
		off += lengths[j] * str[a]
	}
	return nil
}

func refSplit(n Node, in []*Array) []*Array {
	x := in[0]
	a := int(n.Attrs["axis"].I)
	if a < 0 {
		a += len(x.Shape)
	}
	var lengths []int
	for _, l := range n.Attrs["split"].Ints {
		lengths = append(lengths, int(l))
	}
	if len(in) > 1 {
		for _, l := range in[1].V {
			lengths = append(lengths, int(l))
		}
	}
	if lengths == nil {
		step := (x.Shape[a] + n.Outputs - 1) / n.Outputs
		for i := 0; i < n.Outputs; i++ {
			lengths = append(lengths, min(step, x.Shape[a]-i*step))
		}
	}
	var out []*Array
	start := 0
	for _, l := range lengths {
		shape := append([]int{}, x.Shape...)
		shape[a] = l
		y := NewArray(shape...)
		Each(shape, func(idx []int) {
			from := append([]int{}, idx...)
			from[a] += start
			y.V[y.At(idx...)] = x.V[x.At(from...)]
		})
		out = append(out, y)
		start += l
	}
	return out
}
