package op

import (
	"fmt"
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Clip: y = min(max(x, lo), hi); dx = dy where lo ≤ x ≤ hi, else 0. The bounds
// are attributes before opset 11 and constant scalar inputs after; either may
// be absent. https://onnx.ai/onnx/operators/onnx__Clip.html
func init() {
	Register(Def{
		Name: "Clip", Since: 6,
		New: newClip,
		Reference: func(n Node, in []*Array) []*Array {
			lo, hi := math.Inf(-1), math.Inf(1)
			if v, ok := n.Attrs["min"]; ok {
				lo = float64(v.F)
			}
			if v, ok := n.Attrs["max"]; ok {
				hi = float64(v.F)
			}
			if len(in) > 1 && in[1] != nil {
				lo = in[1].V[0]
			}
			if len(in) > 2 && in[2] != nil {
				hi = in[2].V[0]
			}
			y := NewArray(in[0].Shape...)
			for i, v := range in[0].V {
				y.V[i] = math.Min(math.Max(v, lo), hi)
			}
			return []*Array{y}
		},
		Cases: []Case{
			{In: []Arg{Rand(2, 5, 3, 7), Const(Scalar(-0.25)), Const(Scalar(0.5))}},
			{Name: "relu6", Opset: 10, Attrs: Attrs{"min": FloatAttr(0), "max": FloatAttr(0.6)}, In: []Arg{Rand(2, 5, 3, 7)}},
			{Name: "lower", In: []Arg{Rand(37), Const(Scalar(-0.25))}},
			{Name: "upper", In: []Arg{Rand(37), None(), Const(Scalar(0.25))}},
			{Name: "crossed", In: []Arg{Rand(37), Const(Scalar(0.5)), Const(Scalar(-0.5))}},
			{Name: "none", In: []Arg{Rand(3, 4)}},
			{Name: "int64", In: []Arg{Const(Ints([]int64{-9, 1, 9}, 3)), Const(Ints([]int64{-2})), Const(Ints([]int64{5}))}},
		},
	})
}

type clip struct {
	lo, hi   float32
	ilo, ihi int64
	attrs    bool // the bounds are attributes

	forward, backward func(a, b, c, d []float32)
}

func newClip(n Node) (Op, error) {
	k := &clip{attrs: n.Opset < 11, lo: float32(math.Inf(-1)), hi: float32(math.Inf(1))}
	k.forward = func(y, x, _, _ []float32) { kernel.Clip(y, x, k.lo, k.hi) }
	k.backward = func(dx, dy, x, _ []float32) { kernel.ClipGrad(dx, dy, x, k.lo, k.hi) }
	if k.attrs {
		r := &reader{n: n}
		k.lo, k.hi = r.Float("min", k.lo), r.Float("max", k.hi)
		return k, r.err
	}
	return k, nil
}

// Elementwise implements [Elementwise].
func (k *clip) Elementwise() {}

func (k *clip) Infer(in []*Tensor) ([]*Tensor, error) {
	most := 3
	if k.attrs {
		most = 1
	}
	if err := wantInputs(in, 1, most); err != nil {
		return nil, err
	}
	x := in[0]
	if x.Type == Bool || x.Type == String {
		return nil, fmt.Errorf("input 0 is of type %s, wants numbers", x.Type)
	}
	if !k.attrs {
		k.lo, k.hi = float32(math.Inf(-1)), float32(math.Inf(1))
		k.ilo, k.ihi = math.MinInt64, math.MaxInt64
	}
	for i := 1; i < len(in); i++ {
		b := in[i]
		if b == nil {
			continue
		}
		if !b.IsConst() {
			return nil, NeedConst{i}
		}
		if b.Type != x.Type {
			return nil, fmt.Errorf("input %d is of type %s, wants %s", i, b.Type, x.Type)
		}
		if b.Size() != 1 {
			return nil, fmt.Errorf("input %d has shape %s, wants a scalar", i, ShapeString(b.Shape))
		}
		switch {
		case b.F != nil && i == 1:
			k.lo = b.F[0]
		case b.F != nil:
			k.hi = b.F[0]
		case i == 1:
			k.ilo = b.I[0]
		default:
			k.ihi = b.I[0]
		}
	}
	return []*Tensor{Info(x.Type, x.Shape...)}, nil
}

// Bounds returns the range of y for float inputs, infinite where it is open.
// It is valid after Infer.
func (k *clip) Bounds() (lo, hi float32) { return k.lo, k.hi }

func (k *clip) Forward(c *Context, in, out []*Tensor) error {
	x, y := in[0], out[0]
	if x.F == nil {
		for i, v := range x.I {
			y.I[i] = min(max(v, k.ilo), k.ihi)
		}
		return nil
	}
	c.sweep(len(y.F), k.forward, y.F, x.F, nil, nil)
	return nil
}

func (k *clip) Layouts(in []*Tensor) (want, out []Layout) {
	want = lastLayouts(len(in), RowMajor)
	want[0] = in[0].Layout
	return want, []Layout{in[0].Layout}
}

func (k *clip) Wide(in []*Tensor) (free, same []int) { return nil, []int{0} }

func (k *clip) Links(in, out []*Tensor) []Link { return passLinks(in[:1], out) }

// Zeros needs bounds around zero.
func (k *clip) Zeros(zero []bool) bool { return zero[0] && k.lo <= 0 && k.hi >= 0 }

func (k *clip) Reads() (in, out uint32) { return 1, 0 }

func (k *clip) Backward(c *Context, in, out, dout, din []*Tensor) error {
	if din[0] == nil {
		return nil
	}
	c.sweep(len(din[0].F), k.backward, din[0].F, dout[0].F, in[0].F, nil)
	return nil
}
