package op

import (
	"fmt"
	"math"
)

// OneHot: y has an axis of length depth (constant input 1) more than indices
// (input 0); along it y is values[1] at the index, values[0] elsewhere (input 2).
// Negative indices count from the end; those out of range give values[0] only.
// https://onnx.ai/onnx/operators/onnx__OneHot.html
func init() {
	values := Const(Floats([]float32{-1, 3}, 2))
	depth := Const(Ints([]int64{4}))
	Register(Def{
		Name: "OneHot", Since: 9,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			return &oneHot{axis: r.Int("axis", -1)}, r.err
		},
		Reference: refOneHot,
		Cases: []Case{
			{In: []Arg{Const(Ints([]int64{0, 3, -1, 7, 2, -4}, 2, 3)), depth, values}},
			{Name: "axis", Attrs: Attrs{"axis": IntAttr(1)}, In: []Arg{Const(Ints([]int64{0, 3, -1, 7, 2, -9}, 2, 3)), depth, values}},
			{Name: "floats", Attrs: Attrs{"axis": IntAttr(0)}, In: []Arg{Const(Floats([]float32{1, 0}, 2)), Const(Floats([]float32{3}, 1)), Const(Vector(5, 6))}},
		},
	})
}

type oneHot struct{ axis int }

// depthOf returns the value of constant input 1.
func (o *oneHot) depthOf(in []*Tensor) (int, error) {
	t := in[1]
	if t.Size() != 1 || t.Type == Bool || t.Type == String {
		return 0, fmt.Errorf("input 1 is %s of type %s, wants one number", ShapeString(t.Shape), t.Type)
	}
	if !t.IsConst() {
		return 0, NeedConst{1}
	}
	d := 0.0
	if t.F != nil {
		d = float64(t.F[0])
	} else {
		d = float64(t.I[0])
	}
	if !(d >= 1 && d <= maxSize) {
		return 0, fmt.Errorf("depth is %v, wants 1 to %d", d, int64(maxSize))
	}
	return int(d), nil
}

func (o *oneHot) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 3, 3); err != nil {
		return nil, err
	}
	if t := in[0].Type; t == Bool || t == String {
		return nil, fmt.Errorf("input 0 is of type %s, wants numbers", t)
	}
	if !EqualShape(in[2].Shape, []int{2}) {
		return nil, fmt.Errorf("input 2 has shape %s, wants [2]", ShapeString(in[2].Shape))
	}
	depth, err := o.depthOf(in)
	if err != nil {
		return nil, err
	}
	x := in[0].Shape
	a, err := wantAxis(o.axis, len(x)+1)
	if err != nil {
		return nil, err
	}
	shape := append(append(append([]int{}, x[:a]...), depth), x[a:]...)
	return []*Tensor{Info(in[2].Type, shape...)}, checkSize(shape)
}

func (o *oneHot) Forward(c *Context, in, out []*Tensor) error {
	if out[0].F != nil {
		oneHotLines(o, in[0], out[0], out[0].F, in[2].F)
	} else {
		oneHotLines(o, in[0], out[0], out[0].I, in[2].I)
	}
	return nil
}

func oneHotLines[T any](o *oneHot, x, t *Tensor, y, values []T) {
	for i := range y {
		y[i] = values[0]
	}
	a, err := wantAxis(o.axis, t.Rank())
	if err != nil {
		return
	}
	depth, after := t.Shape[a], Size(t.Shape[a+1:])
	for i := range x.Size() {
		v := 0
		if x.F != nil {
			v = int(math.Trunc(float64(x.F[i])))
		} else {
			v = int(x.I[i])
		}
		if v < 0 {
			v += depth
		}
		if v >= 0 && v < depth {
			y[(i/after*depth+v)*after+i%after] = values[1]
		}
	}
}

func refOneHot(n Node, in []*Array) []*Array {
	x, depth := in[0], int(in[1].V[0])
	r := len(x.Shape) + 1
	a := ((&reader{n: n}).Int("axis", -1) + r) % r
	shape := append(append(append([]int{}, x.Shape[:a]...), depth), x.Shape[a:]...)
	y := NewArray(shape...)
	Each(shape, func(i []int) {
		v := x.V[x.At(append(append([]int{}, i[:a]...), i[a+1:]...)...)]
		y.V[y.At(i...)] = in[2].V[0]
		if int(v) == i[a] || int(v)+depth == i[a] {
			y.V[y.At(i...)] = in[2].V[1]
		}
	})
	return []*Array{y}
}
