package op

import "fmt"

// slice is y[i] = x[start + i·step] per axis, in any layout. Starts, ends and
// axes are attributes before opset 10; since then they and the steps are
// constant inputs 1 to 4. Negative positions count from the end, positions
// beyond an end are clamped, steps may be negative.
// https://onnx.ai/onnx/operators/onnx__Slice.html
type slice struct {
	starts, ends, axes []int
	input              bool
}

// run is the part of one axis that a slice takes.
type run struct{ start, step, n int }

func init() {
	vec := func(v ...int) Arg { return Const(Vector(v...)) }
	const far = 1<<63 - 1
	Register(Def{
		Name: "Slice", Since: 1,
		New: func(n Node) (Op, error) {
			o := &slice{input: n.Opset >= 10}
			if o.input {
				return o, nil
			}
			r := &reader{n: n}
			o.starts, o.ends, o.axes = r.Ints("starts"), r.Ints("ends"), r.Ints("axes")
			return o, r.err
		},
		Reference: refSlice,
		Cases: []Case{
			{In: []Arg{Rand(2, 5, 7, 3), vec(1, 0), vec(4, far), vec(1, 2)}},
			{Name: "steps", In: []Arg{Rand(2, 5, 7, 9), vec(0, 1), vec(far, 9), vec(2, 3), vec(2, 3)}},
			{Name: "reverse", In: []Arg{Rand(2, 5, 7), vec(-1, 3), vec(-far, -5), vec(1, -1), vec(-1, -2)}},
			{Name: "reverse last", In: []Arg{Rand(3, 7), vec(-1), vec(-far - 1), vec(1), vec(-1)}},
			{Name: "attributes", Opset: 9, Attrs: Attrs{"starts": IntsAttr(1, -3), "ends": IntsAttr(9, -1)}, In: []Arg{Rand(3, 5, 2)}},
			{Name: "attribute axes", Opset: 7, Attrs: Attrs{"starts": IntsAttr(1), "ends": IntsAttr(3), "axes": IntsAttr(1)}, In: []Arg{Rand(3, 5)}},
			{Name: "empty", In: []Arg{Rand(3, 5), vec(4), vec(2), vec(1)}},
			{Name: "int64", In: []Arg{Const(Ints([]int64{1, 2, 3, 4, 5}, 5)), vec(-2), vec(far)}},
		},
	})
}

// runs returns the part taken of every axis.
func (o *slice) runs(in []*Tensor) ([]run, error) {
	starts, ends, axes := o.starts, o.ends, o.axes
	var steps []int
	if o.input {
		for _, a := range []struct {
			v *[]int
			i int
		}{{&starts, 1}, {&ends, 2}, {&axes, 3}, {&steps, 4}} {
			v, err := constInts(in, a.i)
			if err != nil {
				return nil, err
			}
			*a.v = v
		}
	}
	shape := in[0].Shape
	if len(starts) != len(ends) || axes != nil && len(axes) != len(starts) || steps != nil && len(steps) != len(starts) || axes == nil && len(starts) > len(shape) {
		return nil, fmt.Errorf("%d starts, %d ends, %d axes, %d steps for rank %d do not match", len(starts), len(ends), len(axes), len(steps), len(shape))
	}
	if axes == nil {
		for i := range starts {
			axes = append(axes, i)
		}
	}
	axes, err := wantAxes(axes, len(shape))
	if err != nil {
		return nil, err
	}
	rs := make([]run, len(shape))
	for a, d := range shape {
		rs[a] = run{0, 1, d}
	}
	for k, a := range axes {
		step := 1
		if steps != nil {
			step = max(-maxStep, min(maxStep, steps[k]))
		}
		if step == 0 {
			return nil, fmt.Errorf("step of axis %d is 0", a)
		}
		rs[a] = clampRun(starts[k], ends[k], step, shape[a])
	}
	return rs, nil
}

// clampRun applies the rules for negative and far positions to an axis of
// length d.
func clampRun(start, end, step, d int) run {
	if start < 0 {
		start += d
	}
	if end < 0 {
		end += d
	}
	if d == 0 {
		return run{0, 1, 0}
	}
	if step > 0 {
		start, end = max(0, min(d, start)), max(0, min(d, end))
		return run{start, step, max(0, (end-start+step-1)/step)}
	}
	start, end = max(0, min(d-1, start)), max(-1, min(d-1, end))
	return run{start, step, max(0, (start-end-step-1)/-step)}
}

func (o *slice) Infer(in []*Tensor) ([]*Tensor, error) {
	lo, hi := 1, 1
	if o.input {
		lo, hi = 3, 5
	}
	if err := wantInputs(in, lo, hi); err != nil {
		return nil, err
	}
	rs, err := o.runs(in)
	if err != nil {
		return nil, err
	}
	y := Info(in[0].Type, in[0].Shape...)
	for a, r := range rs {
		y.Shape[a] = r.n
	}
	return []*Tensor{y}, nil
}

func (o *slice) Layouts(in []*Tensor) (want, out []Layout) { return keepLayouts(in, 1) }

// Couplings couples the positions taken with the output's. Axes that are taken in
// steps are in none: what is left of them is no slice.
func (o *slice) Couplings(in, out []*Tensor) []Coupling {
	rs, err := o.runs(in)
	if err != nil {
		return nil
	}
	var all []Coupling
	for a, r := range rs {
		if r.step == 1 || r.step == -1 {
			all = append(all, Coupling{Sides: []Side{Part(Axis(0, a), r.start, r.step, r.n), Whole(Axis(^0, a))}})
		}
	}
	return all
}

// Zeros holds: the elements are the input's.
func (o *slice) Zeros(zero []bool) bool { return zero[0] }

// Cut moves starts and ends.
func (o *slice) Cut(c *Cut) (Change, error) {
	rs, err := o.runs(c.In)
	if err != nil {
		return Change{}, err
	}
	now, err := o.runs(c.New)
	if err != nil {
		return Change{}, err
	}
	starts, ends, axes := append([]int(nil), o.starts...), append([]int(nil), o.ends...), o.axes
	if o.input {
		for _, x := range []struct {
			v *[]int
			i int
		}{{&starts, 1}, {&ends, 2}, {&axes, 3}} {
			if *x.v, err = constInts(c.New, x.i); err != nil {
				return Change{}, err
			}
		}
	}
	changed := false
	for k := range starts {
		a := k
		if axes != nil {
			a = (axes[k] + len(rs)) % len(rs)
		}
		gone := c.Gone(AxisRef{0, a})
		want := rs[a]
		if gone == nil {
			// Positions computed from shapes may have moved all the same.
		} else if want.step == 1 {
			want.start = keptIn(gone, 0, rs[a].start)
			want.n = keptIn(gone, rs[a].start, rs[a].start+rs[a].n)
		} else {
			last := rs[a].start - rs[a].n + 1
			want.n = keptIn(gone, last, rs[a].start+1)
			want.start = keptIn(gone, 0, rs[a].start+1) - 1
		}
		if want == now[a] {
			continue
		}
		changed = true
		starts[k], ends[k] = want.start, want.start+want.step*want.n
		if ends[k] < 0 {
			ends[k] = -1 - c.Kept(0, a)
		}
	}
	switch {
	case !changed:
		return Change{}, nil
	case o.input:
		return Change{Inputs: map[int]*Tensor{1: intsLike(c.In[1], starts), 2: intsLike(c.In[2], ends)}}, nil
	}
	return Change{Attrs: Attrs{"starts": IntsAttr(starts...), "ends": IntsAttr(ends...)}}, nil
}

// part returns offset and strides, in x, of the elements taken.
func (o *slice) part(in []*Tensor, x *Tensor) (off int, str []int, err error) {
	rs, err := o.runs(in)
	if err != nil {
		return 0, nil, err
	}
	str = x.Strides()
	for a, r := range rs {
		off += r.start * str[a]
		str[a] *= r.step
	}
	return off, str, nil
}

func (o *slice) Forward(c *Context, in, out []*Tensor) error {
	off, str, err := o.part(in, in[0])
	if err != nil {
		return err
	}
	moveTensor(c, out[0].Shape, out[0], 0, out[0].Strides(), in[0], off, str)
	return nil
}

func (o *slice) Reads() (in, out uint32) { return 0b11110, 0 }

// Accumulates marks the operator as an [Accumulator].
func (o *slice) Accumulates() {}

func (o *slice) Backward(c *Context, in, out, dout, din []*Tensor) error {
	dx, dy := din[0], dout[0]
	if dx == nil {
		return nil
	}
	off, str, err := o.part(in, dx)
	if err != nil {
		return err
	}
	clearGrad(dx)
	moveGrad(c, dy.Shape, dx, off, str, dy, 0, dy.Strides())
	return nil
}

func refSlice(n Node, in []*Array) []*Array {
	list := func(name string, i int) []float64 {
		if i < len(in) && in[i] != nil {
			return in[i].V
		}
		var v []float64
		for _, x := range n.Attrs[name].Ints {
			v = append(v, float64(x))
		}
		return v
	}
	starts, ends, axes, steps := list("starts", 1), list("ends", 2), list("axes", 3), list("steps", 4)
	x := in[0]
	r := len(x.Shape)
	picks := make([][]int, r)
	for a, d := range x.Shape {
		start, end, step := 0.0, float64(d), 1.0
		for k := range starts {
			if axes == nil && k == a || axes != nil && (int(axes[k])+r)%r == a {
				start, end = starts[k], ends[k]
				if steps != nil {
					step = steps[k]
				}
			}
		}
		resolve := func(v float64) float64 {
			if v < 0 {
				v += float64(d)
			}
			return v
		}
		start, end = resolve(start), resolve(end)
		if start = max(start, 0); step < 0 {
			start = min(start, float64(d-1))
		}
		for p := start; p >= 0 && p < float64(d) && (p-end)*step < 0; p += step {
			picks[a] = append(picks[a], int(p))
		}
	}
	shape := make([]int, r)
	for a := range shape {
		shape[a] = len(picks[a])
	}
	y := NewArray(shape...)
	Each(shape, func(idx []int) {
		from := make([]int, r)
		for a := range from {
			from[a] = picks[a][idx[a]]
		}
		y.V[y.At(idx...)] = x.V[x.At(from...)]
	})
	return []*Array{y}
}
