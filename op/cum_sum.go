package op

import "fmt"

// CumSum: y[i] = Σ x[j] over j ≤ i along an axis; over j < i with exclusive,
// and from the end with reverse. The axis is a constant input.
// https://onnx.ai/onnx/operators/onnx__CumSum.html
func init() {
	flags := func(exclusive, reverse int) Attrs {
		return Attrs{"exclusive": IntAttr(exclusive), "reverse": IntAttr(reverse)}
	}
	Register(Def{
		Name: "CumSum", Since: 11,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			o := &cumSum{exclusive: r.Bool("exclusive", false), reverse: r.Bool("reverse", false)}
			return o, r.err
		},
		Reference: refCumSum,
		Cases: []Case{
			{In: []Arg{Rand(2, 3, 4, 5), Const(Ints([]int64{1}))}},
			{Name: "exclusive", Attrs: flags(1, 0), In: []Arg{Rand(2, 3, 4, 5), Const(Vector(-1))}},
			{Name: "reverse", Attrs: flags(0, 1), In: []Arg{Rand(2, 3, 4), Const(Ints([]int64{2}))}},
			{Name: "exclusive reverse", Attrs: flags(1, 1), In: []Arg{Rand(5), Const(Ints([]int64{0}))}},
			{Name: "int64", In: []Arg{Const(Ints([]int64{1, 2, 3, 4}, 2, 2)), Const(Ints([]int64{0}))}},
		},
	})
}

type cumSum struct {
	exclusive, reverse bool
	axis               int // valid after Infer
}

func refCumSum(n Node, in []*Array) []*Array {
	x, axis := in[0], int(in[1].V[0])
	if axis < 0 {
		axis += len(x.Shape)
	}
	y := NewArray(x.Shape...)
	i := 0
	Each(x.Shape, func(idx []int) {
		at := append([]int{}, idx...)
		for k := range x.Shape[axis] {
			before := k < idx[axis]
			if n.Attrs["reverse"].I != 0 {
				before = k > idx[axis]
			}
			if before || k == idx[axis] && n.Attrs["exclusive"].I == 0 {
				at[axis] = k
				y.V[i] += x.V[x.At(at...)]
			}
		}
		i++
	})
	return []*Array{y}
}

func (o *cumSum) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 2, 2); err != nil {
		return nil, err
	}
	x, a := in[0], in[1]
	if x.Type == Bool || x.Type == String {
		return nil, fmt.Errorf("input 0 is of type %s, wants numbers", x.Type)
	}
	if !a.IsConst() {
		return nil, NeedConst{1}
	}
	if a.I == nil || a.Size() != 1 {
		return nil, fmt.Errorf("axis is %s %s, wants one integer", a.Type, ShapeString(a.Shape))
	}
	axis, err := wantAxis(int(a.I[0]), x.Rank())
	if err != nil {
		return nil, err
	}
	o.axis = axis
	return []*Tensor{Info(x.Type, x.Shape...)}, nil
}

func (o *cumSum) Forward(c *Context, in, out []*Tensor) error {
	o.sums(c, in[0], out[0], o.reverse)
	return nil
}

func (o *cumSum) Reads() (in, out uint32) { return 0, 0 }

// Backward: dx[j] = Σ dy[i] over the i that x[j] counts for, the sum from the other end.
func (o *cumSum) Backward(c *Context, in, out, dout, din []*Tensor) error {
	if din[0] != nil {
		o.sums(c, dout[0], din[0], !o.reverse)
	}
	return nil
}

// sums writes the running sums of x to y, from the end with reverse.
func (o *cumSum) sums(c *Context, x, y *Tensor, reverse bool) {
	n := x.Shape[o.axis]
	if x.Size() == 0 {
		return
	}
	rest := append([]int{}, x.Shape...)
	rest[o.axis] = 1
	xs, ys := x.Strides(), y.Strides()
	dx, dy := xs[o.axis], ys[o.axis]
	first := 0
	if reverse {
		first, dx, dy = n-1, -dx, -dy
	}
	newWalk(rest, ys, xs).rows(c, func(p offsets, m int, s offsets) {
		for i := 0; i < m; i++ {
			yo := p[0] + i*s[0] + first*ys[o.axis]
			xo := p[1] + i*s[1] + first*xs[o.axis]
			if x.F != nil {
				sum := 0.0
				for k := 0; k < n; k++ {
					v := sum
					sum += float64(x.F[xo+k*dx])
					if !o.exclusive {
						v = sum
					}
					y.F[yo+k*dy] = float32(v)
				}
				continue
			}
			sum := int64(0)
			for k := 0; k < n; k++ {
				v := sum
				sum += x.I[xo+k*dx]
				if !o.exclusive {
					v = sum
				}
				y.I[yo+k*dy] = wrap(y.Type, v)
			}
		}
	})
}

func (o *cumSum) Layouts(in []*Tensor) (want, out []Layout) {
	return []Layout{in[0].Layout, RowMajor}, []Layout{in[0].Layout}
}

// Links leaves out the axis of the sum.
func (o *cumSum) Links(in, out []*Tensor) []Link {
	return identityLinks(in, out, func(a int) bool { return a != o.axis })
}

// Zeros holds along the other axes.
func (o *cumSum) Zeros(zero []bool) bool { return zero[0] }
