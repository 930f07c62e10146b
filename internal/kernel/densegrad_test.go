package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// TestDenseGrad compares every variant with the definition in float64, for
// numbers of channels around the sizes of the assembly.
func TestDenseGrad(t *testing.T) {
	eachVariant(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, channels := range []int{1, 2, 3, 4, 5, 7, 8, 11, 16} {
			for _, n := range []int{1, 2, 5, 34} {
				for _, o := range []int{1, 5, 16} {
					t.Run(fmt.Sprintf("%d-%d-%d", channels, n, o), func(t *testing.T) { testDenseGrad(t, r, channels, n, o) })
				}
			}
		}
	})
}

func testDenseGrad(t *testing.T, r *rand.Rand, channels, n, o int) {
	const rows = 3
	a := denseGradArgs{c: channels + 3, o: o, n: n, rows: rows, channels: channels}
	a.pitch, a.dyPitch = n*a.c+1, (n+2)*o+2
	x, dy := newGuarded(rows*a.pitch, 1), newGuarded(2*o+rows*a.dyPitch+depthLanes, 2)
	copy(x.v, randoms(r, len(x.v)))
	copy(dy.v, randoms(r, len(dy.v)))
	acc := newGuarded(3*channels*depthLanes, 3)
	copy(acc.v, randoms(r, len(acc.v)))
	if n == 5 {
		x.v[2*a.c] = float32(math.NaN())
		x.v[a.pitch+a.c] = inf32
		dy.v[2*o] = -inf32
	}
	old := append([]float32(nil), acc.v...)
	a.x, a.dy, a.acc = &x.v[0], &dy.v[2*o], &acc.v[0]
	denseGrad(&a)
	x.check(t, "x")
	dy.check(t, "dy")
	acc.check(t, "sums")
	for k := range channels {
		for b := range 3 {
			for l := range depthLanes {
				i := (k*3+b)*depthLanes + l
				want := float64(old[i])
				size := math.Abs(want)
				for row := range rows {
					for q := range n {
						v := float64(x.v[row*a.pitch+q*a.c+k]) * float64(dy.v[2*o+row*a.dyPitch+(q-b)*o+l])
						want += v
						size += math.Abs(v)
					}
				}
				got := float64(acc.v[i])
				if math.IsNaN(want) != math.IsNaN(got) || !math.IsNaN(want) && got != want && !(math.Abs(got-want) <= 2e-6*size) {
					t.Fatalf("channel %d tap %d lane %d: %v, want %v", k, b, l, got, want)
				}
			}
		}
	}
}
