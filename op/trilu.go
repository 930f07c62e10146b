package op

import "fmt"

// Trilu keeps the upper (upper = 1) or lower triangle of the matrices [R,C] on the
// last two axes, on and above or below diagonal k (constant input 1, default 0):
// y[…,i,j] = x[…,i,j] where j−i ≥ k or j−i ≤ k, 0 elsewhere.
// https://onnx.ai/onnx/operators/onnx__Trilu.html
func init() {
	k := func(v int64) Arg { return Const(Ints([]int64{v})) }
	lower := Attrs{"upper": IntAttr(0)}
	Register(Def{
		Name: "Trilu", Since: 14,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			return &trilu{upper: r.Bool("upper", true)}, r.err
		},
		Reference: func(n Node, in []*Array) []*Array {
			x, d := in[0], 0
			if len(in) > 1 && in[1] != nil {
				d = int(in[1].V[0])
			}
			y := NewArray(x.Shape...)
			r := len(x.Shape)
			Each(x.Shape, func(i []int) {
				above := i[r-1] - i[r-2] - d
				if (&reader{n: n}).Int("upper", 1) == 0 {
					above = -above
				}
				if above >= 0 {
					y.V[y.At(i...)] = x.V[x.At(i...)]
				}
			})
			return []*Array{y}
		},
		Cases: []Case{
			{Opset: 14, In: []Arg{Rand(4, 5)}},
			{Name: "lower", Opset: 14, Attrs: lower, In: []Arg{Rand(2, 3, 4)}},
			{Name: "above", Opset: 14, In: []Arg{Rand(2, 3, 4), k(1)}},
			{Name: "below", Opset: 14, Attrs: lower, In: []Arg{Rand(2, 2, 3, 4), k(-1)}},
			{Name: "far", Opset: 14, In: []Arg{Rand(3, 3), k(9)}},
			{Name: "bool", Opset: 14, In: []Arg{Const(&Tensor{Type: Bool, Shape: []int{2, 2}, I: []int64{1, 1, 1, 1}})}},
		},
	})
}

type trilu struct {
	upper bool
	k     int // valid after Infer
}

func (o *trilu) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 1, 2); err != nil {
		return nil, err
	}
	if in[0].Rank() < 2 {
		return nil, fmt.Errorf("input has shape %s, wants rank 2 or more", ShapeString(in[0].Shape))
	}
	o.k = 0
	if hasInput(in, 1) {
		v, err := constInts(in, 1)
		if err != nil {
			return nil, err
		}
		if len(v) != 1 {
			return nil, fmt.Errorf("input 1 has %d elements, wants 1", len(v))
		}
		o.k = max(-maxStep, min(maxStep, v[0]))
	}
	return []*Tensor{Info(in[0].Type, in[0].Shape...)}, nil
}

// kept returns the columns [lo,hi) that stay of row i of columns.
func (o *trilu) kept(i, columns int) (lo, hi int) {
	if o.upper {
		return max(0, min(columns, i+o.k)), columns
	}
	return 0, max(0, min(columns, i+o.k+1))
}

func triangle[T any](c *Context, o *trilu, shape []int, y, x []T) {
	rows, columns := shape[len(shape)-2], shape[len(shape)-1]
	c.Parallel(Size(shape[:len(shape)-1]), columns, func(from, to int) {
		for r := from; r < to; r++ {
			lo, hi := o.kept(r%rows, columns)
			d := y[r*columns:][:columns]
			clear(d[:lo])
			copy(d[lo:hi], x[r*columns+lo:])
			clear(d[hi:])
		}
	})
}

func (o *trilu) Forward(c *Context, in, out []*Tensor) error {
	if in[0].F != nil {
		triangle(c, o, in[0].Shape, out[0].F, in[0].F)
	} else {
		triangle(c, o, in[0].Shape, out[0].I, in[0].I)
	}
	return nil
}

// Links leaves out the axes of the matrix, along which the diagonal runs.
func (o *trilu) Links(in, out []*Tensor) []Link {
	return identityLinks(in, out, func(a int) bool { return a < in[0].Rank()-2 })
}

// Zeros holds: the elements are the input's, or 0.
func (o *trilu) Zeros(zero []bool) bool { return zero[0] }

func (o *trilu) Reads() (in, out uint32) { return 0, 0 }

func (o *trilu) Backward(c *Context, in, out, dout, din []*Tensor) error {
	if din[0] != nil {
		triangle(c, o, din[0].Shape, din[0].F, dout[0].F)
	}
	return nil
}
