package op

import "fmt"

// DequantizeLinear: y = (x − zero point)·scale, in the type of the scale.
// https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html
func init() {
	ints := func(t Type, shape []int, v ...int64) Arg { return Const(&Tensor{Type: t, Shape: shape, I: v}) }
	Register(Def{
		Name: "DequantizeLinear", Since: 10,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			f := &dequantizeLinear{newQuantization(r)}
			return f, r.err
		},
		Reference: func(n Node, in []*Array) []*Array {
			y := NewArray(in[0].Shape...)
			refQuantization(n, in, func(i int, s, z float64) { y.V[i] = (in[0].V[i] - z) * s })
			return []*Array{y}
		},
		Cases: []Case{
			{In: []Arg{ints(Uint8, []int{4}, 0, 3, 128, 255), Const(Scalar(0.5)), ints(Uint8, []int{}, 128)}},
			{Name: "axis", Attrs: Attrs{"axis": IntAttr(-1)}, In: []Arg{ints(Int8, []int{2, 2}, -128, 3, 5, 127), Const(Floats([]float32{0.5, 2}, 2)), ints(Int8, []int{2}, 1, -1)}},
			{Name: "bias", In: []Arg{ints(Int32, []int{2}, 70000, -3), Const(Scalar(0.01))}},
			{Name: "blocks", Opset: 21, Attrs: Attrs{"block_size": IntAttr(2), "axis": IntAttr(0)},
				In: []Arg{ints(Uint8, []int{3, 2}, 1, 2, 3, 4, 5, 6), Const(Floats([]float32{1, 2, 3, 4}, 2, 2)), ints(Uint8, []int{2, 2}, 1, 0, 2, 0)}},
		},
	})
}

type dequantizeLinear struct{ quantization }

func (f *dequantizeLinear) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 2, 3); err != nil {
		return nil, err
	}
	if _, ok := limits[in[0].Type]; !ok && in[0].Type != Int32 {
		return nil, fmt.Errorf("input 0 is of type %s, wants uint8, int8, uint16, int16 or int32", in[0].Type)
	}
	if err := wantType(in, 0, 2); err != nil {
		return nil, err
	}
	if _, _, _, err := f.params(in); err != nil {
		return nil, err
	}
	return []*Tensor{Info(in[1].Type, in[0].Shape...)}, nil
}

func (f *dequantizeLinear) Forward(c *Context, in, out []*Tensor) error {
	return f.each(in, func(i, k int) {
		out[0].F[i] = float32(in[0].I[i]-zeroPoint(in, k)) * in[1].F[k]
	})
}
