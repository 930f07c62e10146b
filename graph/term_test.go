package graph

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Everything that was once made to go together goes together at the end, whatever was
// said afterwards.
func TestTermsStayEqual(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ts := &terms{}
		why := &reason{text: "test"}
		var axes [][]int32
		for range rapid.IntRange(2, 6).Draw(rt, "axes") {
			n := rapid.SampledFrom([]int{2, 3, 4, 6, 12}).Draw(rt, "length")
			axis := make([]int32, n)
			first := ts.free(n)
			for p := range axis {
				axis[p] = first + int32(p)
			}
			axes = append(axes, axis)
		}
		var held []func() bool
		same := func(a, b []int32) bool { return slices.Equal(ts.resolve(a[0]), ts.resolve(b[0])) }
		for range rapid.IntRange(1, 12).Draw(rt, "rules") {
			x := rapid.SampledFrom(axes).Draw(rt, "x")
			switch rapid.IntRange(0, 3).Draw(rt, "rule") {
			case 0:
				y := rapid.SampledFrom(axes).Draw(rt, "y")
				n := min(len(x), len(y))
				ts.match(x[:n], y[:n])
				for p := range n {
					held = append(held, func() bool { return same(x[p:], y[p:]) })
				}
			case 1:
				a, b := rapid.SampledFrom(axes).Draw(rt, "a"), rapid.SampledFrom(axes).Draw(rt, "b")
				if len(a)*len(b) > len(x) {
					continue
				}
				of := x[:len(a)*len(b)]
				ts.product([][]int32{a, b}, of, why)
				eachProduct([][]int32{a, b}, func(p int, idx []int) {
					i, j := idx[0], idx[1]
					held = append(held, func() bool {
						u := ts.union([]int32{a[i], b[j]})
						return slices.Equal(ts.resolve(u), ts.resolve(of[p]))
					})
				})
			case 2:
				p := rapid.IntRange(0, len(x)-1).Draw(rt, "p")
				ts.freeze(x[p], why)
				held = append(held, func() bool { return len(ts.resolve(x[p])) == 0 && ts.reason(x[p]) != nil })
			case 3:
				y := rapid.SampledFrom(axes).Draw(rt, "y")
				p, q := rapid.IntRange(0, len(x)-1).Draw(rt, "p"), rapid.IntRange(0, len(y)-1).Draw(rt, "q")
				ts.equate(x[p], y[q])
				held = append(held, func() bool { return same(x[p:], y[q:]) })
			}
			for k, h := range held {
				if !h() {
					rt.Fatalf("what was said as number %d no longer holds", k)
				}
			}
		}
	})
}

// A split axis keeps heads and places apart, and a second split of it finds them again.
func TestProductsAreFoundAgain(t *testing.T) {
	ts := &terms{}
	axis := func(n int) []int32 {
		a := make([]int32, n)
		first := ts.free(n)
		for p := range a {
			a[p] = first + int32(p)
		}
		return a
	}
	c, heads, places := axis(6), axis(2), axis(3)
	ts.product([][]int32{heads, places}, c, nil)
	if n := len(ts.resolve(c[0])); n != 2 {
		t.Errorf("position 0 goes with %d units, want 2", n)
	}
	h, p := axis(2), axis(3)
	ts.product([][]int32{h, p}, c, nil)
	for i := range h {
		if !slices.Equal(ts.resolve(h[i]), ts.resolve(heads[i])) {
			t.Errorf("head %d became %v, want %v", i, ts.resolve(h[i]), ts.resolve(heads[i]))
		}
	}
	for j := range p {
		if !slices.Equal(ts.resolve(p[j]), ts.resolve(places[j])) {
			t.Errorf("place %d became %v, want %v", j, ts.resolve(p[j]), ts.resolve(places[j]))
		}
	}
	// Another product of the same shape, joined as a sum of two attentions is.
	d, h2, p2 := axis(6), axis(2), axis(3)
	ts.product([][]int32{h2, p2}, d, nil)
	ts.match(c, d)
	if !slices.Equal(ts.resolve(h2[1]), ts.resolve(heads[1])) || slices.Equal(ts.resolve(h2[0]), ts.resolve(h2[1])) {
		t.Error("joined products fall together")
	}
}
