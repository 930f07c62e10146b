package op

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

// removal says which positions of the axes of a node go.
type removal struct {
	t       *testing.T
	rule    []Coupling
	in, out []*Tensor
	gone    map[Factor][]bool
}

func (r *removal) axis(f Factor) []bool {
	key := f
	if !f.Fixed && f.Hidden == 0 {
		key = Axis(f.Tensor, f.Axis)
	}
	if r.gone[key] == nil {
		n := f.Length
		if f.Hidden == 0 && !f.Fixed {
			x, k := r.in, f.Tensor
			if k < 0 {
				x, k = r.out, ^k
			}
			if k >= len(x) || x[k] == nil || f.Axis >= x[k].Rank() {
				r.t.Fatalf("coupling names axis %v, which is not there", f.AxisRef)
			}
			n = x[k].Shape[f.Axis]
		}
		r.gone[key] = make([]bool, n)
	}
	return r.gone[key]
}

// places lists, per position of a side, the places of its factors.
func (r *removal) places(s Side) [][]int {
	var shape []int
	for _, f := range s.Of {
		shape = append(shape, len(r.axis(f)))
	}
	var all [][]int
	Each(shape, func(idx []int) { all = append(all, slices.Clone(idx)) })
	if s.At == nil {
		return all
	}
	var at [][]int
	for _, p := range s.At {
		at = append(at, all[p])
	}
	return at
}

func (r *removal) goes(s Side, place []int) bool {
	for k, f := range s.Of {
		if r.axis(f)[place[k]] {
			return true
		}
	}
	return false
}

// close removes what must go besides, until all couplings hold: of a product, the
// positions of a factor all of whose places go, then of the longest factor that is
// not fixed. It reports false where nothing of that would do.
func (r *removal) close() bool {
	for again := true; again; {
		again = false
		for _, c := range r.rule {
			var places [][][]int
			for _, s := range c.Sides {
				places = append(places, r.places(s))
				if len(places[len(places)-1]) != len(places[0]) {
					r.t.Fatalf("coupling %v joins %d positions and %d", c, len(places[0]), len(places[len(places)-1]))
				}
			}
			must := make([]bool, len(places[0]))
			for i, s := range c.Sides {
				for p, place := range places[i] {
					must[p] = must[p] || r.goes(s, place)
				}
			}
			for i, s := range c.Sides {
				for p, place := range places[i] {
					if !must[p] || r.goes(s, place) {
						continue
					}
					best := -1
					for k, f := range s.Of {
						if f.Fixed {
							continue
						}
						whole := true
						for q, other := range places[i] {
							whole = whole && (other[k] != place[k] || must[q])
						}
						if whole {
							best = k
							break
						}
						if best < 0 || len(r.axis(f)) >= len(r.axis(s.Of[best])) {
							best = k
						}
					}
					if best < 0 {
						return false
					}
					r.axis(s.Of[best])[place[best]] = true
					again = true
				}
			}
		}
	}
	for _, gone := range r.gone {
		if len(gone) > 0 && !slices.Contains(gone, false) {
			return false
		}
	}
	return true
}

// checkCouplings removes a position of every axis that a rule names, with all that
// goes with it, and compares with the operator on slices that stay: they must come
// out the same whatever the removed slices hold, but for sums, where one side is zero.
// Where the operator says that zeros come out, they must.
func checkCouplings(t *testing.T, d *Def, cs Case, o Op, in []*Tensor) {
	t.Helper()
	p, _, err := forward(t, d, cs, clone(in), false, 1)
	if err != nil {
		t.Fatal(err)
	}
	rule, ok := Couplings(p.op, in, p.out)
	if !ok {
		return
	}
	seeds := map[Factor]bool{}
	var order []Factor
	for _, c := range rule {
		for _, s := range c.Sides {
			for _, f := range s.Of {
				if !f.Fixed && !seeds[f] {
					seeds[f] = true
					order = append(order, f)
				}
			}
		}
	}
	for _, seed := range order {
		for _, at := range []int{0, 1} {
			r := &removal{t: t, rule: rule, in: in, out: p.out, gone: map[Factor][]bool{}}
			if axis := r.axis(seed); at >= len(axis) || len(axis) < 2 {
				continue
			}
			r.axis(seed)[at] = true
			if r.close() {
				checkRemoval(t, d, cs, p.op, r, fmt.Sprintf("position %d of %v", at, seed))
			}
		}
	}
}

func checkRemoval(t *testing.T, d *Def, cs Case, o Op, r *removal, what string) {
	t.Helper()
	of := func(tensor int, x *Tensor) [][]bool {
		all := make([][]bool, x.Rank())
		for a := range all {
			if g := r.gone[Axis(tensor, a)]; slices.Contains(g, true) {
				all[a] = g
			}
		}
		return all
	}
	cut := clone(r.in)
	for i, x := range cut {
		if x == nil {
			continue
		}
		cut[i] = reduced(x, of(i, x), true)
	}
	change := Change{}
	if c, ok := o.(Cutter); ok {
		var err error
		change, err = c.Cut(&Cut{In: r.in, Out: r.out, New: cut, Gone: func(ref AxisRef) []bool {
			if g := r.gone[Axis(ref.Tensor, ref.Axis)]; slices.Contains(g, true) {
				return g
			}
			return nil
		}})
		if err != nil {
			t.Errorf("%s: cut: %v", what, err)
			return
		}
	}
	after := cs
	after.Attrs = Attrs{}
	maps.Copy(after.Attrs, cs.Attrs)
	maps.Copy(after.Attrs, change.Attrs)
	for _, name := range change.Drop {
		delete(after.Attrs, name)
	}
	after.In = slices.Clone(cs.In)
	for i, x := range change.Inputs {
		for len(after.In) <= i {
			after.In, cut = append(after.In, None()), append(cut, nil)
		}
		after.In[i], cut[i] = Const(x), x
	}
	b, _, err := forward(t, d, after, cut, false, 1)
	if err != nil {
		t.Errorf("%s: with slices deleted: %v", what, err)
		return
	}
	// Sums need zeros on one side; everything else may hold anything.
	for _, side := range []int{0, 1, -1} {
		masked := clone(r.in)
		zero := map[int]bool{}
		for _, c := range r.rule {
			if !c.Sum && side >= 0 {
				continue
			}
			var read []Side
			for _, s := range c.Sides {
				if slices.ContainsFunc(s.Of, func(f Factor) bool { return f.Hidden == 0 && !f.Fixed && f.Tensor >= 0 && r.in[f.Tensor].F != nil }) {
					read = append(read, s)
				}
			}
			for i, s := range read {
				if side >= 0 && i != min(side, len(read)-1) {
					continue
				}
				for _, f := range s.Of {
					if f.Hidden == 0 && !f.Fixed && f.Tensor >= 0 && r.in[f.Tensor].F != nil {
						g := make([][]bool, r.in[f.Tensor].Rank())
						g[f.Axis] = r.gone[Axis(f.Tensor, f.Axis)]
						masked[f.Tensor] = reduced(masked[f.Tensor], g, false)
						zero[f.Tensor] = true
					}
				}
			}
		}
		a, _, err := forward(t, d, cs, masked, false, 1)
		if err != nil {
			t.Fatal(err)
		}
		for j, y := range a.out {
			if y.Type.IsFloat() {
				compare(t, fmt.Sprintf("%s, zeros on side %d: output %d after deletion", what, side, j), b.out[j], toArray(reduced(y, of(^j, y), true)), 2e-5)
			}
		}
		if side < 0 {
			checkZeros(t, o, r, a, what)
		}
	}
}

// checkZeros compares what an operator says of zeros with a run whose removed slices
// are all zero.
func checkZeros(t *testing.T, o Op, r *removal, masked *pass, what string) {
	t.Helper()
	keeper, ok := o.(ZeroKeeper)
	if !ok {
		return
	}
	for _, c := range r.rule {
		if c.Sum {
			continue
		}
		zero := make([]bool, len(r.in))
		part := false
		for i, x := range r.in {
			zero[i] = x == nil
		}
		for _, s := range c.Sides {
			for _, f := range s.Of {
				if f.Hidden == 0 && !f.Fixed && f.Tensor >= 0 && r.in[f.Tensor].F != nil && slices.Contains(r.gone[Axis(f.Tensor, f.Axis)], true) {
					zero[f.Tensor] = true
				}
				part = part || f.Hidden == 0 && !f.Fixed && f.Tensor < 0 && s.At != nil
			}
		}
		for i := range zero {
			zero[i] = zero[i] || part
		}
		if !keeper.Zeros(zero) {
			continue
		}
		for _, s := range c.Sides {
			if len(s.Of) != 1 || s.Of[0].Tensor >= 0 || s.Of[0].Hidden > 0 || s.Of[0].Fixed {
				continue
			}
			f := s.Of[0]
			y := masked.out[^f.Tensor]
			if !y.Type.IsFloat() {
				continue
			}
			at := s.At
			if at == nil {
				for p := range y.Shape[f.Axis] {
					at = append(at, p)
				}
			}
			gone := r.gone[Axis(f.Tensor, f.Axis)]
			i := 0
			row := inLayout(y, RowMajor)
			Each(y.Shape, func(idx []int) {
				if p := idx[f.Axis]; gone != nil && gone[p] && slices.Contains(at, p) && row.F[i] != 0 {
					t.Fatalf("%s: coupling %v: output %d at %v is %v, the operator says zero", what, c, ^f.Tensor, idx, row.F[i])
				}
				i++
			})
		}
	}
}

// reduced zeroes or deletes the positions that go.
func reduced(t *Tensor, gone [][]bool, remove bool) *Tensor {
	t = inLayout(t, RowMajor)
	shape := slices.Clone(t.Shape)
	for a, g := range gone {
		for _, x := range g {
			if x && remove {
				shape[a]--
			}
		}
	}
	u := &Tensor{Type: t.Type, Shape: shape}
	u.Alloc()
	i, k := 0, 0
	Each(t.Shape, func(idx []int) {
		goes := false
		for a, p := range idx {
			goes = goes || gone[a] != nil && gone[a][p]
		}
		if !goes || !remove {
			switch {
			case t.F != nil && !goes:
				u.F[k] = t.F[i]
			case t.I != nil && !goes:
				u.I[k] = t.I[i]
			}
			k++
		}
		i++
	})
	return u
}
