package op

import (
	"fmt"
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// ConvAct: y = clip(conv(x, w) + b + r, min, max), the fused form of Conv, Add
// and an activation in plans that run forward only. x, w, b and the attributes
// of the convolution are those of Conv; the residual r, if present, has the
// shape of y. An attribute min or max that is absent does not bound.
func init() {
	Register(Def{
		Name: "ConvAct", Domain: "onnxprune", Since: 1,
		New:       newConvAct,
		Reference: refConvAct,
		Cases: []Case{
			{Name: "relu", In: []Arg{Rand(2, 3, 6, 5), Rand(7, 3, 3, 3), Rand(7), Rand(2, 7, 6, 5)},
				Attrs: Attrs{"pads": IntsAttr(1, 1, 1, 1), "min": FloatAttr(0)}},
			{Name: "clip", In: []Arg{Rand(1, 4, 5, 5), Rand(4, 1, 3, 3), Rand(4)},
				Attrs: Attrs{"group": IntAttr(4), "strides": IntsAttr(2, 2), "min": FloatAttr(-0.25), "max": FloatAttr(0.5)}},
			{Name: "residual", In: []Arg{Rand(1, 3, 9), Rand(4, 3, 2), None(), Rand(1, 4, 8)}},
			{Name: "bias", In: []Arg{Rand(2, 3, 4, 4), Rand(5, 3, 1, 1), Rand(5)}, Attrs: Attrs{"max": FloatAttr(0.125)}},
		},
	})
}

type convAct struct {
	convForm
	e kernel.Epilogue
}

func newConvAct(n Node) (Op, error) {
	f, err := newConvForm(n)
	if err != nil {
		return nil, err
	}
	f.inputs = 4
	r := &reader{n: n}
	a := &convAct{convForm: *f}
	a.e.Min = r.Float("min", float32(math.Inf(-1)))
	a.e.Max = r.Float("max", float32(math.Inf(1)))
	a.e.Clip = r.Has("min") || r.Has("max")
	if !(a.e.Min <= a.e.Max) {
		r.keep(fmt.Errorf("attribute %q is %v, %q is %v", "min", a.e.Min, "max", a.e.Max))
	}
	return a, r.err
}

func (a *convAct) Infer(in []*Tensor) ([]*Tensor, error) {
	out, err := a.convForm.Infer(in)
	if err != nil {
		return nil, err
	}
	if len(in) > 3 && in[3] != nil && !EqualShape(in[3].Shape, out[0].Shape) {
		return nil, fmt.Errorf("residual has shape %s, output has %s", ShapeString(in[3].Shape), ShapeString(out[0].Shape))
	}
	return out, nil
}

// Zeros needs zero within the bounds besides.
func (a *convAct) Zeros(zero []bool) bool {
	return a.convForm.Zeros(zero) && a.e.Min <= 0 && a.e.Max >= 0
}

func (a *convAct) Forward(c *Context, in, out []*Tensor) error {
	e := a.e
	if len(in) > 3 && in[3] != nil {
		e.Residual = in[3].F
	}
	return a.forward(c, in, out, e)
}

func refConvAct(n Node, in []*Array) []*Array {
	y := refConv(n, in[:min(len(in), 3)])[0]
	r := &reader{n: n}
	lo, hi := r.Float("min", float32(math.Inf(-1))), r.Float("max", float32(math.Inf(1)))
	for i := range y.V {
		if len(in) > 3 && in[3] != nil {
			y.V[i] += in[3].V[i]
		}
		y.V[i] = min(max(y.V[i], float64(lo)), float64(hi))
	}
	return []*Array{y}
}
