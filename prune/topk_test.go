package prune

import (
	"math"
	"slices"
	"sort"
	"testing"

	"github.com/onnxprune/onnxprune/internal/kernel"
	"pgregory.net/rapid"
)

// sortedMask selects by sorting: the definition that Select must meet.
func sortedMask(scores [][]float32, k int, key func(float32) float32) [][]float32 {
	type at struct{ slice, i int }
	var all []at
	masks := make([][]float32, len(scores))
	for s, v := range scores {
		masks[s] = make([]float32, len(v))
		for i := range v {
			all = append(all, at{s, i})
		}
	}
	sort.SliceStable(all, func(a, b int) bool {
		x, y := scores[all[a].slice][all[a].i], scores[all[b].slice][all[b].i]
		return key(x) > key(y)
	})
	for _, p := range all[:k] {
		masks[p.slice][p.i] = 1
	}
	return masks
}

func TestSelectExactly(t *testing.T) {
	for _, threads := range []int{1, 3} {
		pool := kernel.NewPool(threads)
		rapid.Check(t, func(t *rapid.T) {
			element := rapid.OneOf(
				rapid.SampledFrom([]float32{0, 1, -1, 0.5, float32(math.Copysign(0, -1)), 1e-40, -1e-40, math.MaxFloat32, float32(math.Inf(-1))}),
				rapid.Float32Range(-2, 2))
			var scores, masks [][]float32
			var lengths []int
			total := 0
			for n := rapid.IntRange(1, 4).Draw(t, "slices"); n > 0; n-- {
				v := rapid.SliceOfN(element, 0, 60).Draw(t, "scores")
				scores = append(scores, v)
				masks = append(masks, make([]float32, len(v)))
				lengths = append(lengths, len(v))
				total += len(v)
			}
			k := rapid.IntRange(0, total).Draw(t, "k")
			order, key := magnitude, func(v float32) float32 { return max(v, -v) }
			if rapid.Bool().Draw(t, "by value") {
				// −0 and +0 are equal for sorting and not for bits.
				order, key = value, func(v float32) float32 { return v }
				for _, s := range scores {
					for i := range s {
						s[i] += 0
					}
				}
			}
			NewSelector(pool, lengths, order).Select(scores, masks, k)
			want := sortedMask(scores, k, key)
			for s := range want {
				for i := range want[s] {
					if masks[s][i] != want[s][i] {
						t.Fatalf("k=%d: mask[%d][%d] is %v, sorting gives %v (scores %v)", k, s, i, masks[s][i], want[s][i], scores)
					}
				}
			}
		})
		pool.Close()
	}
}

// TestSelectTies spreads equal scores over several chunks: those that come first
// stay.
func TestSelectTies(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	n := 3*spanSize + 17
	scores := [][]float32{make([]float32, n), make([]float32, 100)}
	masks := [][]float32{make([]float32, n), make([]float32, 100)}
	for s := range scores {
		for i := range scores[s] {
			scores[s][i] = 0.25
		}
	}
	scores[1][99] = -3
	k := 2*spanSize + 5
	NewSelector(pool, []int{n, 100}, magnitude).Select(scores, masks, k)
	for i, m := range masks[0] {
		if want := i < k-1; (m == 1) != want {
			t.Fatalf("mask[%d] is %v", i, m)
		}
	}
	if masks[1][99] != 1 || masks[1][98] != 0 {
		t.Fatalf("the largest score is masked, or a later tie is not: %v", masks[1][98:])
	}
}

// TestSelectLarge checks the way through the sample, also where the sample
// misleads.
func TestSelectLarge(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	const n, every = 9 * sampleSize, 9
	for name, f := range map[string]func(i int) float32{
		"spread":     func(i int) float32 { return float32(i*7919%n) - n/3 },
		"ties":       func(i int) float32 { return float32(i * 7919 % n / 5000) },
		"equal":      func(int) float32 { return -1 },
		"misleading": func(i int) float32 { return float32(i) * float32(i%every) },
	} {
		lengths := []int{spanSize + 3, 5, n - spanSize - 8}
		var scores, masks [][]float32
		at := 0
		for _, l := range lengths {
			v := make([]float32, l)
			for i := range v {
				v[i] = f(at + i)
			}
			at += l
			scores, masks = append(scores, v), append(masks, make([]float32, l))
		}
		s := NewSelector(pool, lengths, value)
		for _, k := range []int{0, 1, 777, n / 5, n / 2, n - 1, n} {
			want := sortedMask(scores, k, func(v float32) float32 { return v })
			for range 2 {
				s.Select(scores, masks, k)
				for i := range want {
					if !slices.Equal(masks[i], want[i]) {
						t.Errorf("%s: k %d: mask %d differs from that of sorting", name, k, i)
					}
				}
			}
		}
	}
}

func BenchmarkSelect(b *testing.B) {
	pool := kernel.NewPool(0)
	defer pool.Close()
	const n = 11 << 20
	scores := make([]float32, n)
	for i := range scores {
		scores[i] = float32(math.Sin(float64(i)))
	}
	mask := make([]float32, n)
	s := NewSelector(pool, []int{n}, value)
	b.SetBytes(4 * n)
	b.ReportAllocs()
	for b.Loop() {
		s.Select([][]float32{scores}, [][]float32{mask}, n/5)
	}
}
