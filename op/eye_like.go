package op

import "fmt"

// EyeLike: y[i,j] = 1 where j−i = k, 0 elsewhere, in the shape of the matrix x.
// https://onnx.ai/onnx/operators/onnx__EyeLike.html
func init() {
	Register(Def{
		Name: "EyeLike", Since: 9,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			o := &eyeLike{k: max(-maxStep, min(maxStep, r.Int("k", 0))), as: Type(r.Int("dtype", 0))}
			if o.as != Undefined && (typeNames[o.as] == "" || o.as == String) {
				r.keep(fmt.Errorf("attribute %q is %d, which is no type of numbers", "dtype", o.as))
			}
			return o, r.err
		},
		Reference: func(n Node, in []*Array) []*Array {
			y := NewArray(in[0].Shape...)
			Each(y.Shape, func(i []int) {
				if i[1]-i[0] == int(n.Attrs["k"].I) {
					y.V[y.At(i...)] = 1
				}
			})
			return []*Array{y}
		},
		Cases: []Case{
			{In: []Arg{Const(Ints(make([]int64, 12), 3, 4))}},
			{Name: "diagonal", Attrs: Attrs{"k": IntAttr(-1), "dtype": IntAttr(1)}, In: []Arg{Const(Ints(make([]int64, 12), 4, 3))}},
		},
	})
}

type eyeLike struct {
	k  int
	as Type
}

// ReadsShape marks the operator as a [ShapeReader].
func (o *eyeLike) ReadsShape() {}

func (o *eyeLike) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 1, 1); err != nil {
		return nil, err
	}
	if in[0].Rank() != 2 {
		return nil, fmt.Errorf("input has shape %s, wants rank 2", ShapeString(in[0].Shape))
	}
	t := o.as
	if t == Undefined {
		t = in[0].Type
	}
	return []*Tensor{Info(t, in[0].Shape...)}, nil
}

func (o *eyeLike) Forward(c *Context, in, out []*Tensor) error {
	y := out[0]
	clear(y.F)
	clear(y.I)
	for i := range y.Shape[0] {
		j := i + o.k
		switch {
		case j < 0 || j >= y.Shape[1]:
		case y.F != nil:
			y.F[i*y.Shape[1]+j] = 1
		default:
			y.I[i*y.Shape[1]+j] = 1
		}
	}
	return nil
}
