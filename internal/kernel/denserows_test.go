package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestDenseRows compares every variant with the definition in float64, for all
// lengths of runs and numbers of channels around the sizes of the assembly.
func TestDenseRows(t *testing.T) {
	eachVariant(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, lanes := range []int{1, 7, 8, 9, 15, 16} {
			for _, n := range []int{1, 3, 4, 8, 13, 16, 17, 32} {
				for _, cin := range []int{1, 2, 5, 16} {
					for add := range 2 {
						t.Run(fmt.Sprintf("%d-%d-%d-%d", lanes, n, cin, add), func(t *testing.T) { testDenseRows(t, r, lanes, n, cin, add) })
					}
				}
			}
		}
	})
}

func testDenseRows(t *testing.T, r *rand.Rand, lanes, n, cin, add int) {
	const rows = 2
	a := denseRowsArgs{c: cin + 3, cin: cin, yStep: 17, yRow: 17*n + 5, n: n, rows: rows, lanes: lanes, add: add}
	a.pitch = (n+2)*a.c + 1
	x, w := randoms(r, (rows+2)*a.pitch), randoms(r, 9*cin*depthLanes)
	x[a.pitch+a.c] = float32(math.NaN())
	x[3*a.pitch] = inf32
	y := newGuarded(rows*a.yRow, 3)
	for i := range y.v {
		y.v[i] = float32(i%7) - 3
	}
	old := append([]float32(nil), y.v...)
	a.x, a.w, a.y = &x[0], &w[0], &y.v[0]
	denseRows(&a)
	y.check(t, "y")
	seen := make([]bool, len(old))
	for row := range rows {
		for p := range n {
			for l := range lanes {
				o := row*a.yRow + p*a.yStep + l
				seen[o] = true
				want := float64(add) * float64(old[o])
				size := math.Abs(want)
				for i := range 3 {
					for k := range cin {
						for j := range 3 {
							v := float64(x[(row+i)*a.pitch+(p+j)*a.c+k]) * float64(w[((i*cin+k)*3+j)*depthLanes+l])
							want += v
							size += math.Abs(v)
						}
					}
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
}
