package kernel

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

var (
	batch = flag.Int("batch", 64, "batch size of the benchmarks")
	cold  = flag.Int("cold", 0, "take activations from this many MiB in turn, so that caches do not hold them")
)

// ring is equally long buffers that are used in turn.
type ring struct {
	bufs [][]float32
	at   int
}

func newRing(r *rand.Rand, n int) *ring {
	g := &ring{}
	one := uniforms(r, n)
	for range max(1, *cold<<20/(4*n)) {
		b := Floats(n)
		copy(b, one)
		g.bufs = append(g.bufs, b)
	}
	return g
}

func (g *ring) next() []float32 {
	g.at = (g.at + 1) % len(g.bufs)
	return g.bufs[g.at]
}

var benchShapes = []struct {
	name string
	s    ConvShape
}{
	{"resnet18-stem", shape(64, 32, 32, 3, 64, 3, 1, 1)},
	{"resnet18-1", shape(64, 32, 32, 64, 64, 3, 1, 1)},
	{"resnet18-2s", shape(64, 32, 32, 64, 128, 3, 2, 1)},
	{"resnet18-2", shape(64, 16, 16, 128, 128, 3, 1, 1)},
	{"resnet18-3s", shape(64, 16, 16, 128, 256, 3, 2, 1)},
	{"resnet18-3", shape(64, 8, 8, 256, 256, 3, 1, 1)},
	{"resnet18-4s", shape(64, 8, 8, 256, 512, 3, 2, 1)},
	{"resnet18-4", shape(64, 4, 4, 512, 512, 3, 1, 1)},
	{"resnet18-down", shape(64, 32, 32, 64, 128, 1, 2, 0)},
	{"resnet20-stem", shape(64, 32, 32, 3, 16, 3, 1, 1)},
	{"resnet20-1", shape(64, 32, 32, 16, 16, 3, 1, 1)},
	{"resnet20-2s", shape(64, 32, 32, 16, 32, 3, 2, 1)},
	{"resnet20-2", shape(64, 16, 16, 32, 32, 3, 1, 1)},
	{"resnet20-3", shape(64, 8, 8, 64, 64, 3, 1, 1)},
	{"vgg-2x2", shape(64, 2, 2, 512, 512, 3, 1, 1)},
	{"mobile-expand", shape(64, 16, 16, 64, 384, 1, 1, 0)},
	{"mobile-project", shape(64, 16, 16, 384, 64, 1, 1, 0)},
	{"mobile-24", shape(64, 32, 32, 24, 144, 1, 1, 0)},
	{"mobile-144", shape(64, 32, 32, 144, 24, 1, 1, 0)},
	{"mobile-96", shape(64, 8, 8, 96, 576, 1, 1, 0)},
	{"mobile-160", shape(64, 4, 4, 160, 960, 1, 1, 0)},
	{"depth-144", grouped(shape(64, 32, 32, 144, 144, 3, 1, 1), 144)},
	{"depth-384s2", grouped(shape(64, 16, 16, 384, 384, 3, 2, 1), 384)},
	{"width-48", shape(64, 16, 16, 48, 48, 3, 1, 1)},
	{"width-40", shape(64, 16, 16, 40, 40, 3, 1, 1)},
	{"width-24", shape(64, 16, 16, 24, 24, 3, 1, 1)},
	{"width-20", shape(64, 16, 16, 20, 20, 3, 1, 1)},
	{"width-17", shape(64, 16, 16, 17, 17, 3, 1, 1)},
	{"mnist-1", shape(64, 28, 28, 1, 32, 3, 1, 0)},
	{"mnist-2", shape(64, 26, 26, 32, 64, 3, 1, 0)},
}

// rate reports the best rate among the runs of f, which is what the kernel
// reaches when nothing else runs on the machine.
func rate(b *testing.B, flops float64, f func()) {
	b.ReportAllocs()
	best := time.Duration(1 << 62)
	for b.Loop() {
		t := time.Now()
		f()
		best = min(best, time.Since(t))
	}
	b.ReportMetric(flops/best.Seconds()/1e9, "best-GFLOP/s")
}

func BenchmarkConv(b *testing.B) {
	p := NewPool(runtime.GOMAXPROCS(0))
	defer p.Close()
	r := rand.New(rand.NewPCG(1, 1))
	for _, bs := range benchShapes {
		b.Run(bs.name, func(b *testing.B) {
			s := bs.s
			s.N = *batch
			c := NewConv(s)
			ws := make([]float32, c.Workspace())
			x, w, y := newRing(r, s.N*s.H*s.W*s.C), uniforms(r, s.O*s.C/s.Groups*s.KH*s.KW), newRing(r, s.N*s.OH*s.OW*s.O)
			dx, out := newRing(r, s.N*s.H*s.W*s.C), newRing(r, s.N*s.OH*s.OW*s.O)
			dw := make([]float32, len(w))
			flops := 2 * float64(s.MACs())
			b.Run("forward", func(b *testing.B) {
				rate(b, flops, func() { c.Forward(p, out.next(), x.next(), w, Epilogue{}, ws) })
			})
			b.Run("data", func(b *testing.B) {
				rate(b, flops, func() { c.BackwardData(p, dx.next(), y.next(), w, false, ws) })
			})
			b.Run("weights", func(b *testing.B) {
				rate(b, flops, func() { c.BackwardWeights(p, dw, x.next(), y.next(), false, ws) })
			})
		})
	}
}

func BenchmarkPeak(b *testing.B) {
	p := NewPool(runtime.GOMAXPROCS(0))
	defer p.Close()
	for b.Loop() {
		b.ReportMetric(PeakGFLOPS(p), "GFLOP/s")
	}
}

func BenchmarkGemm(b *testing.B) {
	p := NewPool(runtime.GOMAXPROCS(0))
	defer p.Close()
	r := rand.New(rand.NewPCG(1, 1))
	for _, d := range [][3]int{{64, 10, 512}, {512, 512, 512}, {64, 4096, 4096}, {1024, 1024, 64}} {
		m, n, k := d[0], d[1], d[2]
		a, bb, c := randoms(r, m*k), randoms(r, k*n), make([]float32, m*n)
		for mode := range 4 {
			ta, tb := mode&1 != 0, mode&2 != 0
			lda, ldb := k, n
			if ta {
				lda = m
			}
			if tb {
				ldb = k
			}
			ws := make([]float32, GemmWorkspace(ta, tb, m, n, k))
			b.Run(fmt.Sprintf("%dx%dx%d/%v-%v", m, n, k, ta, tb), func(b *testing.B) {
				rate(b, 2*float64(m*n*k), func() { Gemm(p, ta, tb, m, n, k, 1, a, lda, bb, ldb, 0, c, n, ws) })
			})
		}
	}
}

// uniforms returns n numbers in [-1,1), at the start of an allocation.
func uniforms(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = 2*r.Float32() - 1
	}
	return v
}

// bandwidth reports the best rate of memory traffic among the runs of f.
func bandwidth(b *testing.B, bytes int, f func()) {
	b.ReportAllocs()
	best := time.Duration(1 << 62)
	for b.Loop() {
		t := time.Now()
		f()
		best = min(best, time.Since(t))
	}
	b.ReportMetric(float64(bytes)/best.Seconds()/1e9, "best-GB/s")
}

func BenchmarkBatchNorm(b *testing.B) {
	p := NewPool(runtime.GOMAXPROCS(0))
	defer p.Close()
	r := rand.New(rand.NewPCG(1, 1))
	for _, d := range [][2]int{{32 * 32, 16}, {32 * 32, 64}, {16 * 16, 128}, {16 * 16, 40}, {16, 512}} {
		rows, c := *batch*d[0], d[1]
		n := rows * c
		x, dy, res, y := uniforms(r, n), uniforms(r, n), uniforms(r, n), make([]float32, n)
		v := uniforms(r, c)
		m, s := make([]float32, c), make([]float32, c)
		ws := make([]float32, BatchNormWorkspace(rows, c))
		b.Run(fmt.Sprintf("%dx%d/stats", rows, c), func(b *testing.B) {
			bandwidth(b, 4*n, func() { BatchNormStats(p, m, s, x, rows, c, ws) })
		})
		b.Run(fmt.Sprintf("%dx%d/apply", rows, c), func(b *testing.B) {
			bandwidth(b, 8*n, func() { BatchNormApply(p, y, x, v, v, nil, Positive, rows, c) })
		})
		b.Run(fmt.Sprintf("%dx%d/applyres", rows, c), func(b *testing.B) {
			bandwidth(b, 12*n, func() { BatchNormApply(p, y, x, v, v, res, Positive, rows, c) })
		})
		b.Run(fmt.Sprintf("%dx%d/gradstats", rows, c), func(b *testing.B) {
			bandwidth(b, 8*n, func() { BatchNormGradStats(p, m, s, dy, x, NormMask{Positive, nil, v, v}, v, v, rows, c, ws) })
		})
		b.Run(fmt.Sprintf("%dx%d/gradapply", rows, c), func(b *testing.B) {
			bandwidth(b, 12*n, func() {
				BatchNormGradApply(p, res, nil, dy, x, NormMask{Positive, nil, v, v}, v, v, v, false, false, rows, c)
			})
		})
	}
}

func BenchmarkElementwise(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	const n = 1 << 14
	x, y, z, m := uniforms(r, n), uniforms(r, n), uniforms(r, n), uniforms(r, n)
	for _, op := range []struct {
		name    string
		streams int
		f       func()
	}{
		{"Add", 3, func() { Add(z, x, y) }},
		{"Relu", 2, func() { Relu(z, x) }},
		{"Sum", 1, func() { Sum(x) }},
		{"SGDMomentum", 6, func() { SGDMomentum(z, y, x, m, 0.1, 0.9, 1e-4) }},
		{"BiPScore", 7, func() { BiPScore(z, y, x, x, m, 0.1, 0.9, 1) }},
		{"AddAbs", 3, func() { AddAbs(z, x, y) }},
		{"MarkKeys", 2, func() { MarkKeys(z, x, KeyOrder{Keep: 1<<31 - 1}, 0x3f000000) }},
		{"Exp", 2, func() { Exp(z, x) }},
		{"Sigmoid", 2, func() { Sigmoid(z, x) }},
		{"Tanh", 2, func() { Tanh(z, x) }},
		{"Erf", 2, func() { Erf(z, x) }},
	} {
		b.Run(op.name, func(b *testing.B) { bandwidth(b, 4*n*op.streams, op.f) })
	}
}

// BenchmarkFused compares a normalisation, a convolution and the sums of the
// next normalisation, forward and backward, as passes of their own and in one.
func BenchmarkFused(b *testing.B) {
	p := NewPool(runtime.GOMAXPROCS(0))
	defer p.Close()
	r := rand.New(rand.NewPCG(1, 1))
	for _, bs := range benchShapes {
		b.Run(bs.name, func(b *testing.B) {
			s := bs.s
			s.N = *batch
			c, f := NewConv(s), NewFusedConv(s)
			nx, ny := s.N*s.H*s.W, s.N*s.OH*s.OW
			ws := make([]float32, max(c.Workspace(), f.Workspace(), BatchNormWorkspace(nx, s.C), BatchNormWorkspace(ny, s.O)))
			x, w, y := newRing(r, nx*s.C), uniforms(r, s.O*s.C/s.Groups*s.KH*s.KW), newRing(r, ny*s.O)
			z, dx, dy := newRing(r, nx*s.C), newRing(r, nx*s.C), newRing(r, ny*s.O)
			dw, v, u := make([]float32, len(w)), uniforms(r, s.C), uniforms(r, s.O)
			in := &Affine{Scale: v, Shift: v, Range: Positive}
			mask := NormMask{Positive, nil, u, u}
			flops := 2 * float64(s.MACs())
			b.Run("forward/passes", func(b *testing.B) {
				rate(b, flops, func() {
					x, y, z := x.next(), y.next(), z.next()
					BatchNormApply(p, z, x, v, v, nil, Positive, nx, s.C)
					c.Forward(p, y, z, w, Epilogue{}, ws)
					BatchNormStats(p, u, u, y, ny, s.O, ws)
				})
			})
			b.Run("forward/fused", func(b *testing.B) {
				rate(b, flops, func() { f.Forward(p, y.next(), x.next(), w, in, u, u, ws) })
			})
			b.Run("backward/passes", func(b *testing.B) {
				rate(b, 2*flops, func() {
					x, y, z, dx, dy := x.next(), y.next(), z.next(), dx.next(), dy.next()
					BatchNormGradApply(p, dy, nil, dy, y, mask, u, u, u, false, false, ny, s.O)
					c.BackwardData(p, dx, dy, w, false, ws)
					c.BackwardWeights(p, dw, z, dy, false, ws)
					BatchNormGradStats(p, v, v, dx, x, NormMask{Positive, nil, v, v}, v, v, nx, s.C, ws)
				})
			})
			b.Run("backward/fused", func(b *testing.B) {
				rate(b, 2*flops, func() {
					f.Backward(p, FusedGrad{DZ: dy.next(), Y: y.next(), Mask: mask, A: u, B: u, D: u, X: x.next(), In: in, W: w, DX: dx.next(), DW: dw, SumDX: v, SumDXX: v, Mean: v, InvStd: v, SumX: x.next(), SumMask: NormMask{Positive, nil, v, v}}, ws)
				})
			})
		})
	}
}
