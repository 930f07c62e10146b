package op

import "fmt"

// gather is y[…, i…, …] = x[…, index[i…], …]: the axis of x is replaced by the
// axes of index (input 1). Negative indices count from the end. The gradient
// adds the slices up in the order of the indices.
// https://onnx.ai/onnx/operators/onnx__Gather.html
type gather struct{ axis int }

func init() {
	axis := func(a int) Attrs { return Attrs{"axis": IntAttr(a)} }
	vec := func(v ...int) Arg { return Const(Vector(v...)) }
	Register(Def{
		Name: "Gather", Since: 1, Params: []int{0},
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			o := &gather{axis: r.Int("axis", 0)}
			return o, r.err
		},
		Reference: refGather,
		Cases: []Case{
			{In: []Arg{Rand(5, 3), Const(Ints([]int64{0, -1, 2, 2, 4, 2}, 2, 3))}},
			{Name: "channels", Attrs: axis(1), In: []Arg{Rand(2, 3, 5, 7), vec(2, 0, 0, -2)}},
			{Name: "scalar", Attrs: axis(1), In: []Arg{Rand(2, 5, 3), Const(Ints([]int64{-1}))}},
			{Name: "last", Opset: 7, Attrs: axis(-1), In: []Arg{Rand(2, 3, 5), vec(1, 1)}},
			{Name: "more axes", Attrs: axis(2), In: []Arg{Rand(2, 3, 5), Const(Ints([]int64{0, 1, 2, 3}, 2, 1, 2))}},
			{Name: "none", In: []Arg{Rand(5, 3), Const(Ints([]int64{}, 0))}},
			{Name: "int64", In: []Arg{Const(Ints([]int64{10, 20, 30}, 3)), vec(2, 0)}},
		},
	})
}

func (o *gather) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 2, 2); err != nil {
		return nil, err
	}
	x, index := in[0], in[1]
	if index.Type != Int64 && index.Type != Int32 {
		return nil, fmt.Errorf("input 1 is of type %s, wants int32 or int64", index.Type)
	}
	a, err := wantAxis(o.axis, x.Rank())
	if err != nil {
		return nil, err
	}
	if _, err := indices(index, x.Shape[a]); err != nil {
		return nil, err
	}
	shape := append([]int{}, x.Shape[:a]...)
	shape = append(append(shape, index.Shape...), x.Shape[a+1:]...)
	if err := checkSize(shape); err != nil {
		return nil, err
	}
	return []*Tensor{Info(x.Type, shape...)}, nil
}

// indices returns the elements of an index tensor, resolved against n.
func indices(index *Tensor, n int) ([]int, error) {
	out := make([]int, len(index.I))
	for k, v := range index.I {
		if v < -int64(n) || v >= int64(n) {
			return nil, fmt.Errorf("index %d is out of range for an axis of length %d", v, n)
		}
		if v < 0 {
			v += int64(n)
		}
		out[k] = int(v)
	}
	return out, nil
}

func (o *gather) Layouts(in []*Tensor) (want, out []Layout) {
	want, out = keepLayouts(in, 1)
	if in[1].Rank() != 1 {
		out[0] = RowMajor
	}
	return want, out
}

// Couplings couples the positions that constant indices name with those of the
// output.
func (o *gather) Couplings(in, out []*Tensor) []Coupling {
	own, err := wantAxis(o.axis, in[0].Rank())
	if err != nil {
		return nil
	}
	q := in[1].Rank()
	var all []Coupling
	for a, n := range in[0].Shape {
		switch {
		case a < own:
			all = append(all, Coupling{Sides: []Side{Whole(Axis(0, a)), Whole(Axis(^0, a))}})
		case a > own:
			all = append(all, Coupling{Sides: []Side{Whole(Axis(0, a)), Whole(Axis(^0, a-1+q))}})
		case in[1].IsConst():
			at, err := indices(in[1], n)
			if err != nil || len(at) == 0 {
				continue
			}
			to := Side{Of: []Factor{FixedAxis(1)}}
			for i := range q {
				to.Of = append(to.Of, Axis(^0, a+i))
			}
			if q == 1 {
				to.Of = to.Of[1:]
			}
			all = append(all, Coupling{Sides: []Side{{Of: []Factor{Axis(0, a)}, At: at}, to}})
		}
	}
	return all
}

// Zeros holds: the elements are the input's.
func (o *gather) Zeros(zero []bool) bool { return zero[0] }

// Cut renumbers the indices.
func (o *gather) Cut(c *Cut) (Change, error) {
	own, err := wantAxis(o.axis, c.In[0].Rank())
	if err != nil {
		return Change{}, err
	}
	index := c.In[1]
	if !index.IsConst() {
		return Change{}, nil // then the axis is in no coupling
	}
	at, err := indices(index, c.In[0].Shape[own])
	if err != nil {
		return Change{}, err
	}
	x := &Tensor{Type: index.Type, Shape: c.Shape(^0)[own : own+index.Rank()], I: []int64{}}
	gone := c.Gone(AxisRef{0, own})
	k := 0
	Each(index.Shape, func(idx []int) {
		from := at[k]
		k++
		for i, p := range idx {
			if g := c.Gone(AxisRef{^0, own + i}); g != nil && g[p] {
				return
			}
		}
		x.I = append(x.I, int64(keptIn(gone, 0, from)))
	})
	return Change{Inputs: map[int]*Tensor{1: x}}, nil
}

// slabs describes the parts of x and y that one index names: their common
// shape, strides in both, the distance of neighbours in x, and per index the
// position in x and the offset in y.
type slabs struct {
	shape, xStr, yStr []int
	step              int
	at, yOff          []int
}

func (o *gather) slabs(x, index, y *Tensor) (slabs, error) {
	a, err := wantAxis(o.axis, x.Rank())
	if err != nil {
		return slabs{}, err
	}
	xs, ys, q := x.Strides(), y.Strides(), index.Rank()
	s := slabs{step: xs[a]}
	if s.at, err = indices(index, x.Shape[a]); err != nil {
		return s, err
	}
	drop := func(v []int, n int) []int { return append(append([]int{}, v[:a]...), v[a+n:]...) }
	s.shape, s.xStr, s.yStr = drop(x.Shape, 1), drop(xs, 1), drop(ys, q)
	Each(index.Shape, func(idx []int) {
		off := 0
		for i, k := range idx {
			off += k * ys[a+i]
		}
		s.yOff = append(s.yOff, off)
	})
	return s, nil
}

func (o *gather) Forward(c *Context, in, out []*Tensor) error {
	x, index, y := in[0], in[1], out[0]
	s, err := o.slabs(x, index, y)
	if err != nil {
		return err
	}
	w := newWalk(s.shape, s.yStr, s.xStr)
	if y.Type.IsFloat() {
		gatherSlabs(c, w, s, y.F, x.F)
	} else {
		gatherSlabs(c, w, s, y.I, x.I)
	}
	return nil
}

func gatherSlabs[T any](c *Context, w *walk, s slabs, y, x []T) {
	one := func(c *Context, k int) {
		yo, xo := s.yOff[k], s.at[k]*s.step
		w.rows(c, func(o offsets, n int, str offsets) {
			d, v := y[yo+o[0]:], x[xo+o[1]:]
			if str[0] == 1 && str[1] == 1 {
				copy(d[:n], v[:n])
				return
			}
			for i := 0; i < n; i++ {
				d[i*str[0]] = v[i*str[1]]
			}
		})
	}
	if len(s.at) < 16 {
		for k := range s.at {
			one(c, k)
		}
		return
	}
	c.Parallel(len(s.at), Size(s.shape), func(lo, hi int) {
		for k := lo; k < hi; k++ {
			one(nil, k)
		}
	})
}

func (o *gather) Reads() (in, out uint32) { return 1 << 1, 0 }

// Accumulates marks the operator as an [Accumulator].
func (o *gather) Accumulates() {}

func (o *gather) Backward(c *Context, in, out, dout, din []*Tensor) error {
	dx, dy := din[0], dout[0]
	if dx == nil {
		return nil
	}
	s, err := o.slabs(dx, in[1], dy)
	if err != nil {
		return err
	}
	clearGrad(dx)
	w := newWalk(s.shape, s.yStr, s.xStr)
	for k, i := range s.at {
		yo, xo := s.yOff[k], i*s.step
		w.rows(c, func(o offsets, n int, str offsets) {
			g, d := dy.F[yo+o[0]:], dx.F[xo+o[1]:]
			for i := 0; i < n; i++ {
				d[i*str[1]] += g[i*str[0]]
			}
		})
	}
	return nil
}

func refGather(n Node, in []*Array) []*Array {
	x, index := in[0], in[1]
	a := int(n.Attrs["axis"].I)
	if a < 0 {
		a += len(x.Shape)
	}
	q := len(index.Shape)
	shape := append([]int{}, x.Shape[:a]...)
	shape = append(append(shape, index.Shape...), x.Shape[a+1:]...)
	y := NewArray(shape...)
	Each(shape, func(idx []int) {
		k := int(index.V[index.At(idx[a:a+q]...)])
		if k < 0 {
			k += x.Shape[a]
		}
		from := append(append(append([]int{}, idx[:a]...), k), idx[a+q:]...)
		y.V[y.At(idx...)] = x.V[x.At(from...)]
	})
	return []*Array{y}
}
