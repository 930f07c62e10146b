package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// guard is the number of canary elements on both sides of a slice.
const guard = 32

const canary = float32(-1.2345e30)

// guarded is a slice between two zones that a kernel must leave alone, at an
// address that is no multiple of the vector size.
type guarded struct {
	all, v []float32
}

func newGuarded(n, shift int) guarded {
	all := make([]float32, n+2*guard)
	for i := range all {
		all[i] = canary
	}
	return guarded{all, all[guard-shift%8 : guard-shift%8+n : guard-shift%8+n]}
}

func (g guarded) check(t *testing.T, name string) {
	t.Helper()
	at := 0
	for &g.all[at] != &g.v[0] {
		at++
	}
	for i, v := range g.all {
		if (i < at || i >= at+len(g.v)) && v != canary {
			t.Fatalf("%s: wrote outside its slice, at %d of [0,%d)", name, i-at, len(g.v))
		}
	}
}

func randoms(r *rand.Rand, n int) []float32 {
	g := newGuarded(n, 3)
	for i := range g.v {
		g.v[i] = float32(r.NormFloat64())
	}
	return g.v
}

// eachVariant runs f under every variant that is available here.
func eachVariant(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	was := Active()
	defer Force(was)
	for _, v := range Variants() {
		if err := Force(v); err != nil {
			t.Fatal(err)
		}
		t.Run(v, f)
	}
}

// compare checks got against want, with a tolerance relative to the sum of
// magnitudes that each value was summed from.
func compare(t *testing.T, name string, got []float32, want, size []float64) {
	t.Helper()
	for i, g := range got {
		if d := math.Abs(float64(g) - want[i]); !(d <= 2e-6*size[i]+1e-7) {
			t.Fatalf("%s[%d] = %v, want %v (off by %.3g, magnitude %.3g)", name, i, g, want[i], d, size[i])
		}
	}
}

func same(t *testing.T, name string, a, b []float32) {
	t.Helper()
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			t.Fatalf("%s[%d]: %v and %v differ", name, i, a[i], b[i])
		}
	}
}

func TestForce(t *testing.T) {
	was := Active()
	defer Force(was)
	for _, v := range Variants() {
		if err := Force(v); err != nil || Active() != v {
			t.Errorf("Force(%q): active %q, error %v", v, Active(), err)
		}
	}
	if err := Force("sse9"); err == nil {
		t.Error("an unknown variant was accepted")
	}
}

func TestPool(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 8} {
		t.Run(fmt.Sprint(threads), func(t *testing.T) {
			p := NewPool(threads)
			defer p.Close()
			for _, n := range []int{0, 1, 2, 7, 1000} {
				for range 50 {
					count := make([]int32, n)
					p.Run(n, func(task, worker int) {
						if worker < 0 || worker >= threads {
							panic("worker out of range")
						}
						count[task]++
					})
					for i, c := range count {
						if c != 1 {
							t.Fatalf("task %d of %d ran %d times", i, n, c)
						}
					}
				}
			}
			sums := make([]int, 10)
			p.Run(10, func(task, _ int) {
				p.Run(5, func(inner, _ int) { sums[task] += inner })
			})
			for i, s := range sums {
				if s != 10 {
					t.Errorf("nested run of task %d: %d, want 10", i, s)
				}
			}
			func() {
				defer func() {
					if recover() == nil {
						t.Error("a panic in a task was lost")
					}
				}()
				p.Run(20, func(task, _ int) {
					if task == 13 {
						panic("thirteen")
					}
				})
			}()
			ran := false
			p.Run(1, func(int, int) { ran = true })
			if !ran {
				t.Error("no run after a panic")
			}
		})
	}
}
