package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestDepthRows compares every variant with the definition in float64, for all
// numbers of lanes and pixels around the sizes of the assembly.
func TestDepthRows(t *testing.T) {
	eachVariant(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, lanes := range []int{1, 7, 8, 9, 15, 16} {
			for _, n := range []int{1, 3, 4, 5, 9} {
				for mode := range 8 {
					t.Run(fmt.Sprintf("%d-%d-%d", lanes, n, mode), func(t *testing.T) { testDepthRows(t, r, lanes, n, mode) })
				}
			}
		}
	})
}

func testDepthRows(t *testing.T, r *rand.Rand, lanes, n, mode int) {
	const rows, tap = 3, 19
	stride := 1 + mode&1
	a := depthRowsArgs{
		tap: tap, tapRow: (n*stride + 2) * tap, step: stride * tap, row: stride * (n*stride + 2) * tap,
		yStep: 17, yRow: 17*n + 5, n: n, rows: rows, lanes: lanes, lo: -inf32, hi: inf32,
	}
	x, w := randoms(r, (stride*rows+3)*a.tapRow+2*depthLanes), randoms(r, depthTaps*depthLanes)
	x[2*a.tapRow+2*tap] = float32(math.NaN())
	x[3*a.tapRow] = inf32
	y, bias := newGuarded(rows*a.yRow, 3), newGuarded(lanes, 5)
	for i := range y.v {
		y.v[i] = float32(i%7) - 3
	}
	for i := range bias.v {
		bias.v[i] = float32(i) / 4
	}
	old := append([]float32(nil), y.v...)
	a.x, a.w, a.y = &x[0], &w[0], &y.v[0]
	if mode&2 != 0 {
		a.bias, a.lo, a.hi = &bias.v[0], -0.5, 2
	}
	if mode&4 != 0 {
		a.add = 1
	}
	depthRows(&a)
	y.check(t, "y")
	seen := make([]bool, len(old))
	for row := range rows {
		for p := range n {
			for l := range lanes {
				o := row*a.yRow + p*a.yStep + l
				seen[o] = true
				want, size := 0.0, 0.0
				add := func(v float64) { want += v; size += math.Abs(v) }
				if a.bias != nil {
					add(float64(bias.v[l]))
				}
				if a.add != 0 {
					add(float64(old[o]))
				}
				for k := range depthTaps {
					add(float64(x[row*a.row+p*a.step+k/3*a.tapRow+k%3*tap+l]) * float64(w[depthLanes*k+l]))
				}
				if want < float64(a.lo) {
					want = float64(a.lo)
				}
				if want > float64(a.hi) {
					want = float64(a.hi)
				}
				got := float64(y.v[o])
				if math.IsNaN(want) != math.IsNaN(got) || !math.IsNaN(want) && got != want && !(math.Abs(got-want) <= 2e-6*size) {
					t.Fatalf("row %d pixel %d lane %d: %v, want %v", row, p, l, got, want)
				}
			}
		}
	}
	for i, v := range old {
		if !seen[i] && y.v[i] != v {
			t.Fatalf("element %d, which is no output, was changed", i)
		}
	}

	x[2*a.tapRow+2*tap], x[3*a.tapRow] = 1, 1
	acc := newGuarded(depthTaps*depthLanes, 1)
	for i := range acc.v {
		acc.v[i] = float32(i % 3)
	}
	dy := randoms(r, rows*a.yRow+2*depthLanes)
	g := depthRowsGradArgs{
		x: &x[0], dy: &dy[0], acc: &acc.v[0], tap: a.tap, tapRow: a.tapRow, step: a.step, row: a.row,
		yStep: a.yStep, yRow: a.yRow, n: n, rows: rows,
	}
	depthRowsGrad(&g)
	acc.check(t, "sums")
	want, size := make([]float64, len(acc.v)), make([]float64, len(acc.v))
	for i := range want {
		want[i] = float64(i % 3)
		size[i] = want[i]
		for row := range rows {
			for p := range n {
				k, l := i/depthLanes, i%depthLanes
				v := float64(x[row*a.row+p*a.step+k/3*a.tapRow+k%3*tap+l]) * float64(dy[row*a.yRow+p*a.yStep+l])
				want[i] += v
				size[i] += math.Abs(v)
			}
		}
	}
	compare(t, "sum", acc.v, want, size)
}
