package op

import (
	"cmp"
	"fmt"
	"slices"
)

// TopK: the k largest elements along an axis, or the smallest with largest = 0, in
// order, and their positions. Of equal elements the first counts first. k is an
// attribute before opset 10, constant input 1 since.
// https://onnx.ai/onnx/operators/onnx__TopK.html
func init() {
	k := func(v int) Arg { return Const(Vector(v)) }
	Register(Def{
		Name: "TopK", Since: 1,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			o := &topK{axis: r.Int("axis", -1), largest: r.Bool("largest", true), k: -1}
			if n.Opset < 10 {
				if o.k = r.Int("k", 0); o.k < 1 {
					r.keep(fmt.Errorf("attribute %q is %d, wants at least 1", "k", o.k))
				}
			}
			return o, r.err
		},
		Reference: refTopK,
		Cases: []Case{
			{Outputs: 2, In: []Arg{Rand(3, 7), k(3)}},
			{Name: "channels", Outputs: 2, Attrs: Attrs{"axis": IntAttr(1)}, In: []Arg{Rand(2, 5, 3, 4), k(2)}},
			{Name: "smallest", Outputs: 2, Attrs: Attrs{"axis": IntAttr(0), "largest": IntAttr(0)}, In: []Arg{Rand(6, 3), k(4)}},
			{Name: "attribute", Opset: 9, Outputs: 2, Attrs: Attrs{"k": IntAttr(2)}, In: []Arg{Rand(3, 4)}},
			{Name: "ties", Outputs: 2, In: []Arg{Const(Floats([]float32{1, 3, 3, 2, 3, 0}, 1, 6)), k(4)}},
			{Name: "none", Outputs: 2, In: []Arg{Rand(3, 4), k(0)}},
			{Name: "int64", Outputs: 2, In: []Arg{Const(Vector(4, -7, 9, 4)), k(3)}},
		},
	})
}

type topK struct {
	axis    int
	largest bool
	k       int // -1 if an input gives it
}

func (o *topK) Infer(in []*Tensor) ([]*Tensor, error) {
	k, inputs := o.k, 1
	if k < 0 {
		inputs = 2
	}
	if err := wantInputs(in, inputs, inputs); err != nil {
		return nil, err
	}
	x := in[0]
	if x.Type == Bool || x.Type == String {
		return nil, fmt.Errorf("input 0 is of type %s, wants numbers", x.Type)
	}
	if inputs == 2 {
		v, err := constInts(in, 1)
		if err != nil {
			return nil, err
		}
		if len(v) != 1 {
			return nil, fmt.Errorf("input 1 has %d elements, wants 1", len(v))
		}
		k = v[0]
	}
	a, err := wantAxis(o.axis, x.Rank())
	if err != nil {
		return nil, err
	}
	if k < 0 || k > x.Shape[a] {
		return nil, fmt.Errorf("k is %d, axis %d of input %s has %d elements", k, a, ShapeString(x.Shape), x.Shape[a])
	}
	y := append([]int{}, x.Shape...)
	y[a] = k
	return []*Tensor{Info(x.Type, y...), Info(Int64, y...)}, nil
}

func (o *topK) Layouts(in []*Tensor) (want, out []Layout) { return keepLayouts(in, 2) }

func (o *topK) Links(in, out []*Tensor) []Link { return axisAlone(in, out, o.axis) }

func (o *topK) Forward(c *Context, in, out []*Tensor) error {
	if in[0].F != nil {
		topLines(c, o, in[0], in[0].F, out[0].F, out)
	} else {
		topLines(c, o, in[0], in[0].I, out[0].I, out)
	}
	return nil
}

func topLines[T cmp.Ordered](c *Context, o *topK, x *Tensor, v, y []T, out []*Tensor) {
	o.both(c, x, out[1], func(xo, yo, n, k, xs, ys int, order []int32) {
		for i := range order {
			order[i] = int32(i)
		}
		slices.SortStableFunc(order, func(i, j int32) int {
			d := cmp.Compare(v[xo+int(i)*xs], v[xo+int(j)*xs])
			if o.largest {
				return -d
			}
			return d
		})
		for i, p := range order[:k] {
			y[yo+i*ys] = v[xo+int(p)*xs]
			out[1].I[yo+i*ys] = int64(p)
		}
	})
}

// both calls f for every line of x and the line of the outputs that it leads to,
// spread over threads, with n elements of a table of its own.
func (o *topK) both(c *Context, x, y *Tensor, f func(xo, yo, n, k, xs, ys int, order []int32)) {
	a, err := wantAxis(o.axis, x.Rank())
	if err != nil || y.Size() == 0 {
		return
	}
	n, k, xs, ys := x.Shape[a], y.Shape[a], x.Strides()[a], y.Strides()[a]
	rest := append([]int{}, x.Shape...)
	rest[a] = 1
	w := newWalk(rest, x.Strides(), y.Strides())
	at := newOdometer(w.dims, w.str)
	c.Parallel(at.size(), 16*n, func(lo, hi int) {
		order := make([]int32, n)
		for i := lo; i < hi; i++ {
			p := at.at(i)
			f(p[0], p[1], n, k, xs, ys, order)
		}
	})
}

func (o *topK) Reads() (in, out uint32) { return 0, 1 << 1 }

// Accumulates marks the operator as an [Accumulator].
func (o *topK) Accumulates() {}

func (o *topK) Backward(c *Context, in, out, dout, din []*Tensor) error {
	dx, dy := din[0], dout[0]
	if dx == nil {
		return nil
	}
	clearGrad(dx)
	o.both(c, dx, out[1], func(xo, yo, n, k, xs, ys int, _ []int32) {
		for i := range k {
			dx.F[xo+int(out[1].I[yo+i*ys])*xs] += dy.F[yo+i*ys]
		}
	})
	return nil
}

func refTopK(n Node, in []*Array) []*Array {
	r := &reader{n: n}
	x := in[0]
	a := (r.Int("axis", -1) + len(x.Shape)) % len(x.Shape)
	k := r.Int("k", 0)
	if len(in) > 1 {
		k = int(in[1].V[0])
	}
	shape := append([]int{}, x.Shape...)
	shape[a] = k
	y, at := NewArray(shape...), NewArray(shape...)
	Each(shape, func(idx []int) {
		// The element with exactly idx[a] elements before it.
		from := append([]int{}, idx...)
		for p := range x.Shape[a] {
			from[a] = p
			v := x.V[x.At(from...)]
			before := 0
			for q := range x.Shape[a] {
				from[a] = q
				d := x.V[x.At(from...)] - v
				if r.Int("largest", 1) == 0 {
					d = -d
				}
				if d > 0 || d == 0 && q < p {
					before++
				}
			}
			if before == idx[a] {
				y.V[y.At(idx...)], at.V[y.At(idx...)] = v, float64(p)
			}
		}
	})
	return []*Array{y, at}
}
