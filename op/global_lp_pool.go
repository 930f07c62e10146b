package op

import "math"

// GlobalLpPool: y[n,c] = (Σ |x[n,c,…]|^p)^(1/p), the sum over all spatial axes.
// x [N,C,D1,…], y [N,C,1,…]. https://onnx.ai/onnx/operators/onnx__GlobalLpPool.html
func init() {
	p := func(c []Case, p int) []Case {
		for i := range c {
			c[i].Attrs = Attrs{"p": IntAttr(p)}
			c[i].Name += " p"
		}
		return c
	}
	Register(Def{
		Name: "GlobalLpPool", Since: 2,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			return &globalLpPool{p: readP(r)}, r.err
		},
		Reference: func(n Node, in []*Array) []*Array {
			p := float64((&reader{n: n}).Int("p", 2))
			return refGlobalPool(in[0], func(v []float64) float64 {
				sum := 0.0
				for _, x := range v {
					sum += math.Pow(math.Abs(x), p)
				}
				return math.Pow(sum, 1/p)
			})
		},
		Cases: append(globalPoolCases(), append(p(globalPoolCases()[:2], 3), p(globalPoolCases()[:1], 1)...)...),
	})
}

type globalLpPool struct {
	globalPool
	p float64
}

func (f *globalLpPool) Prepare(in, out []*Tensor, training bool) (int, error) {
	return 0, wantInner(0, in[0])
}

// channels calls g for every channel of every sample with its place in y and that
// of its pixels in x, which are stride apart.
func (f *globalLpPool) channels(c *Context, x *Tensor, g func(yo, xo, pixels, stride int)) {
	n, ch, pixels := x.Shape[0], x.Shape[1], Size(x.Shape[2:])
	c.Parallel(n*ch, pixels, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			g(i, i/ch*pixels*ch+i%ch, pixels, ch)
		}
	})
}

func (f *globalLpPool) Forward(c *Context, in, out []*Tensor) error {
	x, y := in[0].F, out[0].F
	f.channels(c, in[0], func(yo, xo, pixels, stride int) {
		sum := 0.0
		for k := range pixels {
			sum += powP(float64(x[xo+k*stride]), f.p)
		}
		y[yo] = float32(rootP(sum, f.p))
	})
	return nil
}

func (f *globalLpPool) Reads() (in, out uint32) { return 1, 1 }

// Accumulates marks the operator as an [Accumulator].
func (f *globalLpPool) Accumulates() {}

func (f *globalLpPool) Backward(c *Context, in, out, dout, din []*Tensor) error {
	x, y, dy, dx := in[0].F, out[0].F, dout[0].F, din[0]
	f.channels(c, in[0], func(yo, xo, pixels, stride int) {
		for k := range pixels {
			at := xo + k*stride
			g := float32(float64(dy[yo]) * slopeP(float64(x[at]), float64(y[yo]), f.p))
			if dx.Acc {
				g += dx.F[at]
			}
			dx.F[at] = g
		}
	})
	return nil
}
