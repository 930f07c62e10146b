package op

import "fmt"

// concat is y = [x0; x1; …] along an axis, in any layout.
// https://onnx.ai/onnx/operators/onnx__Concat.html
type concat struct{ axis int }

func init() {
	axis := func(a int) Attrs { return Attrs{"axis": IntAttr(a)} }
	Register(Def{
		Name: "Concat", Since: 4,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			o := &concat{axis: r.Int("axis", 0)}
			if !r.Has("axis") {
				return nil, fmt.Errorf("attribute %q is missing", "axis")
			}
			return o, r.err
		},
		Reference: refConcat,
		Cases: []Case{
			{Attrs: axis(1), In: []Arg{Rand(2, 3, 5, 7), Rand(2, 4, 5, 7), Rand(2, 1, 5, 7)}},
			{Name: "negative", Attrs: axis(-1), In: []Arg{Rand(2, 3, 5), Rand(2, 3, 2)}},
			{Name: "rows", Opset: 7, Attrs: axis(0), In: []Arg{Rand(2, 5), Rand(3, 5)}},
			{Name: "constant", Attrs: axis(1), In: []Arg{Const(Floats([]float32{1, 2, 3, 4, 5, 6}, 1, 2, 3)), Rand(1, 5, 3)}},
			{Name: "empty", Attrs: axis(0), In: []Arg{Rand(0, 5), Rand(3, 5)}},
			{Name: "one", Attrs: axis(0), In: []Arg{Rand(3, 5)}},
			{Name: "int64", Attrs: axis(0), In: []Arg{Const(Ints([]int64{1}, 1)), Const(Ints([]int64{-1, 3}, 2))}},
		},
	})
}

func (o *concat) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, max(1, len(in)), len(in)); err != nil {
		return nil, err
	}
	a, err := wantAxis(o.axis, in[0].Rank())
	if err != nil {
		return nil, err
	}
	shape := append([]int{}, in[0].Shape...)
	for i, t := range in[1:] {
		if err := wantType(in, 0, i+1); err != nil {
			return nil, err
		}
		same := t.Rank() == len(shape)
		for k := 0; same && k < len(shape); k++ {
			same = k == a || t.Shape[k] == shape[k]
		}
		if !same {
			return nil, fmt.Errorf("input %d is %s, input 0 is %s: they differ outside axis %d", i+1, ShapeString(t.Shape), ShapeString(in[0].Shape), a)
		}
		shape[a] += t.Shape[a]
	}
	if err := checkSize(shape); err != nil {
		return nil, err
	}
	return []*Tensor{Info(in[0].Type, shape...)}, nil
}

// Layouts takes every input as it is; the output follows the largest.
func (o *concat) Layouts(in []*Tensor) (want, out []Layout) {
	best := in[0]
	for _, t := range in {
		want = append(want, t.Layout)
		if t.Size() > best.Size() {
			best = t
		}
	}
	return want, []Layout{best.Layout}
}

// Couplings couples every input with its part of the output.
func (o *concat) Couplings(in, out []*Tensor) []Coupling {
	own, _ := wantAxis(o.axis, in[0].Rank())
	var all []Coupling
	for a := range in[0].Shape {
		if a == own {
			start := 0
			for i, t := range in {
				all = append(all, Coupling{Sides: []Side{Whole(Axis(i, a)), Part(Axis(^0, a), start, 1, t.Shape[a])}})
				start += t.Shape[a]
			}
			continue
		}
		sides := []Side{Whole(Axis(^0, a))}
		for i := range in {
			sides = append(sides, Whole(Axis(i, a)))
		}
		all = append(all, Coupling{Sides: sides})
	}
	return all
}

// Zeros holds: the elements are those of the inputs.
func (o *concat) Zeros(zero []bool) bool {
	for _, z := range zero {
		if !z {
			return false
		}
	}
	return true
}

func (o *concat) Forward(c *Context, in, out []*Tensor) error {
	y := out[0]
	a, err := wantAxis(o.axis, y.Rank())
	if err != nil {
		return err
	}
	str, off := y.Strides(), 0
	for _, x := range in {
		moveTensor(c, x.Shape, y, off, str, x, 0, x.Strides())
		off += x.Shape[a] * str[a]
	}
	return nil
}

func (o *concat) Reads() (in, out uint32) { return 0, 0 }

// Accumulates marks the operator as an [Accumulator].
func (o *concat) Accumulates() {}

func (o *concat) Backward(c *Context, in, out, dout, din []*Tensor) error {
	dy := dout[0]
	a, err := wantAxis(o.axis, dy.Rank())
	if err != nil {
		return err
	}
	str, off := dy.Strides(), 0
	for i, x := range in {
		if dx := din[i]; dx != nil {
			moveGrad(c, dx.Shape, dx, 0, dx.Strides(), dy, off, str)
		}
		off += x.Shape[a] * str[a]
	}
	return nil
}

func refConcat(n Node, in []*Array) []*Array {
	a := int(n.Attrs["axis"].I)
	shape := append([]int{}, in[0].Shape...)
	if a < 0 {
		a += len(shape)
	}
	shape[a] = 0
	for _, x := range in {
		shape[a] += x.Shape[a]
	}
	y := NewArray(shape...)
	start := 0
	for _, x := range in {
		Each(x.Shape, func(idx []int) {
			to := append([]int{}, idx...)
			to[a] += start
			y.V[y.At(to...)] = x.V[x.At(idx...)]
		})
		start += x.Shape[a]
	}
	return []*Array{y}
}
