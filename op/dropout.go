package op

import "fmt"

// dropout is y = x, the meaning of Dropout in inference, in any layout; the
// optional mask is all ones. Ratio, seed and training_mode have no effect.
// https://onnx.ai/onnx/operators/onnx__Dropout.html
type dropout struct {
	view
	outputs int
	mask    Type
}

func init() {
	Register(Def{
		Name: "Dropout", Since: 7,
		New: func(n Node) (Op, error) {
			o := &dropout{outputs: max(1, n.Outputs), mask: Bool}
			if o.outputs > 2 {
				return nil, fmt.Errorf("has %d outputs, wants at most 2", o.outputs)
			}
			if n.Opset < 10 {
				o.mask = Undefined
			}
			return o, nil
		},
		Reference: func(n Node, in []*Array) []*Array {
			out := refView(in[0], in[0].Shape)
			if n.Outputs > 1 {
				mask := NewArray(in[0].Shape...)
				for i := range mask.V {
					mask.V[i] = 1
				}
				out = append(out, mask)
			}
			return out
		},
		Cases: []Case{
			{In: []Arg{Rand(2, 3, 5, 7)}},
			{Name: "mask", Outputs: 2, In: []Arg{Rand(2, 3, 5), Const(Scalar(0.5)), None()}},
			{Name: "float mask", Opset: 7, Attrs: Attrs{"ratio": FloatAttr(0.3)}, Outputs: 2, In: []Arg{Const(New(Float, 3, 5))}},
			{Name: "training mode", In: []Arg{Rand(3, 5), None(), Const(&Tensor{Type: Bool, Shape: []int{}, I: []int64{1}})}},
		},
	})
}

func (o *dropout) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 1, 3); err != nil {
		return nil, err
	}
	if err := wantFloats(in[:1]); err != nil {
		return nil, err
	}
	out := []*Tensor{Info(in[0].Type, in[0].Shape...)}
	if o.outputs == 2 {
		t := o.mask
		if t == Undefined {
			t = in[0].Type
		}
		out = append(out, Info(t, in[0].Shape...))
	}
	return out, nil
}

func (o *dropout) Forward(c *Context, in, out []*Tensor) error {
	if o.outputs == 2 && out[1] != nil {
		for i := range out[1].F {
			out[1].F[i] = 1
		}
		for i := range out[1].I {
			out[1].I[i] = 1
		}
	}
	return o.view.Forward(c, in, out)
}

func (o *dropout) Layouts(in []*Tensor) (want, out []Layout) { return keepLayouts(in, o.outputs) }

func (o *dropout) Links(in, out []*Tensor) []Link {
	return identityLinks(in, out, func(int) bool { return true })
}
