package op

import "fmt"

// transpose is y[i_perm[0], i_perm[1], …] = x[i_0, i_1, …]; the default
// reverses the axes. https://onnx.ai/onnx/operators/onnx__Transpose.html
type transpose struct{ perm []int }

func init() {
	perm := func(v ...int) Attrs { return Attrs{"perm": IntsAttr(v...)} }
	Register(Def{
		Name: "Transpose", Since: 1,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			o := &transpose{perm: r.Ints("perm")}
			return o, r.err
		},
		Reference: refTranspose,
		Cases: []Case{
			{In: []Arg{Rand(3, 5)}},
			{Name: "to last", Attrs: perm(0, 2, 3, 1), In: []Arg{Rand(2, 3, 5, 7)}},
			{Name: "to first", Attrs: perm(0, 3, 1, 2), In: []Arg{Rand(2, 5, 7, 3)}},
			{Name: "shuffle", Attrs: perm(0, 2, 1, 3, 4), In: []Arg{Rand(2, 3, 5, 2, 3)}},
			{Name: "heads", Attrs: perm(0, 2, 1, 3), Opset: 7, In: []Arg{Rand(2, 5, 3, 7)}},
			{Name: "reverse", In: []Arg{Rand(2, 3, 5)}},
			{Name: "tokens", Attrs: perm(0, 2, 1), In: []Arg{Rand(2, 3, 5)}},
			{Name: "scalar", In: []Arg{Rand()}},
			{Name: "int64", In: []Arg{Const(Ints([]int64{1, 2, 3, 4, 5, 6}, 2, 3))}},
		},
	})
}

// order returns the permutation for a rank.
func (o *transpose) order(rank int) []int {
	if o.perm != nil {
		return o.perm
	}
	p := make([]int, rank)
	for i := range p {
		p[i] = rank - 1 - i
	}
	return p
}

func (o *transpose) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 1, 1); err != nil {
		return nil, err
	}
	r := in[0].Rank()
	p := o.order(r)
	if len(p) != r {
		return nil, fmt.Errorf("attribute %q has %d elements, input has rank %d", "perm", len(p), r)
	}
	seen := make([]bool, r)
	for _, a := range p {
		if a < 0 || a >= r || seen[a] {
			return nil, fmt.Errorf("attribute %q is %s, wants each of the %d axes once", "perm", ShapeString(p), r)
		}
		seen[a] = true
	}
	return []*Tensor{Info(in[0].Type, permute(in[0].Shape, p)...)}, nil
}

// Layouts avoids moving elements where the permutation is that between
// row-major and channels-last.
func (o *transpose) Layouts(in []*Tensor) (want, out []Layout) {
	r := in[0].Rank()
	p := o.order(r)
	l := in[0].Layout
	if r >= 3 && p[0] == 0 {
		first, last := p[1] == r-1, p[r-1] == 1
		for i := 2; i < r; i++ {
			first = first && p[i] == i-1
			last = last && p[i-1] == i
		}
		switch {
		case l == RowMajor && first:
			l = ChannelsLast
		case l == ChannelsLast && last:
			l = RowMajor
		}
	}
	return []Layout{in[0].Layout}, []Layout{l}
}

func (o *transpose) Links(in, out []*Tensor) []Link {
	var links []Link
	for i, p := range o.order(in[0].Rank()) {
		links = append(links, Link{{0, p}, {^0, i}})
	}
	return links
}

// Zeros holds: the elements are the input's.
func (o *transpose) Zeros(zero []bool) bool { return zero[0] }

func (o *transpose) Forward(c *Context, in, out []*Tensor) error {
	x, y := in[0], out[0]
	moveTensor(c, y.Shape, y, 0, y.Strides(), x, 0, permute(x.Strides(), o.order(x.Rank())))
	return nil
}

func (o *transpose) Reads() (in, out uint32) { return 0, 0 }

// Accumulates marks the operator as an [Accumulator].
func (o *transpose) Accumulates() {}

func (o *transpose) Backward(c *Context, in, out, dout, din []*Tensor) error {
	dx, dy := din[0], dout[0]
	if dx != nil {
		moveGrad(c, dy.Shape, dx, 0, permute(dx.Strides(), o.order(dx.Rank())), dy, 0, dy.Strides())
	}
	return nil
}

func refTranspose(n Node, in []*Array) []*Array {
	x := in[0]
	r := len(x.Shape)
	from := make([]int, r)
	shape := make([]int, r)
	for i := range from {
		from[i] = r - 1 - i
		if p := n.Attrs["perm"].Ints; p != nil {
			from[i] = int(p[i])
		}
		shape[i] = x.Shape[from[i]]
	}
	y := NewArray(shape...)
	Each(x.Shape, func(idx []int) {
		to := make([]int, r)
		for i := range to {
			to[i] = idx[from[i]]
		}
		y.V[y.At(to...)] = x.V[x.At(idx...)]
	})
	return []*Array{y}
}
