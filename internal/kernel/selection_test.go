package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestKeys(t *testing.T) {
	orders := []KeyOrder{
		{Keep: math.MaxUint32 >> 1},
		{Flip: math.MaxUint32 >> 1, Toggle: 1 << 31, Keep: math.MaxUint32},
	}
	eachVariant(t, func(t *testing.T) {
		if above, equal := CountKeys(nil, nil, orders[0], 0, 1), MarkKeys(nil, nil, orders[0], 0); above != 0 || equal != 0 {
			t.Fatalf("no elements: %d above, %d equal", above, equal)
		}
		r := rand.New(rand.NewPCG(3, 4))
		for i, n := range append(lengths, 48) {
			for _, o := range orders {
				v := newGuarded(n, i)
				copy(v.v, special(r, n))
				keys := make([]uint32, n)
				for k, x := range v.v {
					keys[k] = o.Key(x)
				}
				sorted := append(slices.Clone(keys), 0, math.MaxUint32)
				slices.Sort(sorted)
				lo, hi := sorted[r.IntN(len(sorted))], sorted[r.IntN(len(sorted))]
				lo, hi = min(lo, hi), max(lo, hi)

				near := make([]uint8, (n+7)/8+1)
				for k := range near {
					near[k] = 0xa5
				}
				wantNear, wantAbove := make([]uint8, (n+7)/8+1), 0
				wantNear[len(wantNear)-1] = 0xa5
				m, wantEqual := newGuarded(n, i), 0
				for k, key := range keys {
					if key > hi {
						wantAbove++
					}
					if lo <= key && key <= hi {
						wantNear[k/8] |= 1 << (k % 8)
					}
					if key == hi {
						wantEqual++
					}
				}
				if above := CountKeys(v.v, near, o, lo, hi); above != wantAbove || !slices.Equal(near, wantNear) {
					t.Fatalf("%d elements, keys %x, bounds %x to %x: %d above, marks %b; want %d, %b", n, keys, lo, hi, above, near, wantAbove, wantNear)
				}
				if equal := MarkKeys(m.v, v.v, o, hi); equal != wantEqual {
					t.Fatalf("%d elements, keys %x, threshold %x: %d equal, want %d", n, keys, hi, equal, wantEqual)
				}
				for k, key := range keys {
					if (m.v[k] == 1) != (key > hi) || m.v[k] != 0 && m.v[k] != 1 {
						t.Fatalf("key %x, threshold %x: mask %v", key, hi, m.v[k])
					}
				}
				m.check(t, "mask")
				v.check(t, "values")
			}
		}
	})
}
