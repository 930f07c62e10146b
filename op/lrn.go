package op

import (
	"fmt"
	"math"
)

// LRN: y[n,c,…] = x[n,c,…]/s^beta with s = bias + alpha/size·Σ x², the sum over the
// size channels around c: ⌊(size−1)/2⌋ before it, ⌈(size−1)/2⌉ after it. x [N,C,D1,…].
// https://onnx.ai/onnx/operators/onnx__LRN.html
func init() {
	Register(Def{
		Name: "LRN", Since: 1,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			f := &lrn{size: r.Int("size", 0), alpha: float64(r.Float("alpha", 1e-4)), beta: float64(r.Float("beta", 0.75)), bias: float64(r.Float("bias", 1))}
			if f.size < 1 || f.size > math.MaxInt32 {
				r.keep(fmt.Errorf("attribute %q is %d, wants at least 1", "size", f.size))
			}
			return f, r.err
		},
		Reference: refLRN,
		Cases: []Case{
			{Attrs: Attrs{"size": IntAttr(3)}, In: []Arg{Rand(2, 5, 3, 4)}},
			{Name: "strong", Attrs: Attrs{"size": IntAttr(4), "alpha": FloatAttr(0.5), "beta": FloatAttr(0.6), "bias": FloatAttr(2)}, In: []Arg{RandIn(-2, 2, 2, 7, 3, 2)}},
			{Name: "wide window", Attrs: Attrs{"size": IntAttr(9), "alpha": FloatAttr(0.5)}, In: []Arg{Rand(2, 3, 4)}},
		},
	})
}

type lrn struct {
	size              int
	alpha, beta, bias float64
}

func (f *lrn) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 1, 1); err != nil {
		return nil, err
	}
	if err := wantFloats(in); err != nil {
		return nil, err
	}
	if in[0].Rank() < 2 {
		return nil, fmt.Errorf("input has shape %s, wants channels on axis 1", ShapeString(in[0].Shape))
	}
	return []*Tensor{Info(in[0].Type, in[0].Shape...)}, nil
}

func (f *lrn) Layouts(in []*Tensor) (want, out []Layout) { return keepLayouts(in, 1) }

// Links leaves out the channels, over which the window slides.
func (f *lrn) Links(in, out []*Tensor) []Link { return axisAlone(in, out, 1) }

// sums writes s of every channel of a line to buf, by running sums.
func (f *lrn) sums(x []float32, o, n, stride int, buf []float32) {
	before, after := (f.size-1)/2, f.size-1-(f.size-1)/2
	square := func(k int) float64 { v := float64(x[o+k*stride]); return v * v }
	sum := 0.0
	for k := range min(n, after) {
		sum += square(k)
	}
	for k := range n {
		if k+after < n {
			sum += square(k + after)
		}
		if k-before-1 >= 0 {
			sum -= square(k - before - 1)
		}
		buf[k] = float32(f.bias + f.alpha/float64(f.size)*sum)
	}
}

func (f *lrn) Forward(c *Context, in, out []*Tensor) error {
	x, y := in[0].F, out[0].F
	eachLine(c, in[0], 1, in[0].Shape[1], func(o, n, stride int, buf []float32) {
		f.sums(x, o, n, stride, buf)
		for k, s := range buf {
			y[o+k*stride] = float32(float64(x[o+k*stride]) * math.Pow(float64(s), -f.beta))
		}
	})
	return nil
}

func (f *lrn) Reads() (in, out uint32) { return 1, 0 }

// Backward: dx_k = dy_k·s_k^−β − 2αβ/size·x_k·Σ dy_j·x_j·s_j^(−β−1), the sum over the
// channels j whose windows hold k.
func (f *lrn) Backward(c *Context, in, out, dout, din []*Tensor) error {
	if din[0] == nil {
		return nil
	}
	x, dy, dx := in[0].F, dout[0].F, din[0].F
	ch := in[0].Shape[1]
	before, after := (f.size-1)/2, f.size-1-(f.size-1)/2
	eachLine(c, in[0], 1, 2*ch, func(o, n, stride int, buf []float32) {
		s, t := buf[:ch], buf[ch:]
		f.sums(x, o, n, stride, s)
		for k, v := range s {
			t[k] = float32(float64(dy[o+k*stride]) * float64(x[o+k*stride]) * math.Pow(float64(v), -f.beta-1))
		}
		sum := 0.0
		for k := range min(n, before) {
			sum += float64(t[k])
		}
		for k, v := range s {
			if k+before < n {
				sum += float64(t[k+before])
			}
			if k-after-1 >= 0 {
				sum -= float64(t[k-after-1])
			}
			at := o + k*stride
			dx[at] = float32(float64(dy[at])*math.Pow(float64(v), -f.beta) - 2*f.alpha*f.beta/float64(f.size)*float64(x[at])*sum)
		}
	})
	return nil
}

func refLRN(n Node, in []*Array) []*Array {
	r := &reader{n: n}
	x, size := in[0], r.Int("size", 0)
	y := NewArray(x.Shape...)
	Each(x.Shape, func(i []int) {
		sum := 0.0
		at := append([]int{}, i...)
		first := i[1] - int(math.Floor(float64(size-1)/2))
		last := i[1] + int(math.Ceil(float64(size-1)/2))
		for c := max(0, first); c <= min(x.Shape[1]-1, last); c++ {
			at[1] = c
			sum += math.Pow(x.V[x.At(at...)], 2)
		}
		s := float64(r.Float("bias", 1)) + float64(r.Float("alpha", 1e-4))/float64(size)*sum
		y.V[y.At(i...)] = x.V[x.At(i...)] / math.Pow(s, float64(r.Float("beta", 0.75)))
	})
	return []*Array{y}
}
