package op

import (
	"fmt"
	"math"
)

// elementFunc is a function of one element with everything that the unary
// operators need: ref in float64, fwd over slices, and grad with
// dx = dy·f'(x). A nil grad means that no gradient exists.
type elementFunc struct {
	ref    func(x float64) float64
	fwd    func(y, x []float32)
	ints   func(x int64) int64
	grad   func(dx, dy, x, y []float32)
	readsX bool
	readsY bool
	// onlyBools restricts the input to type bool, onlyInts to integers.
	onlyBools, onlyInts bool
}

// unary is y = f(x), element by element, in any layout.
type unary struct {
	f   elementFunc
	fwd func(y, x, _, _ []float32)
}

func newUnary(f elementFunc) unary {
	return unary{f, func(y, x, _, _ []float32) { f.fwd(y, x) }}
}

// unaryGrad is unary with a gradient.
type unaryGrad struct{ unary }

// registerUnary adds an operator y = f(x). make reads the attributes.
func registerUnary(name string, since int, newFunc func(r *reader) elementFunc, cases ...Case) {
	Register(Def{
		Name: name, Since: since,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			f := newFunc(r)
			if r.err != nil {
				return nil, r.err
			}
			if f.grad == nil {
				u := newUnary(f)
				return &u, nil
			}
			return &unaryGrad{newUnary(f)}, nil
		},
		Reference: func(n Node, in []*Array) []*Array {
			f := newFunc(&reader{n: n})
			y := NewArray(in[0].Shape...)
			for i, v := range in[0].V {
				y.V[i] = f.ref(v)
			}
			return []*Array{y}
		},
		Cases: cases,
	})
}

func (u *unary) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 1, 1); err != nil {
		return nil, err
	}
	switch t := in[0].Type; {
	case (t == Bool) != u.f.onlyBools:
		want := "a number"
		if u.f.onlyBools {
			want = "bool"
		}
		return nil, fmt.Errorf("input 0 is of type %s, wants %s", t, want)
	case u.f.onlyInts && t.IsFloat():
		return nil, fmt.Errorf("input 0 is of type %s, wants an integer type", t)
	case t == String, !t.IsFloat() && u.f.ints == nil:
		return nil, fmt.Errorf("input 0 is of type %s, wants a float type", t)
	}
	return []*Tensor{Info(in[0].Type, in[0].Shape...)}, nil
}

func (u *unary) Forward(c *Context, in, out []*Tensor) error {
	if in[0].F == nil {
		for i, v := range in[0].I {
			out[0].I[i] = wrap(out[0].Type, u.f.ints(v))
		}
		return nil
	}
	y := out[0].F
	c.sweep(len(y), u.fwd, y, in[0].F, nil, nil)
	return nil
}

func (u *unary) Layouts(in []*Tensor) (want, out []Layout) {
	return []Layout{in[0].Layout}, []Layout{in[0].Layout}
}

// Wide needs a function that is finite at zero, with its gradient.
func (u *unary) Wide(in []*Tensor) (free, same []int) {
	x, y, dy, dx := []float32{0}, []float32{0}, []float32{0}, []float32{0}
	if u.f.fwd == nil {
		return nil, nil
	}
	u.f.fwd(y, x)
	if u.f.grad != nil {
		u.f.grad(dx, dy, x, y)
	}
	for _, v := range []float32{y[0], dx[0]} {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, nil
		}
	}
	return nil, []int{0}
}

// Elementwise implements [Elementwise].
func (u *unary) Elementwise() {}

func (u *unary) Links(in, out []*Tensor) []Link { return passLinks(in, out) }

// Zeros finds out from the function.
func (u *unary) Zeros(zero []bool) bool { return zero[0] && u.f.ref(0) == 0 }

func (u *unaryGrad) Reads() (in, out uint32) {
	if u.f.readsX {
		in = 1
	}
	if u.f.readsY {
		out = 1
	}
	return in, out
}

func (u *unaryGrad) Backward(c *Context, in, out, dout, din []*Tensor) error {
	if din[0] == nil {
		return nil
	}
	var x, y []float32
	if u.f.readsX {
		x = in[0].F
	}
	if u.f.readsY {
		y = out[0].F
	}
	c.sweep(len(din[0].F), u.f.grad, din[0].F, dout[0].F, x, y)
	return nil
}

// each lifts a scalar function to slices.
func each(f func(x float32) float32) func(y, x []float32) {
	return func(y, x []float32) {
		x = x[:len(y)]
		for i := range y {
			y[i] = f(x[i])
		}
	}
}

// eachGrad lifts a derivative, given x and y at a point, to slices.
func eachGrad(d func(x, y float32) float32) func(dx, dy, x, y []float32) {
	return func(dx, dy, x, y []float32) {
		for i := range dx {
			var a, b float32
			if x != nil {
				a = x[i]
			}
			if y != nil {
				b = y[i]
			}
			dx[i] = dy[i] * d(a, b)
		}
	}
}

// wantInputs checks the number of inputs and that the first lo are present.
func wantInputs(in []*Tensor, lo, hi int) error {
	n := 0
	for i, t := range in {
		if t != nil {
			n = i + 1
		}
	}
	if n > hi {
		return fmt.Errorf("has %d inputs, wants at most %d", n, hi)
	}
	for i := 0; i < lo; i++ {
		if i >= len(in) || in[i] == nil {
			return fmt.Errorf("input %d is missing, wants %d inputs", i, lo)
		}
	}
	return nil
}
