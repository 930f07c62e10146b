package op

import (
	"fmt"
	"math"
)

// LpPool: y[n,c,q] = (Σ |x[n,c,q·stride−pad+t·dilation]|^p)^(1/p), the sum over the
// taps t of the window that fall inside the input. x [N,C,L], [N,C,H,W] or [N,C,D,H,W].
// https://onnx.ai/onnx/operators/onnx__LpPool.html
func init() {
	cases := poolCases()
	for i := range cases {
		cases[i].Opset = 18
	}
	Register(Def{
		Name: "LpPool", Since: 2,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			f := &lpPool{poolForm: newPoolForm(r), p: readP(r)}
			if n.Opset < 18 && (f.window.dilations != nil || f.window.ceil) {
				r.keep(fmt.Errorf("attributes %q and %q are not defined before opset 18", "dilations", "ceil_mode"))
			}
			return f, r.err
		},
		Reference: func(n Node, in []*Array) []*Array {
			p := float64((&reader{n: n}).Int("p", 2))
			return []*Array{refPool(n, in[0], func(v []float64, _ []int, _ int) float64 {
				sum := 0.0
				for _, x := range v {
					sum += math.Pow(math.Abs(x), p)
				}
				return math.Pow(sum, 1/p)
			})}
		},
		Cases: append(cases,
			Case{Name: "p-3", In: []Arg{Rand(1, 3, 5, 4)}, Attrs: Attrs{"kernel_shape": IntsAttr(2, 2), "p": IntAttr(3)}},
			Case{Name: "p-1", Opset: 11, In: []Arg{Rand(1, 3, 5, 4)}, Attrs: Attrs{"kernel_shape": IntsAttr(2, 3), "p": IntAttr(1)}},
		),
	})
}

type lpPool struct {
	poolForm
	p float64
}

func (f *lpPool) Infer(in []*Tensor) ([]*Tensor, error) {
	y, err := f.infer(in)
	if err != nil {
		return nil, err
	}
	return []*Tensor{y}, nil
}

func (f *lpPool) Layouts(in []*Tensor) (want, out []Layout) {
	return []Layout{ChannelsLast}, []Layout{ChannelsLast}
}

func (f *lpPool) Prepare(in, out []*Tensor, training bool) (int, error) {
	_, err := f.prepare(in)
	return 0, err
}

// taps calls g with every pixel of x in the window of pixel q of y, both counted
// over all samples.
func (f *lpPool) taps(q int, g func(p int)) {
	s := f.shape
	n, oy, ox := q/(s.OH*s.OW), q/s.OW%s.OH, q%s.OW
	if d := f.depth; d != nil {
		d.taps(n%d.axis.out, func(frame int) { f.imageTaps(n/d.axis.out*d.axis.in+frame, oy, ox, g) })
		return
	}
	f.imageTaps(n, oy, ox, g)
}

// imageTaps is taps for one image of x.
func (f *lpPool) imageTaps(n, oy, ox int, g func(p int)) {
	s := f.shape
	for ky := range s.KH {
		iy := oy*s.StrideH - s.PadTop + ky*s.DilH
		if iy < 0 || iy >= s.H {
			continue
		}
		for kx := range s.KW {
			if ix := ox*s.StrideW - s.PadLeft + kx*s.DilW; ix >= 0 && ix < s.W {
				g((n*s.H+iy)*s.W + ix)
			}
		}
	}
}

func (f *lpPool) Forward(c *Context, in, out []*Tensor) error {
	if f.shape.OW == 0 {
		if _, err := f.Prepare(in, out, false); err != nil {
			return err
		}
	}
	s := f.shape
	ch := s.C
	c.Parallel(len(out[0].F)/max(1, ch), ch*s.KH*s.KW, func(lo, hi int) {
		sum := make([]float64, ch)
		for q := lo; q < hi; q++ {
			clear(sum)
			f.taps(q, func(p int) {
				for k, v := range in[0].F[p*ch:][:ch] {
					sum[k] += powP(float64(v), f.p)
				}
			})
			for k, v := range sum {
				out[0].F[q*ch+k] = float32(rootP(v, f.p))
			}
		}
	})
	return nil
}

func (f *lpPool) Reads() (in, out uint32) { return 1, 1 }

// Accumulates marks the operator as an [Accumulator].
func (f *lpPool) Accumulates() {}

func (f *lpPool) Backward(c *Context, in, out, dout, din []*Tensor) error {
	s := f.shape
	samples := in[0].Shape[0]
	ch, each := s.C, len(out[0].F)/max(1, s.C*samples)
	clearGrad(din[0])
	c.Parallel(samples, each*ch*s.KH*s.KW, func(lo, hi int) {
		for q := lo * each; q < hi*each; q++ {
			y, dy := out[0].F[q*ch:][:ch], dout[0].F[q*ch:][:ch]
			f.taps(q, func(p int) {
				dx := din[0].F[p*ch:][:ch]
				for k, v := range in[0].F[p*ch:][:ch] {
					dx[k] += float32(float64(dy[k]) * slopeP(float64(v), float64(y[k]), f.p))
				}
			})
		}
	})
	return nil
}
