package op

import (
	"cmp"
	"fmt"
)

// arg finds the position of an extreme element along one axis: x of any shape,
// y int64 with length 1 along the axis, or without it if keepdims is 0. Of
// equal elements the first counts, with select_last_index the last.
type arg struct {
	sign   int // 1 for the maximum, -1 for the minimum
	axis   int
	keep   bool
	latest bool
}

func registerArg(name string, sign int) {
	ties := Const(Floats([]float32{1, 3, 3, 2, 0, 0}, 2, 3))
	drop := IntAttr(0)
	Register(Def{
		Name: name, Since: 1,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			a := &arg{sign: sign, axis: r.Int("axis", 0), keep: r.Bool("keepdims", true), latest: r.Bool("select_last_index", false)}
			return a, r.err
		},
		Reference: func(n Node, in []*Array) []*Array { return refArg(n, in[0], sign) },
		Cases: []Case{
			{In: []Arg{Rand(3, 5, 4, 2)}},
			{Name: "channel", Attrs: Attrs{"axis": IntAttr(1)}, In: []Arg{Rand(2, 5, 4, 3)}},
			{Name: "last", Attrs: Attrs{"axis": IntAttr(-1), "keepdims": drop}, In: []Arg{Rand(2, 5, 7)}},
			{Name: "dropped", Attrs: Attrs{"axis": IntAttr(1), "keepdims": drop}, In: []Arg{Rand(2, 5, 4, 3)}},
			{Name: "first of ties", Attrs: Attrs{"axis": IntAttr(1)}, In: []Arg{ties}},
			{Name: "last of ties", Attrs: Attrs{"axis": IntAttr(1), "select_last_index": IntAttr(1)}, In: []Arg{ties}},
			{Name: "int64", Attrs: Attrs{"keepdims": drop}, In: []Arg{Const(Ints([]int64{4, -7, 9}, 3))}},
		},
	})
}

func refArg(n Node, x *Array, sign int) []*Array {
	axis, r := int(n.Attrs["axis"].I), len(x.Shape)
	if axis < 0 {
		axis += r
	}
	shape := append([]int{}, x.Shape...)
	shape[axis] = 1
	y := NewArray(shape...)
	i := 0
	Each(shape, func(idx []int) {
		at := append([]int{}, idx...)
		best := 0
		for k := range x.Shape[axis] {
			at[axis] = k
			v := x.V[x.At(at...)]
			at[axis] = best
			d := (v - x.V[x.At(at...)]) * float64(sign)
			if d > 0 || d == 0 && n.Attrs["select_last_index"].I != 0 {
				best = k
			}
		}
		y.V[i] = float64(best)
		i++
	})
	if a, ok := n.Attrs["keepdims"]; ok && a.I == 0 {
		y.Shape = append(append([]int{}, shape[:axis]...), shape[axis+1:]...)
	}
	return []*Array{y}
}

func (a *arg) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 1, 1); err != nil {
		return nil, err
	}
	x := in[0]
	if x.Type == Bool || x.Type == String {
		return nil, fmt.Errorf("input 0 is of type %s, wants numbers", x.Type)
	}
	axis, err := wantAxis(a.axis, x.Rank())
	if err != nil {
		return nil, err
	}
	if x.Shape[axis] == 0 {
		return nil, fmt.Errorf("axis %d of shape %s has no elements", axis, ShapeString(x.Shape))
	}
	return []*Tensor{Info(Int64, a.without(x.Shape, axis, a.keep)...)}, nil
}

// without drops an axis, or sets it to 1.
func (a *arg) without(shape []int, axis int, keep bool) []int {
	s := append([]int{}, shape[:axis]...)
	if keep {
		s = append(s, 1)
	}
	return append(s, shape[axis+1:]...)
}

func (a *arg) Forward(c *Context, in, out []*Tensor) error {
	x, y := in[0], out[0]
	axis, err := wantAxis(a.axis, x.Rank())
	if err != nil {
		return err
	}
	xs, ys := x.Strides(), y.Strides()
	step, n := xs[axis], x.Shape[axis]
	rest := a.without(x.Shape, axis, false)
	xs = append(append([]int{}, xs[:axis]...), xs[axis+1:]...)
	if a.keep {
		ys = append(append([]int{}, ys[:axis]...), ys[axis+1:]...)
	}
	newWalk(rest, ys, xs).rows(c, func(o offsets, m int, s offsets) {
		for i := 0; i < m; i++ {
			at := o[1] + i*s[1]
			if x.F != nil {
				y.I[o[0]+i*s[0]] = extreme(x.F[at:], n, step, a.sign, a.latest)
			} else {
				y.I[o[0]+i*s[0]] = extreme(x.I[at:], n, step, a.sign, a.latest)
			}
		}
	})
	return nil
}

func extreme[T cmp.Ordered](v []T, n, step, sign int, latest bool) int64 {
	best := 0
	for k := 1; k < n; k++ {
		x, y := v[k*step], v[best*step]
		if sign < 0 {
			x, y = y, x
		}
		if x > y || latest && x == y {
			best = k
		}
	}
	return int64(best)
}

func (a *arg) Layouts(in []*Tensor) (want, out []Layout) {
	want = []Layout{in[0].Layout}
	if a.keep {
		return want, want
	}
	return want, []Layout{RowMajor}
}

func (a *arg) Links(in, out []*Tensor) []Link {
	axis, err := wantAxis(a.axis, in[0].Rank())
	if err != nil {
		return nil
	}
	var links []Link
	for i := range in[0].Shape {
		k := i
		if i > axis && !a.keep {
			k--
		}
		if i != axis {
			links = append(links, Link{{0, i}, {^0, k}})
		}
	}
	return links
}
