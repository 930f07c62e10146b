package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

var fusedShapes = []ConvShape{
	shape(5, 8, 8, 16, 16, 3, 1, 1),
	shape(3, 20, 19, 16, 16, 3, 1, 1),
	shape(2, 9, 34, 9, 13, 3, 1, 0),
	shape(2, 7, 8, 12, 5, 3, 1, 2),
	shape(17, 4, 4, 40, 24, 3, 1, 1),
	shape(9, 9, 7, 20, 33, 3, 2, 1),
	shape(3, 16, 16, 24, 70, 1, 1, 0),
	shape(2, 7, 7, 70, 17, 1, 2, 0),
	shape(2, 20, 20, 130, 70, 1, 1, 0),
	shape(19, 10, 10, 3, 16, 3, 1, 1),
	shape(2, 15, 15, 3, 40, 7, 2, 3),
	shape(4, 6, 6, 5, 9, 3, 1, 1),
	grouped(shape(5, 8, 8, 32, 32, 3, 1, 1), 32),
	grouped(shape(18, 4, 4, 100, 100, 3, 1, 1), 100),
	grouped(shape(3, 9, 11, 50, 50, 3, 2, 1), 50),
	grouped(shape(2, 8, 8, 7, 7, 3, 1, 0), 7),
	grouped(shape(2, 9, 9, 20, 20, 5, 1, 2), 20),
	grouped(shape(2, 9, 9, 20, 40, 3, 1, 1), 4),
	{N: 3, H: 9, W: 8, C: 18, O: 18, KH: 3, KW: 3, OH: 4, OW: 8, StrideH: 2, StrideW: 1, PadTop: 0, PadLeft: 2, DilH: 1, DilW: 1, Groups: 18},
	{N: 3, H: 8, W: 8, C: 19, O: 19, KH: 3, KW: 3, OH: 6, OW: 4, StrideH: 1, StrideW: 2, PadTop: 0, PadLeft: 1, DilH: 1, DilW: 1, Groups: 19},
}

// near compares two results of which each is rounded.
func near(t *testing.T, name string, got guarded, want []float32) {
	t.Helper()
	got.check(t, name)
	size := 0.0
	for _, v := range want {
		size = max(size, math.Abs(float64(v)))
	}
	for i, v := range want {
		if d := math.Abs(float64(got.v[i]) - float64(v)); !(d <= 2e-5*size) {
			t.Fatalf("%s[%d] = %v, want %v", name, i, got.v[i], v)
		}
	}
}

// TestFusedConv compares the passes in one with the passes one by one.
func TestFusedConv(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	for _, s := range fusedShapes {
		t.Run(s.String(), func(t *testing.T) {
			eachVariant(t, func(t *testing.T) {
				for mode := range 6 {
					testFusedConv(t, p, s, mode)
				}
			})
		})
	}
}

func testFusedConv(t *testing.T, p *Pool, s ConvShape, mode int) {
	r := rand.New(rand.NewPCG(7, uint64(mode)))
	nx, ny := s.N*s.H*s.W, s.N*s.OH*s.OW
	x, w, dz := randoms(r, nx*s.C), randoms(r, s.O*s.C/s.Groups*s.KH*s.KW), randoms(r, ny*s.O)
	c := NewConv(s)
	cws, nws := make([]float32, c.Workspace()), make([]float32, max(BatchNormWorkspace(nx, s.C), BatchNormWorkspace(ny, s.O)))
	var in *Affine
	z := x
	if mode&1 != 0 || mode&4 != 0 {
		in = &Affine{Scale: randoms(r, s.C), Shift: randoms(r, s.C), Range: Range{-0.25, 1.5}}
		z = make([]float32, len(x))
	}
	keep := mode&4 != 0
	if keep {
		in.Z = make([]float32, len(x))
		if mode&1 != 0 {
			in.Res = randoms(r, len(x))
		}
	}
	if in != nil {
		BatchNormApply(p, z, x, in.Scale, in.Shift, in.Res, in.Range, nx, s.C)
	}
	y, mean, variance := make([]float32, ny*s.O), make([]float32, s.O), make([]float32, s.O)
	c.Forward(p, y, z, w, Epilogue{}, cws)
	BatchNormStats(p, mean, variance, y, ny, s.O, nws)

	f := NewFusedConv(s)
	ws := newGuarded(f.Workspace(), 3)
	fy, fmean, fvar := newGuarded(len(y), 1), newGuarded(s.O, 2), newGuarded(s.O, 4)
	f.Forward(p, fy.v, x, w, in, fmean.v, fvar.v, ws.v)
	near(t, "y", fy, y)
	if keep {
		for i, v := range z {
			if in.Z[i] != v {
				t.Fatalf("z[%d] = %v, want %v", i, in.Z[i], v)
			}
		}
	}
	near(t, "mean", fmean, mean)
	near(t, "variance", fvar, variance)

	g := FusedGrad{DZ: dz, X: x, In: in, W: w, SumX: x, Mean: randoms(r, s.C), InvStd: randoms(r, s.C)}
	dy, dres := dz, make([]float32, len(dz))
	fres := newGuarded(len(dz), 1)
	if mode&2 != 0 {
		g.Y, g.A, g.B, g.D = y, randoms(r, s.O), randoms(r, s.O), randoms(r, s.O)
		act := make([]float32, len(y))
		BatchNormApply(p, act, y, g.A, g.D, nil, Positive, ny, s.O)
		g.Mask = NormMask{Range: Positive, Y: act}
		copy(fres.v, dz)
		copy(dres, dz)
		g.DRes, g.AddDRes = fres.v, in != nil
		dy = make([]float32, len(dz))
		BatchNormGradApply(p, dy, dres, dz, y, g.Mask, g.A, g.B, g.D, false, g.AddDRes, ny, s.O)
	}
	dx, dw := make([]float32, len(x)), make([]float32, len(w))
	c.BackwardData(p, dx, dy, w, false, cws)
	c.BackwardWeights(p, dw, z, dy, false, cws)
	fdx, fdw := newGuarded(len(dx), 5), newGuarded(len(dw), 6)
	sums, want := newGuarded(2*s.C, 3), make([]float32, 2*s.C)
	g.DX, g.DW = fdx.v, fdw.v
	if in != nil {
		g.SumDX, g.SumDXX = sums.v[:s.C], sums.v[s.C:]
		g.SumMask = NormMask{Range: in.Range, Scale: in.Scale, Shift: in.Shift}
	}
	if keep {
		g.X, g.In, g.SumMask = z, nil, NormMask{Range: in.Range, Y: z}
		g.AddDX = true
		old := randoms(r, len(dx))
		copy(fdx.v, old)
		Add(dx, dx, old)
	}
	if in != nil {
		BatchNormGradStats(p, want[:s.C], want[s.C:], dx, x, g.SumMask, g.Mean, g.InvStd, nx, s.C, nws)
	}
	f.Backward(p, g, ws.v)
	near(t, "dx", fdx, dx)
	near(t, "dw", fdw, dw)
	ws.check(t, "workspace")
	if in != nil {
		near(t, "sums", sums, want)
	}
	if g.DRes != nil {
		near(t, "dres", fres, dres)
	}

	// Once more, added; and without what is not wanted.
	if keep {
		clear(dx)
		c.BackwardData(p, dx, dy, w, false, cws)
		Add(dx, dx, fdx.v)
	} else {
		Scale(dx, dx, 2)
	}
	g.AddDX, g.AddDW, g.SumDX, g.AddDRes = true, true, nil, false
	f.Backward(p, g, ws.v)
	Scale(dw, dw, 2)
	near(t, "dx, added", fdx, dx)
	near(t, "dw, added", fdw, dw)
	g.AddDX, g.DX = false, nil
	f.Backward(p, g, ws.v)
	near(t, "dx, not wanted", fdx, dx)
}

// TestFusedConvThreads checks that every bit is the same at any number of
// threads, and that repeated calls allocate nothing.
func TestFusedConvThreads(t *testing.T) {
	for _, s := range fusedShapes {
		r := rand.New(rand.NewPCG(3, 4))
		x, w, dz := randoms(r, s.N*s.H*s.W*s.C), randoms(r, s.O*s.C/s.Groups*s.KH*s.KW), randoms(r, s.N*s.OH*s.OW*s.O)
		in := &Affine{Scale: randoms(r, s.C), Shift: randoms(r, s.C), Range: Positive}
		v := randoms(r, s.C)
		a := randoms(r, s.O)
		eachVariant(t, func(t *testing.T) {
			var ref []float32
			for _, threads := range []int{1, 2, 3, 8} {
				p := NewPool(threads)
				f := NewFusedConv(s)
				ws := make([]float32, f.Workspace())
				all := make([]float32, len(dz)+2*s.O+len(x)+len(w)+2*s.C)
				next := all
				take := func(n int) []float32 { s := next[:n:n]; next = next[n:]; return s }
				y, mean, variance := take(len(dz)), take(s.O), take(s.O)
				g := FusedGrad{DZ: dz, Y: y, A: a, B: a, D: a, X: x, In: in, W: w, DX: take(len(x)), DW: take(len(w)), SumDX: take(s.C), SumDXX: take(s.C), Mean: v, InvStd: v, SumX: x, SumMask: NormMask{Positive, nil, v, v}}
				step := func() {
					f.Forward(p, y, x, w, in, mean, variance, ws)
					f.Backward(p, g, ws)
				}
				step()
				if ref == nil {
					ref = all
				}
				same(t, s.String(), all, ref)
				if threads == 2 && !raceEnabled {
					if n := testing.AllocsPerRun(5, step); n >= 1 {
						t.Errorf("%v: %v allocations in a step", s, n)
					}
				}
				p.Close()
			}
		})
	}
}
