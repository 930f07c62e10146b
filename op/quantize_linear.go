package op

import (
	"fmt"
	"math"
)

// QuantizeLinear: y = saturate(round(x/scale) + zero point), halves rounded to even, in
// the type of the zero point (input 2), or output_dtype, or uint8.
// https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html
func init() {
	zero := func(t Type, v ...int64) Arg { return Const(&Tensor{Type: t, Shape: []int{len(v)}, I: v}) }
	scale := func(v ...float32) Arg { return Const(Floats(v, len(v))) }
	Register(Def{
		Name: "QuantizeLinear", Since: 10,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			f := &quantizeLinear{newQuantization(r), Type(r.Int("output_dtype", 0))}
			if _, ok := limits[f.as]; !ok && f.as != Undefined {
				r.keep(fmt.Errorf("attribute %q is %s, wants uint8, int8, uint16 or int16", "output_dtype", f.as))
			}
			return f, r.err
		},
		Reference: func(n Node, in []*Array) []*Array {
			y := NewArray(in[0].Shape...)
			lo, hi := 0.0, 255.0
			if n.Attrs["output_dtype"].I == int64(Int8) {
				lo, hi = -128, 127
			}
			refQuantization(n, in, func(i int, s, z float64) {
				y.V[i] = max(lo, min(hi, math.RoundToEven(in[0].V[i]/s)+z))
			})
			return []*Array{y}
		},
		Cases: []Case{
			{In: []Arg{RandIn(-3, 3, 2, 3, 4), Const(Scalar(0.017)), Const(&Tensor{Type: Uint8, Shape: []int{}, I: []int64{100}})}},
			{Name: "axis", Attrs: Attrs{"axis": IntAttr(0)}, In: []Arg{RandIn(-3, 3, 3, 4), scale(0.1, 0.02, 0.013), zero(Uint8, 0, 5, 200)}},
			{Name: "default", Opset: 10, In: []Arg{RandIn(-3, 30, 2, 3), Const(Scalar(0.09))}},
			{Name: "blocks", Opset: 21, Attrs: Attrs{"block_size": IntAttr(2), "output_dtype": IntAttr(int(Int8))},
				In: []Arg{RandIn(-3, 3, 2, 3), Const(Floats([]float32{0.1, 0.02, 0.013, 0.3}, 2, 2))}},
		},
	})
}

type quantizeLinear struct {
	quantization
	as Type
}

func (f *quantizeLinear) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 2, 3); err != nil {
		return nil, err
	}
	if !in[0].Type.IsFloat() {
		return nil, fmt.Errorf("input 0 is of type %s, wants a float type", in[0].Type)
	}
	if _, _, _, err := f.params(in); err != nil {
		return nil, err
	}
	t, err := f.result(in)
	if err != nil {
		return nil, err
	}
	return []*Tensor{Info(t, in[0].Shape...)}, nil
}

func (f *quantizeLinear) result(in []*Tensor) (Type, error) {
	t := f.as
	if hasInput(in, 2) {
		t = in[2].Type
	}
	if t == Undefined {
		t = Uint8
	}
	if _, ok := limits[t]; !ok {
		return t, fmt.Errorf("the zero point is of type %s, wants uint8, int8, uint16 or int16", t)
	}
	return t, nil
}

func (f *quantizeLinear) Forward(c *Context, in, out []*Tensor) error {
	lim := limits[out[0].Type]
	return f.each(in, func(i, k int) {
		v := math.RoundToEven(float64(in[0].F[i]/in[1].F[k])) + float64(zeroPoint(in, k))
		if v != v {
			v = float64(zeroPoint(in, k))
		}
		out[0].I[i] = int64(max(lim[0], min(lim[1], v)))
	})
}
