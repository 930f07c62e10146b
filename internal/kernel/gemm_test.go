package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func TestGemm(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	for _, d := range [][3]int{{1, 1, 1}, {1, 10, 64}, {7, 16, 5}, {64, 10, 128}, {16, 33, 40}, {97, 48, 31}, {130, 65, 77}, {17, 17, 17}, {24, 100, 0}, {5, 40, 4100}, {40, 17, 600}} {
		m, n, k := d[0], d[1], d[2]
		for mode := range 4 {
			transA, transB := mode&1 != 0, mode&2 != 0
			for _, ab := range [][2]float32{{1, 0}, {0.5, 1}, {-2, 0.25}, {0, 2}} {
				alpha, beta := ab[0], ab[1]
				t.Run(fmt.Sprint(m, "x", n, "x", k, transA, transB, alpha, beta), func(t *testing.T) {
					testGemm(t, p, 1, transA, transB, m, n, k, alpha, beta, false)
				})
			}
		}
	}
	for mode := range 8 {
		t.Run(fmt.Sprint("batched", mode), func(t *testing.T) {
			testGemm(t, p, 3, mode&1 != 0, mode&2 != 0, 19, 37, 21, 1, 0, mode&4 != 0)
		})
	}
}

func testGemm(t *testing.T, p *Pool, batch int, transA, transB bool, m, n, k int, alpha, beta float32, shared bool) {
	r := rand.New(rand.NewPCG(uint64(m), uint64(n)))
	rowsA, colsA, rowsB, colsB := m, k, k, n
	if transA {
		rowsA, colsA = k, m
	}
	if transB {
		rowsB, colsB = n, k
	}
	lda, ldb, ldc := colsA+3, colsB+1, n+2
	strideA, strideB, strideC := rowsA*lda+1, rowsB*ldb+2, m*ldc+5
	if shared {
		strideB = 0
	}
	a, b, c0 := randoms(r, batch*strideA+lda), randoms(r, batch*strideB+rowsB*ldb+ldb), randoms(r, batch*strideC)
	want, size := make([]float64, len(c0)), make([]float64, len(c0))
	for i, v := range c0 {
		want[i] = float64(v)
	}
	for q := range batch {
		for i := range m {
			for j := range n {
				var s, mag float64
				for l := range k {
					ai, bi := i*lda+l, l*ldb+j
					if transA {
						ai = l*lda + i
					}
					if transB {
						bi = j*ldb + l
					}
					v := float64(a[q*strideA+ai]) * float64(b[q*strideB+bi])
					s += v
					mag += math.Abs(v)
				}
				o := q*strideC + i*ldc + j
				size[o] = mag*math.Abs(float64(alpha)) + math.Abs(float64(beta)*want[o])
				want[o] = float64(alpha)*s + float64(beta)*want[o]
			}
		}
	}
	eachVariant(t, func(t *testing.T) {
		ws := newGuarded(max(1, GemmBatchedWorkspace(batch, transA, transB, m, n, k, strideA, strideB)), 1)
		c := newGuarded(len(c0), 6)
		copy(c.v, c0)
		if beta == 0 {
			for q := range batch {
				for i := range m {
					Fill(c.v[q*strideC+i*ldc:][:n], float32(math.NaN()))
				}
			}
		}
		GemmBatched(p, batch, transA, transB, m, n, k, alpha, a, lda, strideA, b, ldb, strideB, beta, c.v, ldc, strideC, ws.v)
		compare(t, "C", c.v, want, size)
		c.check(t, "C")
		ws.check(t, "workspace")
	})
}
