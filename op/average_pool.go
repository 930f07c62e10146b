package op

import (
	"fmt"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// AveragePool: y[n,c,q] = the mean of x[n,c,q·stride−pad+t·dilation] over the
// taps t of the window. The mean is over the taps inside the input or, with
// count_include_pad, over those inside the padded input, where padding is 0.
// x [N,C,L], [N,C,H,W] or [N,C,D,H,W].
// https://onnx.ai/onnx/operators/onnx__AveragePool.html
func init() {
	with := func(a Attrs) Attrs {
		a["count_include_pad"] = IntAttr(1)
		return a
	}
	Register(Def{
		Name: "AveragePool", Since: 1,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			f := &averagePool{poolForm: newPoolForm(r), countPad: r.Bool("count_include_pad", false)}
			if n.Opset < 19 && f.window.dilations != nil {
				r.keep(fmt.Errorf("attribute %q is not defined before opset 19", "dilations"))
			}
			return f, r.err
		},
		Reference: refAveragePool,
		Cases: append(poolCases(),
			Case{Name: "3d-include-pad", In: []Arg{Rand(1, 3, 5, 4, 5)}, Attrs: with(Attrs{"kernel_shape": IntsAttr(3, 2, 3),
				"strides": IntsAttr(2, 1, 2), "pads": IntsAttr(1, 1, 1, 2, 0, 1)})},
			Case{Name: "3d-include-pad-ceil", In: []Arg{Rand(2, 3, 4, 6, 5)}, Attrs: with(Attrs{"kernel_shape": IntsAttr(3, 3, 2),
				"strides": IntsAttr(2, 2, 2), "pads": IntsAttr(0, 1, 0, 1, 0, 0), "ceil_mode": IntAttr(1)})},
			Case{Name: "include-pad", In: []Arg{Rand(1, 3, 7, 5)}, Attrs: with(Attrs{"kernel_shape": IntsAttr(3, 2),
				"strides": IntsAttr(2, 1), "pads": IntsAttr(1, 0, 2, 1)})},
			Case{Name: "include-padding-only", In: []Arg{Rand(1, 3, 3, 2)}, Attrs: with(Attrs{"kernel_shape": IntsAttr(9, 8),
				"pads": IntsAttr(7, 4, 3, 6), "strides": IntsAttr(2, 1)})},
			Case{Name: "include-pad-ceil", In: []Arg{Rand(2, 3, 6, 5)}, Attrs: with(Attrs{"kernel_shape": IntsAttr(3, 3),
				"strides": IntsAttr(2, 2), "pads": IntsAttr(1, 0, 0, 1), "ceil_mode": IntAttr(1)})},
			Case{Name: "include-pad-same", In: []Arg{Rand(1, 3, 7, 5)}, Attrs: with(Attrs{"kernel_shape": IntsAttr(3, 2),
				"strides": IntsAttr(2, 2), "auto_pad": StringAttr("SAME_UPPER")})},
			Case{Name: "include-pad-dilations", Opset: 19, In: []Arg{Rand(1, 2, 8, 7)}, Attrs: with(Attrs{"kernel_shape": IntsAttr(3, 2),
				"strides": IntsAttr(3, 2), "dilations": IntsAttr(2, 3), "pads": IntsAttr(1, 1, 1, 1), "ceil_mode": IntAttr(1)})},
		),
	})
}

type averagePool struct {
	poolForm
	countPad bool
	// factor corrects, per output pixel, the mean over all taps of the window to
	// one over those inside the padded input; nil where these are the same.
	factor []float32
}

func (f *averagePool) Infer(in []*Tensor) ([]*Tensor, error) {
	y, err := f.infer(in)
	if err != nil {
		return nil, err
	}
	return []*Tensor{y}, nil
}

func (f *averagePool) Layouts(in []*Tensor) (want, out []Layout) {
	return []Layout{ChannelsLast}, []Layout{ChannelsLast}
}

func (f *averagePool) Prepare(in, out []*Tensor, training bool) (int, error) {
	ax, err := f.prepare(in)
	if err != nil {
		return 0, err
	}
	h, w := plane(ax)
	taps := f.shape.KH * f.shape.KW
	size := out[0].Size()
	if f.depth != nil {
		size = f.depth.frames()
	}
	if !f.countPad || !h.overhangs() && !w.overhangs() && taps == h.kernel*w.kernel {
		if f.depth != nil {
			return size, nil
		}
		return 0, nil
	}
	f.factor = make([]float32, 0, h.out*w.out)
	for i := range h.out {
		for j := range w.out {
			f.factor = append(f.factor, float32(taps)/float32(h.padded(i)*w.padded(j)))
		}
	}
	return size, nil
}

// overhangs reports whether the last window reaches past the padding.
func (a axisWindow) overhangs() bool {
	return (a.out-1)*a.stride+a.extent() > a.begin+a.in+a.end
}

// padded returns the number of taps of position o inside the padded input.
func (a axisWindow) padded(o int) int {
	room := a.begin + a.in + a.end - o*a.stride
	return min(a.kernel, (room+a.dil-1)/a.dil)
}

// correct multiplies every pixel by its factor.
func (f *averagePool) correct(c *Context, dst, src []float32) {
	ch := f.shape.C
	c.Parallel(len(dst)/ch, ch, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			kernel.Scale(dst[i*ch:][:ch], src[i*ch:][:ch], f.factor[i%len(f.factor)])
		}
	})
}

func (f *averagePool) Forward(c *Context, in, out []*Tensor) error {
	if f.shape.OW == 0 {
		if _, err := f.Prepare(in, out, false); err != nil {
			return err
		}
	}
	y := out[0].F
	if f.depth != nil {
		y = c.scratch(f.depth.frames())
	}
	kernel.AvgPool(c.pool(), y, in[0].F, f.shape, f.countPad)
	if f.factor != nil && len(y) > 0 {
		f.correct(c, y, y)
	}
	if f.depth != nil {
		f.depth.mean(c.pool(), out[0].F, y, f.countPad)
	}
	return nil
}

func (f *averagePool) Reads() (in, out uint32) { return 0, 0 }

func (f *averagePool) Accumulates() {}

func (f *averagePool) Backward(c *Context, in, out, dout, din []*Tensor) error {
	dy := dout[0].F
	if f.depth != nil {
		dy = c.scratch(f.depth.frames())
		f.depth.meanGrad(c.pool(), dy, dout[0].F, f.countPad)
		if f.factor != nil {
			f.correct(c, dy, dy)
		}
	} else if f.factor != nil && len(dy) > 0 {
		dy = c.scratch(len(dy))
		f.correct(c, dy, dout[0].F)
	}
	kernel.AvgPoolGrad(c.pool(), din[0].F, dy, f.shape, f.countPad, din[0].Acc)
	return nil
}

func refAveragePool(n Node, in []*Array) []*Array {
	countPad := (&reader{n: n}).Int("count_include_pad", 0) != 0
	return []*Array{refPool(n, in[0], func(v []float64, _ []int, padded int) float64 {
		sum := 0.0
		for _, x := range v {
			sum += x
		}
		if countPad {
			return sum / float64(padded)
		}
		return sum / float64(len(v))
	})}
}
