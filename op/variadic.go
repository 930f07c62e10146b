package op

import (
	"fmt"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// variadicFunc is a function of two elements that is applied from the first
// input to the last.
type variadicFunc struct {
	ref  func(a, b float64) float64
	vec  func(y, a, b []float32) // may write y over a
	ints func(a, b int64) int64  // nil if only floats are allowed
	// mean divides by the number of inputs.
	mean bool
	// selects marks that y is one of the inputs, which gets the gradient;
	// otherwise all get it alike.
	selects bool
}

// variadic folds one or more inputs, with broadcasting, in any layout.
type variadic struct{ f variadicFunc }

func registerVariadic(name string, f variadicFunc) {
	cases := []Case{
		{In: []Arg{Rand(2, 3, 4, 5), Rand(2, 3, 4, 5)}},
		{Name: "one", In: []Arg{Rand(2, 3, 4, 5)}},
		{Name: "three", In: []Arg{Rand(3, 1, 1), Rand(2, 3, 4, 5), Rand()}},
		{Name: "both", In: []Arg{Rand(2, 1, 4, 1), Rand(3, 1, 5)}},
		{Name: "four", Opset: 8, In: []Arg{Rand(7), Rand(7), Rand(7), Rand(7)}},
	}
	if f.ints != nil {
		cases = append(cases, Case{Name: "int64",
			In: []Arg{Const(Ints([]int64{5, -2, 3}, 3)), Const(Ints([]int64{1}, 1)), Const(Ints([]int64{2, 2, 2}, 3))}})
	}
	Register(Def{
		Name: name, Since: 6,
		New: func(Node) (Op, error) { return &variadic{f}, nil },
		Reference: func(n Node, in []*Array) []*Array {
			y := NewArray(mustBroadcast(in)...)
			i := 0
			Each(y.Shape, func(idx []int) {
				v := refBroadcast(in[0], idx)
				for _, a := range in[1:] {
					v = f.ref(v, refBroadcast(a, idx))
				}
				if f.mean {
					v /= float64(len(in))
				}
				y.V[i] = v
				i++
			})
			return []*Array{y}
		},
		Cases: cases,
	})
}

func (v *variadic) Infer(in []*Tensor) ([]*Tensor, error) {
	if len(in) == 0 {
		return nil, fmt.Errorf("has no inputs, wants at least 1")
	}
	if len(in) > 32 && v.f.selects { // Reads has a bit per input
		return nil, fmt.Errorf("has %d inputs, wants at most 32", len(in))
	}
	var shapes [][]int
	for i, t := range in {
		if t == nil {
			return nil, fmt.Errorf("input %d is missing", i)
		}
		if t.Type != in[0].Type {
			return nil, fmt.Errorf("input %d is of type %s, input 0 of type %s, wants equal types", i, t.Type, in[0].Type)
		}
		if t.Type == Bool || t.Type == String {
			return nil, fmt.Errorf("inputs are of type %s, wants numbers", t.Type)
		}
		if !t.Type.IsFloat() && v.f.ints == nil {
			return nil, fmt.Errorf("inputs are of type %s, wants a float type", t.Type)
		}
		shapes = append(shapes, t.Shape)
	}
	s, err := BroadcastShape(shapes...)
	if err != nil {
		return nil, err
	}
	if err := checkSize(s); err != nil {
		return nil, err
	}
	return []*Tensor{Info(in[0].Type, s...)}, nil
}

func (v *variadic) Layouts(in []*Tensor) (want, out []Layout) { return broadcastLayouts(in, 1) }

func (v *variadic) Links(in, out []*Tensor) []Link { return passLinks(in, out) }

// Zeros needs all inputs to be zero: sums, means and extremes of zeros are zero.
func (v *variadic) Zeros(zero []bool) bool {
	for _, z := range zero {
		if !z {
			return false
		}
	}
	return v.f.ref(0, 0) == 0
}

func (v *variadic) Forward(c *Context, in, out []*Tensor) error {
	y := out[0]
	if y.F == nil {
		move(c, y.Shape, y.I, 0, y.Strides(), in[0].I, 0, spread(in[0], y.Shape))
		for _, x := range in[1:] {
			newWalk(y.Shape, y.Strides(), spread(x, y.Shape)).rows(c, func(o offsets, n int, s offsets) {
				for i := 0; i < n; i++ {
					k := o[0] + i*s[0]
					y.I[k] = v.f.ints(y.I[k], x.I[o[1]+i*s[1]])
				}
			})
		}
		return nil
	}
	if len(in) == 1 {
		copyTo(c, y, in[0])
		return nil
	}
	pointwise(c, y.Shape, dense(y), func(d []float32, x *vectors) { v.f.vec(d, x[0], x[1]) },
		over(in[0], y.Shape), over(in[1], y.Shape))
	for _, t := range in[2:] {
		pointwise(c, y.Shape, dense(y), func(d []float32, x *vectors) { v.f.vec(d, d, x[0]) }, over(t, y.Shape))
	}
	if v.f.mean {
		s := 1 / float32(len(in))
		c.Parallel(len(y.F), 1, func(lo, hi int) { kernel.Scale(y.F[lo:hi], y.F[lo:hi], s) })
	}
	return nil
}

func copyTo(c *Context, y, x *Tensor) {
	move(c, y.Shape, y.F, 0, y.Strides(), x.F, 0, spread(x, y.Shape))
}

// Reads is the same for any number of inputs.
func (v *variadic) Reads() (in, out uint32) {
	if v.f.selects {
		return ^uint32(0), 1
	}
	return 0, 0
}

func (v *variadic) Backward(c *Context, in, out, dout, din []*Tensor) error {
	dy := dout[0]
	scale := float32(1)
	if v.f.mean {
		scale /= float32(len(in))
	}
	for i, dx := range din {
		switch {
		case dx == nil:
		case v.f.selects:
			gradTo(c, dx, dy, func(d []float32, x *vectors) { gradSelected(d, x, 0) }, over(in[i], dy.Shape), dense(out[0]))
		default:
			reduceTo(c, dx, dy, scale)
		}
	}
	return nil
}
