package op

import (
	"fmt"
	"math"
	"sort"
)

// reduceFunc is a function of the elements along the reduced axes.
type reduceFunc struct {
	ref func(v []float64) float64
	// float gives the reduction of count elements to one. forward, if not nil,
	// replaces it.
	float   func(count int) reduction
	forward func(c *Context, x *Tensor, y operand)
	// ints folds integers from intInit on; nil if only floats are allowed.
	ints    func(acc, v int64) int64
	intInit int64
	// grad computes d from the vectors dy, x and y; nil if no gradient exists.
	grad           func(d []float32, x *vectors, count int)
	readsX, readsY bool
	// zeros marks that zero elements do not count, so that a zero slice of a
	// reduced axis can go.
	zeros bool
	// axesInput is the first opset whose axes are an input.
	axesInput int
	// positive restricts the cases to positive elements.
	positive bool
}

// reduce folds x over some axes. x has any shape; y has the same rank with
// length 1 along the reduced axes, or lacks them if keepdims is 0. The axes
// are an attribute at first and a constant input later; without them, all
// axes are reduced, or with noop_with_empty_axes none.
type reduce struct {
	f     reduceFunc
	given []int // the axes attribute
	input bool
	keep  bool
	noop  bool
	axes  []int // sorted, valid after Infer
}

type reduceGrad struct{ reduce }

func registerReduce(name string, f reduceFunc, cases ...Case) {
	if f.axesInput == 0 {
		f.axesInput = 18
	}
	Register(Def{
		Name: name, Since: 1,
		New:       func(n Node) (Op, error) { return newReduce(n, f) },
		Reference: func(n Node, in []*Array) []*Array { return refReduce(n, f, in) },
		Cases:     append(reduceCases(f), cases...),
	})
}

func newReduce(n Node, f reduceFunc) (Op, error) {
	r := &reader{n: n}
	o := reduce{f: f, keep: r.Bool("keepdims", true), input: n.Opset >= f.axesInput}
	if o.input {
		o.noop = r.Bool("noop_with_empty_axes", false)
	} else {
		o.given = r.Ints("axes")
	}
	if r.err != nil {
		return nil, r.err
	}
	if f.grad == nil {
		return &o, nil
	}
	return &reduceGrad{o}, nil
}

func (o *reduce) Infer(in []*Tensor) ([]*Tensor, error) {
	most := 1
	if o.input {
		most = 2
	}
	if err := wantInputs(in, 1, most); err != nil {
		return nil, err
	}
	x := in[0]
	if x.Type == String || !x.Type.IsFloat() && o.f.ints == nil {
		return nil, fmt.Errorf("input 0 is of type %s, wants a float type", x.Type)
	}
	axes := o.given
	if len(in) > 1 && in[1] != nil {
		if !in[1].IsConst() {
			return nil, NeedConst{1}
		}
		if in[1].I == nil || in[1].Rank() > 1 {
			return nil, fmt.Errorf("axes are %s %s, wants int64 of one axis", in[1].Type, ShapeString(in[1].Shape))
		}
		axes = nil
		for _, v := range in[1].I {
			axes = append(axes, int(v))
		}
	}
	var err error
	if o.axes, err = sortedAxes(axes, x.Rank()); err != nil {
		return nil, err
	}
	if len(axes) == 0 && !o.noop {
		for i := range x.Shape {
			o.axes = append(o.axes, i)
		}
	}
	shape := []int{}
	for i, d := range x.Shape {
		switch {
		case !o.reduces(i):
			shape = append(shape, d)
		case o.keep:
			shape = append(shape, 1)
		}
	}
	return []*Tensor{Info(x.Type, shape...)}, nil
}

// sortedAxes resolves negative axes and refuses repeated ones.
func sortedAxes(axes []int, rank int) ([]int, error) {
	out := []int{}
	for _, a := range axes {
		k, err := wantAxis(a, rank)
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	sort.Ints(out)
	for i := 1; i < len(out); i++ {
		if out[i] == out[i-1] {
			return nil, fmt.Errorf("axis %d is given twice", out[i])
		}
	}
	return out, nil
}

func (o *reduce) reduces(axis int) bool {
	i := sort.SearchInts(o.axes, axis)
	return i < len(o.axes) && o.axes[i] == axis
}

// strides returns the strides of y along the axes of x.
func (o *reduce) strides(x, y *Tensor) []int {
	own := y.Strides()
	s := make([]int, x.Rank())
	k := 0
	for i := range s {
		if !o.reduces(i) {
			s[i] = own[k]
			k++
		} else if o.keep {
			k++
		}
	}
	return s
}

func (o *reduce) count(x *Tensor) int {
	n := 1
	for _, a := range o.axes {
		n *= x.Shape[a]
	}
	return n
}

func (o *reduce) Forward(c *Context, in, out []*Tensor) error {
	x, y := in[0], out[0]
	str := o.strides(x, y)
	if x.F != nil && o.f.forward != nil {
		o.f.forward(c, x, operand{y.F, str})
		return nil
	}
	if x.F != nil {
		r := o.f.float(o.count(x))
		r.run(c, x.Shape, operand{y.F, str}, dense(x))
		return nil
	}
	for i := range y.I {
		y.I[i] = o.f.intInit
	}
	newWalk(x.Shape, x.Strides(), str).rows(nil, func(p offsets, n int, s offsets) {
		for i := 0; i < n; i++ {
			at := p[1] + i*s[1]
			y.I[at] = o.f.ints(y.I[at], x.I[p[0]+i*s[0]])
		}
	})
	for i, v := range y.I {
		y.I[i] = wrap(y.Type, v)
	}
	return nil
}

func (o *reduce) Layouts(in []*Tensor) (want, out []Layout) {
	want = lastLayouts(len(in), RowMajor)
	want[0] = in[0].Layout
	if o.keep || len(o.axes) == 0 {
		return want, []Layout{in[0].Layout}
	}
	return want, []Layout{RowMajor}
}

func (o *reduce) Links(in, out []*Tensor) []Link {
	if _, err := o.Infer(in); err != nil {
		return nil
	}
	var links []Link
	k := 0
	for i := range in[0].Shape {
		switch {
		case !o.reduces(i):
			links = append(links, Link{{0, i}, {^0, k}})
			k++
		case o.f.zeros:
			links = append(links, Link{{0, i}})
			fallthrough
		default:
			if o.keep {
				k++
			}
		}
	}
	return links
}

// Zeros finds out from the function.
func (o *reduce) Zeros(zero []bool) bool { return zero[0] && o.f.ref([]float64{0, 0}) == 0 }

func (o *reduceGrad) Reads() (in, out uint32) {
	if o.f.readsX {
		in = 1
	}
	if o.f.readsY {
		out = 1
	}
	return in, out
}

func (o *reduceGrad) Backward(c *Context, in, out, dout, din []*Tensor) error {
	x, dx := in[0], din[0]
	if dx == nil {
		return nil
	}
	none := operand{str: make([]int, dx.Rank())}
	ops := []operand{{dout[0].F, o.strides(x, dout[0])}, none, none}
	if o.f.readsX {
		ops[1] = dense(x)
	}
	if o.f.readsY {
		ops[2] = operand{out[0].F, o.strides(x, out[0])}
	}
	n := o.count(x)
	pointwise(c, dx.Shape, dense(dx), func(d []float32, v *vectors) { o.f.grad(d, v, n) }, ops...)
	return nil
}

// foldMax and foldMin keep NaN.
func foldMax(a, b float64) float64 { return math.Max(a, b) }
func foldMin(a, b float64) float64 { return math.Min(a, b) }
