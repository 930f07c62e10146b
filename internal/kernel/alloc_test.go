package kernel

import (
	"math/rand/v2"
	"testing"
)

// TestAllocations checks that repeated calls allocate nothing.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	p := NewPool(2)
	defer p.Close()
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range []ConvShape{shape(8, 8, 8, 144, 160, 3, 1, 1), shape(8, 8, 8, 3, 16, 3, 1, 1), grouped(shape(8, 8, 8, 48, 48, 3, 2, 1), 48)} {
		c := NewConv(s)
		x, w, y := randoms(r, s.N*s.H*s.W*s.C), randoms(r, s.O*s.C/s.Groups*s.KH*s.KW), randoms(r, s.N*s.OH*s.OW*s.O)
		dx, dw := make([]float32, len(x)), make([]float32, len(w))
		ws := make([]float32, c.Workspace())
		eachVariant(t, func(t *testing.T) {
			if n := testing.AllocsPerRun(10, func() {
				c.Forward(p, y, x, w, Epilogue{}, ws)
				c.BackwardData(p, dx, y, w, true, ws)
				c.BackwardWeights(p, dw, x, y, true, ws)
			}); n >= 1 {
				t.Errorf("%v: %v allocations in a training step", s, n)
			}
		})
	}
	const m, n, k = 130, 70, 90
	a, b, c := randoms(r, m*k), randoms(r, k*n), make([]float32, m*n)
	ws := make([]float32, GemmWorkspace(false, false, m, n, k)+BatchNormWorkspace(m, n))
	mean, variance := make([]float32, n), make([]float32, n)
	eachVariant(t, func(t *testing.T) {
		if n := testing.AllocsPerRun(10, func() {
			Gemm(p, false, false, m, n, k, 1, a, k, b, n, 0, c, n, ws)
			Gemm(p, true, false, m, n, k, 1, a, m, b, n, 0, c, n, ws)
			BatchNormStats(p, mean, variance, c, m, n, ws)
			BatchNormApply(p, c, c, mean, variance, nil, Positive, m, n)
			BatchNormGradStats(p, mean, variance, c, c, NormMask{Positive, c, nil, nil}, mean, variance, m, n, ws)
			BatchNormGradApply(p, c, nil, c, c, NormMask{Positive, c, nil, nil}, mean, mean, mean, false, false, m, n)
			ColumnSums(p, mean, c, m, n, false)
		}); n >= 1 {
			t.Errorf("%v allocations in a product and a normalisation", n)
		}
	})
}
