package op

import "fmt"

// where is y = a where cond (input 0) is true, b elsewhere, with
// multidirectional broadcasting of all three.
// https://onnx.ai/onnx/operators/onnx__Where.html
type where struct{}

func init() {
	cond := func(shape ...int) Arg {
		t := New(Bool, shape...)
		for i := range t.I {
			t.I[i] = int64(i*i%5) & 1
		}
		return Const(t)
	}
	Register(Def{
		Name: "Where", Since: 9, Params: []int{1, 2},
		New: func(n Node) (Op, error) { return &where{}, nil },
		Reference: func(n Node, in []*Array) []*Array {
			y := NewArray(mustBroadcast(in)...)
			i := 0
			Each(y.Shape, func(idx []int) {
				if refBroadcast(in[0], idx) != 0 {
					y.V[i] = refBroadcast(in[1], idx)
				} else {
					y.V[i] = refBroadcast(in[2], idx)
				}
				i++
			})
			return []*Array{y}
		},
		Cases: []Case{
			{In: []Arg{cond(2, 3, 5, 7), Rand(2, 3, 5, 7), Rand(2, 3, 5, 7)}},
			{Name: "scalar", In: []Arg{cond(1, 1, 5, 5), Rand(2, 3, 5, 5), Rand()}},
			{Name: "broadcast", In: []Arg{cond(3, 1), Rand(2, 1, 5), Rand(1, 5)}},
			{Name: "wide condition", In: []Arg{cond(2, 3, 5), Rand(3, 1), Rand(1)}},
			{Name: "int64", In: []Arg{cond(3), Const(Vector(1, 2, 3)), Const(Vector(9))}},
		},
	})
}

func (o *where) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 3, 3); err != nil {
		return nil, err
	}
	if in[0].Type.IsFloat() {
		return nil, fmt.Errorf("input 0 is of type %s, wants bool", in[0].Type)
	}
	if err := wantType(in, 1, 2); err != nil {
		return nil, err
	}
	shape, err := BroadcastShape(in[0].Shape, in[1].Shape, in[2].Shape)
	if err != nil {
		return nil, err
	}
	if err := checkSize(shape); err != nil {
		return nil, err
	}
	return []*Tensor{Info(in[1].Type, shape...)}, nil
}

func (o *where) Layouts(in []*Tensor) (want, out []Layout) { return broadcastLayouts(in, 1) }

func (o *where) Links(in, out []*Tensor) []Link { return passLinks(in, out) }

// Zeros needs both branches to be zero.
func (o *where) Zeros(zero []bool) bool { return zero[1] && zero[2] }

func (o *where) Forward(c *Context, in, out []*Tensor) error {
	if out[0].Type.IsFloat() {
		choose(c, in, out[0], out[0].F, in[1].F, in[2].F)
	} else {
		choose(c, in, out[0], out[0].I, in[1].I, in[2].I)
	}
	return nil
}

func choose[T any](c *Context, in []*Tensor, out *Tensor, y, a, b []T) {
	cond := in[0].I
	s := out.Shape
	newWalk(s, out.Strides(), spread(in[0], s), spread(in[1], s), spread(in[2], s)).rows(c, func(o offsets, n int, s offsets) {
		for i := 0; i < n; i++ {
			if cond[o[1]+i*s[1]] != 0 {
				y[o[0]+i*s[0]] = a[o[2]+i*s[2]]
			} else {
				y[o[0]+i*s[0]] = b[o[3]+i*s[3]]
			}
		}
	})
}

func (o *where) Reads() (in, out uint32) { return 1, 0 }

// Accumulates marks the operator as an [Accumulator].
func (o *where) Accumulates() {}

func (o *where) Backward(c *Context, in, out, dout, din []*Tensor) error {
	cond, dy := in[0], dout[0]
	for k := 1; k < 3; k++ {
		dx := din[k]
		if dx == nil {
			continue
		}
		clearGrad(dx)
		par := c
		if dx.Size() != dy.Size() {
			par = nil // several elements of dy fall on one of dx
		}
		w := newWalk(dy.Shape, dy.Strides(), spread(cond, dy.Shape), spread(dx, dy.Shape))
		w.rows(par, func(o offsets, n int, s offsets) {
			sum := 0.0
			for i := 0; i < n; i++ {
				if (cond.I[o[1]+i*s[1]] != 0) != (k == 1) {
					continue
				}
				if g := dy.F[o[0]+i*s[0]]; s[2] == 0 {
					sum += float64(g)
				} else {
					dx.F[o[2]+i*s[2]] += g
				}
			}
			if s[2] == 0 {
				dx.F[o[2]] += float32(sum)
			}
		})
	}
	return nil
}
