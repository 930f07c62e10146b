package op

import (
	"fmt"
	"math"
)

// LpNormalization: y = x/‖x‖ₚ along an axis, with p 1 or 2; 0 where the norm is 0.
// https://onnx.ai/onnx/operators/onnx__LpNormalization.html
func init() {
	attrs := func(axis, p int) Attrs { return Attrs{"axis": IntAttr(axis), "p": IntAttr(p)} }
	Register(Def{
		Name: "LpNormalization", Since: 1,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			f := &lpNormalization{axis: r.Int("axis", -1), p: readP(r)}
			if f.p > 2 {
				r.keep(fmt.Errorf("attribute %q is %v, wants 1 or 2", "p", f.p))
			}
			return f, r.err
		},
		Reference: func(n Node, in []*Array) []*Array {
			r := &reader{n: n}
			x, p := in[0], float64(r.Int("p", 2))
			a := (r.Int("axis", -1) + len(x.Shape)) % len(x.Shape)
			y := NewArray(x.Shape...)
			Each(x.Shape, func(i []int) {
				sum := 0.0
				at := append([]int{}, i...)
				for k := range x.Shape[a] {
					at[a] = k
					sum += math.Pow(math.Abs(x.V[x.At(at...)]), p)
				}
				if sum > 0 {
					y.V[y.At(i...)] = x.V[x.At(i...)] / math.Pow(sum, 1/p)
				}
			})
			return []*Array{y}
		},
		Cases: []Case{
			{In: []Arg{Rand(3, 7)}},
			{Name: "channels", Attrs: attrs(1, 2), In: []Arg{Rand(2, 5, 3, 4)}},
			{Name: "l1", Attrs: attrs(-1, 1), In: []Arg{Rand(2, 3, 5)}},
			{Name: "l1 batch", Opset: 22, Attrs: attrs(0, 1), In: []Arg{Rand(4, 3)}},
			{Name: "zeros", In: []Arg{Const(Floats([]float32{0, 0, 3, 4}, 2, 2))}},
		},
	})
}

type lpNormalization struct {
	axis int
	p    float64
}

func (f *lpNormalization) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 1, 1); err != nil {
		return nil, err
	}
	if err := wantFloats(in); err != nil {
		return nil, err
	}
	if _, err := wantAxis(f.axis, in[0].Rank()); err != nil {
		return nil, err
	}
	return []*Tensor{Info(in[0].Type, in[0].Shape...)}, nil
}

func (f *lpNormalization) Layouts(in []*Tensor) (want, out []Layout) { return keepLayouts(in, 1) }

// Links leaves out the axis of the norm.
func (f *lpNormalization) Links(in, out []*Tensor) []Link { return axisAlone(in, out, f.axis) }

func (f *lpNormalization) norm(x []float32, o, n, stride int) float64 {
	sum := 0.0
	for k := range n {
		sum += powP(float64(x[o+k*stride]), f.p)
	}
	return rootP(sum, f.p)
}

func (f *lpNormalization) along(x *Tensor) int { return (f.axis + x.Rank()) % x.Rank() }

func (f *lpNormalization) Forward(c *Context, in, out []*Tensor) error {
	x, y := in[0].F, out[0].F
	eachLine(c, in[0], f.along(in[0]), 0, func(o, n, stride int, _ []float32) {
		norm := f.norm(x, o, n, stride)
		for k := range n {
			at := o + k*stride
			if y[at] = 0; norm > 0 {
				y[at] = float32(float64(x[at]) / norm)
			}
		}
	})
	return nil
}

func (f *lpNormalization) Reads() (in, out uint32) { return 1, 0 }

// Backward: dx = (dy − d‖x‖/dx·Σ dy·y)/‖x‖.
func (f *lpNormalization) Backward(c *Context, in, out, dout, din []*Tensor) error {
	if din[0] == nil {
		return nil
	}
	x, dy, dx := in[0].F, dout[0].F, din[0].F
	eachLine(c, in[0], f.along(in[0]), 0, func(o, n, stride int, _ []float32) {
		norm := f.norm(x, o, n, stride)
		along := 0.0
		for k := range n {
			along += float64(dy[o+k*stride]) * float64(x[o+k*stride])
		}
		for k := range n {
			at := o + k*stride
			if dx[at] = 0; norm > 0 {
				dx[at] = float32((float64(dy[at]) - slopeP(float64(x[at]), norm, f.p)*along/norm) / norm)
			}
		}
	})
	return nil
}
