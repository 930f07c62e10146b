package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

var normShapes = [][2]int{{1, 1}, {5, 3}, {64, 16}, {100, 17}, {333, 20}, {50, 64}, {2000, 24}, {700, 130}, {9, 1000}, {3000, 33}, {40, 2100}}

func TestBatchNorm(t *testing.T) {
	for _, d := range normShapes {
		t.Run(fmt.Sprint(d), func(t *testing.T) {
			eachVariant(t, func(t *testing.T) { testBatchNorm(t, d[0], d[1]) })
		})
	}
}

func testBatchNorm(t *testing.T, rows, c int) {
	p := NewPool(2)
	defer p.Close()
	r := rand.New(rand.NewPCG(15, 16))
	n := rows * c
	x, dy, res := randoms(r, n), randoms(r, n), randoms(r, n)
	for i := range x {
		x[i] += float32(100 * (i%c%3 - 1)) // a mean far from zero
	}
	ws := newGuarded(BatchNormWorkspace(rows, c), 3)
	mean, variance := newGuarded(c, 1), newGuarded(c, 2)
	BatchNormStats(p, mean.v, variance.v, x, rows, c, ws.v)
	wantMean, wantVar, one := make([]float64, c), make([]float64, c), make([]float64, c)
	for i, v := range x {
		wantMean[i%c] += float64(v) / float64(rows)
	}
	for i, v := range x {
		d := float64(v) - wantMean[i%c]
		wantVar[i%c] += d * d / float64(rows)
	}
	for j := range one {
		one[j] = 1 + math.Abs(wantMean[j])
	}
	compare(t, "mean", mean.v, wantMean, one)
	for j := range one {
		one[j] = 1 + wantVar[j]
	}
	compare(t, "variance", variance.v, wantVar, one)
	mean.check(t, "mean")
	variance.check(t, "variance")
	ws.check(t, "workspace")

	scale, shift := randoms(r, c), randoms(r, c)
	y := newGuarded(n, 5)
	for mode := range 6 {
		rs, clip := res, []Range{Unbounded, Positive, {-0.5, 1.5}}[mode/2]
		if mode&1 == 0 {
			rs = nil
		}
		BatchNormApply(p, y.v, x, scale, shift, rs, clip, rows, c)
		for i, v := range y.v {
			w := float64(x[i])*float64(scale[i%c]) + float64(shift[i%c])
			if rs != nil {
				w += float64(res[i])
			}
			w = min(max(w, float64(clip.Lo)), float64(clip.Hi))
			if math.Abs(float64(v)-w) > 1e-4 {
				t.Fatalf("apply %d: y[%d] = %v, want %v", mode, i, v, w)
			}
		}
		y.check(t, "y")
	}

	inv := make([]float32, c)
	for j := range inv {
		inv[j] = float32(1 / math.Sqrt(wantVar[j]+1e-5))
	}
	a, b, d := randoms(r, c), randoms(r, c), randoms(r, c)
	dbeta, dgamma, dx, dres := newGuarded(c, 3), newGuarded(c, 4), newGuarded(n, 6), newGuarded(n, 7)
	for mode := range 24 {
		rm, mask := dres.v, []NormMask{{}, {Range{-0.5, 1.5}, y.v, nil, nil}, {Range{-1, 2}, nil, scale, shift}}[mode/8]
		if mode&1 == 0 {
			rm = nil
		}
		addDx, addRes := mode&2 != 0, mode&4 != 0
		copy(dx.v, res)
		copy(dres.v, x)
		BatchNormGradStats(p, dbeta.v, dgamma.v, dy, x, mask, mean.v, inv, rows, c, ws.v)
		BatchNormGradApply(p, dx.v, rm, dy, x, mask, a, b, d, addDx, addRes, rows, c)
		beta, gamma := newSum(c), newSum(c)
		for i := range n {
			j, g := i%c, dy[i]
			switch q := float64(x[i])*float64(scale[j]) + float64(shift[j]); {
			case mask.Y != nil && !(y.v[i] > -0.5 && y.v[i] < 1.5), mask.Scale != nil && !(q > -1 && q < 2):
				g = 0
			}
			beta.add(j, g, 1)
			gamma.v[j] += float64(g) * (float64(x[i]) - float64(mean.v[j])) * float64(inv[j])
			gamma.size[j] += math.Abs(float64(g)) * (5 + 1e-5*100*float64(inv[j]))
			want := float64(a[j])*float64(g) + float64(b[j])*float64(x[i]) + float64(d[j])
			if addDx {
				want += float64(res[i])
			}
			if math.Abs(float64(dx.v[i])-want) > 1e-4 {
				t.Fatalf("grad %d: dx[%d] = %v, want %v", mode, i, dx.v[i], want)
			}
			wantRes := g
			if addRes {
				wantRes += x[i]
			}
			if rm == nil {
				wantRes = x[i]
			}
			if dres.v[i] != wantRes {
				t.Fatalf("grad %d: dres[%d] = %v, want %v", mode, i, dres.v[i], wantRes)
			}
		}
		compare(t, "dbeta", dbeta.v, beta.v, beta.size)
		compare(t, "dgamma", dgamma.v, gamma.v, gamma.size)
		for name, g := range map[string]guarded{"dbeta": dbeta, "dgamma": dgamma, "dx": dx, "dres": dres, "workspace": ws} {
			g.check(t, name)
		}
	}
	ColumnSums(p, dbeta.v, x, rows, c, false)
	ColumnSums(p, dbeta.v, dy, rows, c, true)
	s := newSum(c)
	for i := range n {
		s.add(i%c, x[i], 1)
		s.add(i%c, dy[i], 1)
	}
	compare(t, "column sums", dbeta.v, s.v, s.size)
}

// TestNormThreads checks that sums are the same at any number of threads.
func TestNormThreads(t *testing.T) {
	const rows, c = 5000, 48
	r := rand.New(rand.NewPCG(17, 18))
	x, dy := randoms(r, rows*c), randoms(r, rows*c)
	eachVariant(t, func(t *testing.T) {
		var ref []float32
		for _, threads := range []int{1, 2, 3, 8} {
			p := NewPool(threads)
			ws := make([]float32, BatchNormWorkspace(rows, c))
			out := make([]float32, 5*c)
			BatchNormStats(p, out[:c], out[c:2*c], x, rows, c, ws)
			BatchNormGradStats(p, out[2*c:3*c], out[3*c:4*c], dy, x, NormMask{Positive, x, nil, nil}, out[:c], out[c:2*c], rows, c, ws)
			ColumnSums(p, out[4*c:], dy, rows, c, false)
			if ref == nil {
				ref = out
			}
			same(t, "sums", out, ref)
			p.Close()
		}
	})
}
