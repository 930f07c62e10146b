package op

import "fmt"

// tile is y[i] = x[i mod d] per axis of length d, with as many repeats of every
// axis as constant input 1 says, in any layout.
// https://onnx.ai/onnx/operators/onnx__Tile.html
type tile struct{}

func init() {
	vec := func(v ...int) Arg { return Const(Vector(v...)) }
	Register(Def{
		Name: "Tile", Since: 6,
		New: func(n Node) (Op, error) { return &tile{}, nil },
		Reference: func(n Node, in []*Array) []*Array {
			x := in[0]
			shape := append([]int{}, x.Shape...)
			for a := range shape {
				shape[a] *= int(in[1].V[a])
			}
			y := NewArray(shape...)
			Each(shape, func(idx []int) {
				from := make([]int, len(idx))
				for a := range from {
					from[a] = idx[a] % x.Shape[a]
				}
				y.V[y.At(idx...)] = x.V[x.At(from...)]
			})
			return []*Array{y}
		},
		Cases: []Case{
			{In: []Arg{Rand(2, 3, 5, 2), vec(1, 2, 1, 3)}},
			{Name: "channels", In: []Arg{Rand(1, 1, 3, 5), vec(2, 3, 1, 1)}},
			{Name: "vector", In: []Arg{Rand(7), vec(5)}},
			{Name: "none", In: []Arg{Rand(3, 2), vec(1, 0)}},
			{Name: "int64", In: []Arg{Const(Vector(1, 2)), vec(3)}},
		},
	})
}

func (o *tile) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 2, 2); err != nil {
		return nil, err
	}
	rep, err := constInts(in, 1)
	if err != nil {
		return nil, err
	}
	if len(rep) != in[0].Rank() {
		return nil, fmt.Errorf("%d repeats, input has rank %d", len(rep), in[0].Rank())
	}
	y := Info(in[0].Type, in[0].Shape...)
	for a, r := range rep {
		if r < 0 || r > maxStep/max(1, y.Shape[a]) {
			return nil, fmt.Errorf("%d repeats of axis %d, wants 0 to %d", r, a, maxStep/max(1, y.Shape[a]))
		}
		y.Shape[a] *= r
	}
	if err := checkSize(y.Shape); err != nil {
		return nil, err
	}
	return []*Tensor{y}, nil
}

func (o *tile) Layouts(in []*Tensor) (want, out []Layout) { return keepLayouts(in, 1) }

// Couplings couples the repeats of a position; repeats of a single one can go by
// themselves.
func (o *tile) Couplings(in, out []*Tensor) []Coupling {
	rep, err := constInts(in, 1)
	if err != nil {
		return nil
	}
	var all []Coupling
	for a, n := range in[0].Shape {
		from := Whole(FixedAxis(rep[a]), Axis(0, a))
		switch {
		case rep[a] == 0 || n == 0:
			continue
		case n == 1:
			from = Whole(HiddenAxis(a+1, rep[a]))
		case rep[a] == 1:
			from = Whole(Axis(0, a))
		}
		all = append(all, Coupling{Sides: []Side{from, Whole(Axis(^0, a))}})
	}
	return all
}

// Zeros holds: the elements are the input's.
func (o *tile) Zeros(zero []bool) bool { return zero[0] }

// Cut repeats single elements less often.
func (o *tile) Cut(c *Cut) (Change, error) {
	rep, err := constInts(c.In, 1)
	if err != nil {
		return Change{}, err
	}
	for a, n := range c.In[0].Shape {
		if n == 1 {
			rep[a] = c.Kept(^0, a)
		}
	}
	return Change{Inputs: map[int]*Tensor{1: intsLike(c.In[1], rep)}}, nil
}

// copies splits every axis of y into repeats and positions in x, and returns
// the strides of both: repeats have stride 0 in x.
func (o *tile) copies(x, y *Tensor) (shape, xStr, yStr []int) {
	xs, ys := x.Strides(), y.Strides()
	for a, d := range x.Shape {
		shape = append(shape, y.Shape[a]/max(1, d), d)
		xStr = append(xStr, 0, xs[a])
		yStr = append(yStr, d*ys[a], ys[a])
	}
	return shape, xStr, yStr
}

func (o *tile) Forward(c *Context, in, out []*Tensor) error {
	shape, xStr, yStr := o.copies(in[0], out[0])
	moveTensor(c, shape, out[0], 0, yStr, in[0], 0, xStr)
	return nil
}

func (o *tile) Reads() (in, out uint32) { return 0, 0 }

// Accumulates marks the operator as an [Accumulator].
func (o *tile) Accumulates() {}

func (o *tile) Backward(c *Context, in, out, dout, din []*Tensor) error {
	dx, dy := din[0], dout[0]
	if dx == nil {
		return nil
	}
	clearGrad(dx)
	shape, xStr, yStr := o.copies(dx, dy)
	sumInto(shape, dx.F, xStr, dy.F, yStr)
	return nil
}
