package op

import "fmt"

// expand is y = x broadcast to the shape given by constant input 1; both
// directions broadcast, as in [BroadcastShape].
// https://onnx.ai/onnx/operators/onnx__Expand.html
type expand struct{}

func init() {
	vec := func(v ...int) Arg { return Const(Vector(v...)) }
	Register(Def{
		Name: "Expand", Since: 8,
		New: func(n Node) (Op, error) { return &expand{}, nil },
		Reference: func(n Node, in []*Array) []*Array {
			var shape []int
			for _, d := range in[1].V {
				shape = append(shape, int(d))
			}
			y := NewArray(mustBroadcast([]*Array{in[0], {Shape: shape}})...)
			i := 0
			Each(y.Shape, func(idx []int) {
				y.V[i] = refBroadcast(in[0], idx)
				i++
			})
			return []*Array{y}
		},
		Cases: []Case{
			{In: []Arg{Rand(2, 3, 1, 1), vec(2, 1, 5, 7)}},
			{Name: "higher rank", In: []Arg{Rand(3, 1), vec(2, 3, 5)}},
			{Name: "lower rank", In: []Arg{Rand(2, 3, 1), vec(4)}},
			{Name: "scalar", In: []Arg{Rand(), vec(3, 37)}},
			{Name: "same", In: []Arg{Rand(3, 5), vec(1, 1)}},
			{Name: "int64", In: []Arg{Const(Vector(1, 2)), vec(2, 1)}},
		},
	})
}

func (o *expand) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 2, 2); err != nil {
		return nil, err
	}
	to, err := constInts(in, 1)
	if err != nil {
		return nil, err
	}
	if err := checkSize(to); err != nil {
		return nil, err
	}
	shape, err := BroadcastShape(in[0].Shape, to)
	if err != nil {
		return nil, fmt.Errorf("input %s does not expand to %s", ShapeString(in[0].Shape), ShapeString(to))
	}
	if err := checkSize(shape); err != nil {
		return nil, err
	}
	return []*Tensor{Info(in[0].Type, shape...)}, nil
}

func (o *expand) Layouts(in []*Tensor) (want, out []Layout) {
	want, out = keepLayouts(in, 1)
	if in[1].Size() > in[0].Rank() {
		out[0] = RowMajor
	}
	return want, out
}

// Couplings passes axes on; positions that repeat one element can go by themselves.
func (o *expand) Couplings(in, out []*Tensor) []Coupling {
	d := out[0].Rank() - in[0].Rank()
	var all []Coupling
	for a, n := range out[0].Shape {
		from := Whole(HiddenAxis(a+1, n))
		if a >= d && in[0].Shape[a-d] == n {
			from = Whole(Axis(0, a-d))
		}
		all = append(all, Coupling{Sides: []Side{from, Whole(Axis(^0, a))}})
	}
	return all
}

// Zeros holds: the elements are the input's.
func (o *expand) Zeros(zero []bool) bool { return zero[0] }

// Cut replaces the dimensions of the target that have become shorter.
func (o *expand) Cut(c *Cut) (Change, error) {
	want := c.Shape(^0)
	to, err := constInts(c.New, 1)
	if err != nil {
		return Change{}, err
	}
	if got, err := BroadcastShape(c.New[0].Shape, to); err == nil && EqualShape(got, want) {
		return Change{}, nil
	}
	// What the input has already is said by 1, so that open dimensions stay open.
	d, own := len(want)-len(to), len(want)-c.New[0].Rank()
	for k := range to {
		if a := k + d; a >= own && c.New[0].Shape[a-own] == want[a] {
			to[k] = 1
		} else if to[k] != 1 {
			to[k] = want[a]
		}
	}
	return Change{Inputs: map[int]*Tensor{1: intsLike(c.In[1], to)}}, nil
}

func (o *expand) Forward(c *Context, in, out []*Tensor) error {
	x, y := in[0], out[0]
	moveTensor(c, y.Shape, y, 0, y.Strides(), x, 0, spread(x, y.Shape))
	return nil
}

func (o *expand) Reads() (in, out uint32) { return 0, 0 }

func (o *expand) Backward(c *Context, in, out, dout, din []*Tensor) error {
	if din[0] != nil {
		reduceTo(c, din[0], dout[0], 1)
	}
	return nil
}
