package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func shape(n, h, w, c, o, k, stride, pad int) ConvShape {
	out := func(i int) int { return (i+2*pad-k)/stride + 1 }
	return ConvShape{N: n, H: h, W: w, C: c, O: o, KH: k, KW: k, OH: out(h), OW: out(w),
		StrideH: stride, StrideW: stride, PadTop: pad, PadLeft: pad, DilH: 1, DilW: 1, Groups: 1}
}

func grouped(s ConvShape, g int) ConvShape { s.Groups = g; return s }

var convShapes = []ConvShape{
	shape(2, 8, 8, 16, 16, 3, 1, 1),
	shape(2, 9, 7, 32, 64, 3, 1, 1),
	shape(3, 8, 8, 16, 32, 3, 2, 1),
	shape(2, 7, 9, 20, 17, 3, 2, 1),
	shape(2, 6, 6, 40, 48, 1, 1, 0),
	shape(2, 7, 7, 24, 33, 1, 2, 0),
	shape(2, 11, 11, 3, 16, 3, 1, 1),
	shape(2, 15, 15, 3, 40, 7, 2, 3),
	shape(3, 12, 12, 1, 6, 5, 1, 0),
	shape(5, 4, 4, 33, 65, 3, 1, 1),
	shape(13, 2, 2, 130, 31, 3, 1, 1),
	shape(30, 4, 4, 9, 5, 3, 1, 1),
	shape(1, 26, 26, 8, 10, 5, 3, 2),
	shape(1, 1, 1, 1, 1, 1, 1, 0),
	shape(1, 3, 3, 2, 2, 1, 3, 1),
	grouped(shape(2, 6, 6, 32, 32, 3, 1, 1), 32),
	grouped(shape(2, 9, 9, 50, 50, 3, 2, 1), 50),
	grouped(shape(1, 9, 9, 7, 7, 5, 1, 2), 7),
	grouped(shape(2, 5, 5, 12, 24, 3, 1, 1), 3),
	grouped(shape(2, 5, 5, 6, 12, 3, 1, 1), 6),
	grouped(shape(2, 5, 5, 64, 64, 1, 1, 0), 2),
	{N: 2, H: 9, W: 12, C: 5, O: 7, KH: 3, KW: 2, OH: 5, OW: 11, StrideH: 2, StrideW: 1, PadTop: 0, PadLeft: 1, DilH: 1, DilW: 3, Groups: 1},
	{N: 2, H: 1, W: 40, C: 18, O: 12, KH: 1, KW: 3, OH: 1, OW: 20, StrideH: 1, StrideW: 2, PadTop: 0, PadLeft: 1, DilH: 1, DilW: 1, Groups: 1},
	{N: 1, H: 50, W: 30, C: 17, O: 16, KH: 3, KW: 3, OH: 50, OW: 30, StrideH: 1, StrideW: 1, PadTop: 2, PadLeft: 2, DilH: 2, DilW: 2, Groups: 1},
	{N: 2, H: 5, W: 5, C: 4, O: 4, KH: 2, KW: 2, OH: 3, OW: 3, StrideH: 2, StrideW: 2, PadTop: 0, PadLeft: 0, DilH: 1, DilW: 1, Groups: 4},
}

func (s ConvShape) String() string {
	return fmt.Sprintf("%dx%dx%dx%d-%d-k%dx%d-s%dx%d-d%dx%d-g%d", s.N, s.H, s.W, s.C, s.O, s.KH, s.KW, s.StrideH, s.StrideW, s.DilH, s.DilW, s.Groups)
}

// eachTap calls f with the x, w and y index of every multiply-add.
func eachTap(s ConvShape, f func(x, w, y int)) {
	cg, og := s.C/s.Groups, s.O/s.Groups
	for n := range s.N {
		for oy := range s.OH {
			for ox := range s.OW {
				for o := range s.O {
					y := ((n*s.OH+oy)*s.OW+ox)*s.O + o
					for ky := range s.KH {
						iy := oy*s.StrideH - s.PadTop + ky*s.DilH
						if iy < 0 || iy >= s.H {
							continue
						}
						for kx := range s.KW {
							ix := ox*s.StrideW - s.PadLeft + kx*s.DilW
							if ix < 0 || ix >= s.W {
								continue
							}
							for c := range cg {
								f(((n*s.H+iy)*s.W+ix)*s.C+o/og*cg+c, ((o*cg+c)*s.KH+ky)*s.KW+kx, y)
							}
						}
					}
				}
			}
		}
	}
}

func TestConv(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	for _, s := range convShapes {
		r := rand.New(rand.NewPCG(1, 2))
		x := randoms(r, s.N*s.H*s.W*s.C)
		w := randoms(r, s.O*s.C/s.Groups*s.KH*s.KW)
		dy := randoms(r, s.N*s.OH*s.OW*s.O)
		bias, res := randoms(r, s.O), randoms(r, len(dy))
		y, dx, dw := newSum(len(dy)), newSum(len(x)), newSum(len(w))
		eachTap(s, func(xi, wi, yi int) {
			y.add(yi, x[xi], w[wi])
			dx.add(xi, dy[yi], w[wi])
			dw.add(wi, dy[yi], x[xi])
		})
		t.Run(s.String(), func(t *testing.T) {
			eachVariant(t, func(t *testing.T) {
				c := NewConv(s)
				ws := newGuarded(c.Workspace(), 5)
				got := newGuarded(len(dy), 1)
				c.Forward(p, got.v, x, w, Epilogue{}, ws.v)
				compare(t, "y", got.v, y.v, y.size)
				got.check(t, "y")

				c.Forward(p, got.v, x, w, Epilogue{Bias: bias, Residual: res, Clip: true, Min: 0, Max: 6}, ws.v)
				want, size := newSum(len(dy)), newSum(len(dy))
				for i := range want.v {
					b := float64(bias[i%s.O]) + float64(res[i])
					want.v[i] = min(max(y.v[i]+b, 0), 6)
					size.v[i] = y.size[i] + math.Abs(b)
				}
				compare(t, "y with epilogue", got.v, want.v, size.v)
				got.check(t, "y with epilogue")

				k, kept := NewConv(s), newGuarded(len(dy), 3)
				k.Keep()
				for _, w := range [][]float32{w, nil} {
					clear(ws.v)
					k.Forward(p, kept.v, x, w, Epilogue{Bias: bias, Residual: res, Clip: true, Min: 0, Max: 6}, ws.v)
					for i, v := range got.v {
						if kept.v[i] != v {
							t.Fatalf("element %d with kept weights is %v, want %v", i, kept.v[i], v)
						}
					}
					clear(kept.v)
					kept.check(t, "y with kept weights")
				}

				for pass, scale := range []float64{1, 2} {
					gx, gw := newGuarded(len(x), 2), newGuarded(len(w), 7)
					for range pass + 1 {
						c.BackwardData(p, gx.v, dy, w, gx.v[0] != canary, ws.v)
						c.BackwardWeights(p, gw.v, x, dy, gw.v[0] != canary, ws.v)
					}
					compare(t, "dx", gx.v, dx.times(scale), dx.size)
					compare(t, "dw", gw.v, dw.times(scale), dw.size)
					gx.check(t, "dx")
					gw.check(t, "dw")
				}
				ws.check(t, "workspace")
			})
		})
	}
}

// sum is a vector of float64 sums with the magnitudes of what was added.
type sum struct{ v, size []float64 }

func newSum(n int) sum { return sum{make([]float64, n), make([]float64, n)} }

func (s sum) add(i int, a, b float32) {
	v := float64(a) * float64(b)
	s.v[i] += v
	s.size[i] += math.Abs(v)
}

func (s sum) times(f float64) []float64 {
	r := make([]float64, len(s.v))
	for i, v := range s.v {
		r[i] = f * v
	}
	return r
}

func TestConvThreads(t *testing.T) {
	for _, s := range []ConvShape{shape(9, 8, 8, 24, 40, 3, 1, 1), shape(9, 8, 8, 24, 40, 3, 2, 1), grouped(shape(9, 8, 8, 48, 48, 3, 1, 1), 48), shape(64, 6, 6, 3, 16, 3, 1, 1)} {
		r := rand.New(rand.NewPCG(3, 4))
		x := randoms(r, s.N*s.H*s.W*s.C)
		w := randoms(r, s.O*s.C/s.Groups*s.KH*s.KW)
		dy := randoms(r, s.N*s.OH*s.OW*s.O)
		eachVariant(t, func(t *testing.T) {
			var ref [3][]float32
			for _, threads := range []int{1, 2, 3, 8} {
				p := NewPool(threads)
				c := NewConv(s)
				ws := make([]float32, c.Workspace())
				y, dx, dw := make([]float32, len(dy)), make([]float32, len(x)), make([]float32, len(w))
				c.Forward(p, y, x, w, Epilogue{}, ws)
				c.BackwardData(p, dx, dy, w, false, ws)
				c.BackwardWeights(p, dw, x, dy, false, ws)
				if ref[0] == nil {
					ref = [3][]float32{y, dx, dw}
				}
				same(t, "y", y, ref[0])
				same(t, "dx", dx, ref[1])
				same(t, "dw", dw, ref[2])
				p.Close()
			}
		})
	}
}

// TestConvNaN checks that a NaN reaches exactly the outputs that see it.
func TestConvNaN(t *testing.T) {
	p := NewPool(1)
	s := shape(1, 8, 8, 20, 36, 3, 1, 1)
	r := rand.New(rand.NewPCG(5, 6))
	x, w := randoms(r, s.H*s.W*s.C), randoms(r, s.O*s.C*9)
	x[(3*8+4)*20+7] = float32(math.NaN())
	eachVariant(t, func(t *testing.T) {
		c := NewConv(s)
		y := make([]float32, s.OH*s.OW*s.O)
		c.Forward(p, y, x, w, Epilogue{Clip: true, Min: 0, Max: inf32}, make([]float32, c.Workspace()))
		for i, v := range y {
			oy, ox := i/s.O/s.OW, i/s.O%s.OW
			near := oy >= 2 && oy <= 4 && ox >= 3 && ox <= 5
			if (v != v) != near {
				t.Fatalf("y[%d,%d] = %v", oy, ox, v)
			}
		}
	})
}

// TestHugeStrides: a stride beyond the input costs no more than one of its length.
func TestHugeStrides(t *testing.T) {
	const pad, stride = 2147483640, 2147483640
	s := ConvShape{N: 1, H: 8, W: 8, C: 3, O: 4, KH: 1, KW: 1, OH: 3, OW: 3, StrideH: stride, StrideW: stride, PadTop: pad, PadLeft: pad, DilH: 1, DilW: 1, Groups: 1}
	c := NewConv(s)
	p := NewPool(1)
	defer p.Close()
	x, w, y := make([]float32, 8*8*3), make([]float32, 4*3), make([]float32, 9*4)
	for i := range x {
		x[i] = float32(i + 1)
	}
	for i := range w {
		w[i] = 1
	}
	c.Forward(p, y, x, w, Epilogue{}, make([]float32, c.Workspace()))
	for i, v := range y {
		want := float32(0)
		if i/4 == 4 {
			want = 1 + 2 + 3 // the middle window alone meets the input, at its first pixel
		}
		if v != want {
			t.Errorf("output %d is %v, want %v", i, v, want)
		}
	}
}
