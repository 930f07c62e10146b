package op

import "fmt"

// dropout is y = x, the meaning of Dropout in inference, in any layout; the
// optional mask is all ones. A true training_mode, which drops values at random,
// is accepted with ratio 0 only.
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
			{Name: "training mode", Outputs: 2, In: []Arg{Rand(3, 5), Const(Scalar(0)), Const(&Tensor{Type: Bool, Shape: []int{}, I: []int64{1}})}},
			{Name: "inference mode", In: []Arg{Rand(3, 5), Const(Scalar(0.75)), Const(&Tensor{Type: Bool, Shape: []int{}, I: []int64{0}})}},
		},
	})
}

// Zeros holds without a mask, which is all ones.
func (o *dropout) Zeros(zero []bool) bool { return zero[0] && o.outputs == 1 }

func (o *dropout) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 1, 3); err != nil {
		return nil, err
	}
	if err := wantFloats(in[:1]); err != nil {
		return nil, err
	}
	if err := keepsAll(in); err != nil {
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

// keepsAll refuses a training_mode and a ratio that drop values.
func keepsAll(in []*Tensor) error {
	if !hasInput(in, 2) {
		return nil
	}
	switch mode := in[2]; {
	case mode.Type != Bool || mode.Size() != 1:
		return fmt.Errorf("input 2 (training_mode) is %s %s, wants one bool", mode.Type, ShapeString(mode.Shape))
	case !mode.IsConst():
		return NeedConst{2}
	case mode.I[0] == 0:
		return nil
	}
	ratio := float32(0.5)
	if r := in[1]; r != nil {
		switch {
		case !r.Type.IsFloat() || r.Size() != 1:
			return fmt.Errorf("input 1 (ratio) is %s %s, wants one float", r.Type, ShapeString(r.Shape))
		case !r.IsConst():
			return NeedConst{1}
		}
		ratio = r.F[0]
	}
	if ratio != 0 {
		return fmt.Errorf("training_mode is true with ratio %g, values dropped at random are not supported: wants training_mode false\nhint: export the model in eval mode; with PyTorch, model.eval() and TrainingMode.PRESERVE", ratio)
	}
	return nil
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
