package op

import (
	"fmt"
	"math"
)

// rangeOf is y[i] = start + i·delta for i < max(0, ⌈(limit−start)/delta⌉), with
// start, limit and delta the constant inputs 0 to 2 of one element.
// https://onnx.ai/onnx/operators/onnx__Range.html
type rangeOf struct{}

func init() {
	f := func(v float32) Arg { return Const(Scalar(v)) }
	i := func(v int64) Arg { return Const(Ints([]int64{v})) }
	Register(Def{
		Name: "Range", Since: 11,
		New: func(n Node) (Op, error) { return &rangeOf{}, nil },
		Reference: func(n Node, in []*Array) []*Array {
			v := []float64{}
			start, limit, delta := in[0].V[0], in[1].V[0], in[2].V[0]
			for k := 0; (limit-(start+float64(k)*delta))*delta > 0; k++ {
				v = append(v, start+float64(k)*delta)
			}
			return []*Array{{Shape: []int{len(v)}, V: v}}
		},
		Cases: []Case{
			{In: []Arg{f(1), f(3.25), f(0.5)}},
			{Name: "down", In: []Arg{f(2), f(-1), f(-0.75)}},
			{Name: "int64", In: []Arg{i(3), i(10), i(3)}},
			{Name: "int64 down", In: []Arg{i(10), i(4), i(-3)}},
			{Name: "empty", In: []Arg{i(3), i(3), i(1)}},
			{Name: "wrong way", In: []Arg{i(3), i(5), i(-1)}},
		},
	})
}

func (o *rangeOf) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 3, 3); err != nil {
		return nil, err
	}
	if err := wantType(in, 0, 1, 2); err != nil {
		return nil, err
	}
	for i, t := range in[:3] {
		if t.Size() != 1 {
			return nil, fmt.Errorf("input %d is %s, wants one element", i, ShapeString(t.Shape))
		}
		if !t.IsConst() {
			return nil, NeedConst{i}
		}
	}
	n, err := rangeLength(in)
	if err != nil {
		return nil, err
	}
	return []*Tensor{Info(in[0].Type, n)}, nil
}

// rangeLength returns the number of elements.
func rangeLength(in []*Tensor) (int, error) {
	var n float64
	if in[0].F != nil {
		start, limit, delta := float64(in[0].F[0]), float64(in[1].F[0]), float64(in[2].F[0])
		if delta == 0 {
			return 0, fmt.Errorf("delta is 0")
		}
		n = math.Ceil((limit - start) / delta)
	} else {
		start, limit, delta := in[0].I[0], in[1].I[0], in[2].I[0]
		if delta == 0 {
			return 0, fmt.Errorf("delta is 0")
		}
		if (limit > start) != (delta > 0) || limit == start {
			return 0, nil
		}
		span, step := uint64(limit-start), uint64(delta)
		if delta < 0 {
			span, step = uint64(start-limit), -step
		}
		n = float64((span-1)/step) + 1
	}
	if !(n <= maxSize) {
		return 0, fmt.Errorf("range has more than %d elements", int64(maxSize))
	}
	return int(max(0, n)), nil
}

func (o *rangeOf) Forward(c *Context, in, out []*Tensor) error {
	y := out[0]
	for i := range y.F {
		y.F[i] = float32(float64(in[0].F[0]) + float64(i)*float64(in[2].F[0]))
	}
	for i := range y.I {
		y.I[i] = in[0].I[0] + int64(i)*in[2].I[0]
	}
	return nil
}
