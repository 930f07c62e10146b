package graph

import (
	varint "encoding/binary"
	"slices"
)

// terms says when positions of axes go. Every position has an atom; an atom is free
// (then it is a unit of its own), or bound to a set of atoms: it goes when any of
// these goes. Bound to the empty set, it never goes, and a reason says why.
//
// Equating two atoms is unification in the semilattice of sets under union. A free
// atom takes the other's set, which loses nothing. Where two sets would need new
// atoms to describe all that is possible, atoms are merged instead: what goes then
// goes together, which is coarser and always valid.
type terms struct {
	atoms []atom
}

type atom struct {
	bound bool
	set   []int32
	why   *reason
}

// reason is why something never goes: at a node, or nil.
type reason struct {
	node *Node
	text string
}

// free adds n free atoms and returns the first.
func (t *terms) free(n int) int32 {
	first := int32(len(t.atoms))
	t.atoms = append(t.atoms, make([]atom, n)...)
	return first
}

// frozen adds an atom that never goes.
func (t *terms) frozen(why *reason) int32 {
	t.atoms = append(t.atoms, atom{bound: true, why: why})
	return int32(len(t.atoms) - 1)
}

// union adds an atom that goes when any of the given goes.
func (t *terms) union(of []int32) int32 {
	var why *reason
	for _, a := range of {
		if w := t.reason(a); w != nil && why == nil {
			why = w
		}
	}
	set := slices.Clone(of)
	slices.Sort(set)
	t.atoms = append(t.atoms, atom{bound: true, set: slices.Compact(set), why: why})
	return int32(len(t.atoms) - 1)
}

// resolve returns the free atoms that a stands for, ascending; the result must not
// be changed.
func (t *terms) resolve(a int32) []int32 {
	if !t.atoms[a].bound {
		return []int32{a}
	}
	set := t.atoms[a].set
	current := slices.IsSorted(set)
	for _, b := range set {
		current = current && !t.atoms[b].bound
	}
	if current {
		return set
	}
	var all []int32
	for _, b := range set {
		all = append(all, t.resolve(b)...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) == 0 && t.atoms[a].why == nil {
		t.atoms[a].why = t.reason(set[0])
	}
	t.atoms[a].set = all
	return all
}

// reason returns why a never goes, or nil.
func (t *terms) reason(a int32) *reason {
	if len(t.resolve(a)) > 0 || !t.atoms[a].bound {
		return nil
	}
	return t.atoms[a].why
}

// bind gives a free atom a set that it is not part of.
func (t *terms) bind(a int32, set []int32, why *reason) {
	t.atoms[a] = atom{bound: true, set: slices.Clone(set), why: why}
}

// freeze makes everything that a stands for stay.
func (t *terms) freeze(a int32, why *reason) {
	for _, x := range slices.Clone(t.resolve(a)) {
		t.bind(x, nil, why)
	}
}

// equate makes two atoms go at once.
func (t *terms) equate(a, b int32) {
	x, y := t.resolve(a), t.resolve(b)
	switch {
	case slices.Equal(x, y):
	case len(x) == 0:
		t.freeze(b, t.reason(a))
	case len(y) == 0:
		t.freeze(a, t.reason(b))
	default:
		t.equateSets(x, y)
	}
}

// equateSets makes two different sets of free atoms, neither empty, equal.
func (t *terms) equateSets(x, y []int32) {
	onlyX, onlyY := without(x, y), without(y, x)
	switch {
	case len(onlyX) == 0:
		t.merge(onlyY, x[0])
	case len(onlyY) == 0:
		t.merge(onlyX, y[0])
	case len(onlyX) == 1 && len(onlyY) == 1:
		t.bind(max(onlyX[0], onlyY[0]), []int32{min(onlyX[0], onlyY[0])}, nil)
	case len(onlyX) == 1:
		t.bind(onlyX[0], onlyY, nil)
	case len(onlyY) == 1:
		t.bind(onlyY[0], onlyX, nil)
	default:
		one := min(onlyX[0], onlyY[0])
		t.merge(onlyX, one)
		t.merge(onlyY, one)
	}
}

// merge makes free atoms the same as one.
func (t *terms) merge(set []int32, one int32) {
	for _, a := range set {
		if a != one {
			t.bind(a, []int32{one}, nil)
		}
	}
}

// product makes position p of a row-major product of factors go when of[p] goes:
// factors[f][i] are the atoms of the factors. Where the sets of the positions are
// unions of sets that belong to positions of the factors, the factors get these.
// Otherwise, if of are single atoms, they take the sets of the product. Otherwise one
// factor, the longest, is kept, and positions that differ only in the others go
// together; why then says that of what the others lose.
func (t *terms) product(factors [][]int32, of []int32, why *reason) {
	lower := make([][][]int32, len(factors))
	seen := make([][]bool, len(factors))
	for f := range factors {
		lower[f], seen[f] = make([][]int32, len(factors[f])), make([]bool, len(factors[f]))
	}
	single := true
	eachProduct(factors, func(p int, idx []int) {
		set := t.resolve(of[p])
		single = single && len(set) <= 1
		for f, i := range idx {
			if !seen[f][i] {
				seen[f][i] = true
				lower[f][i] = set
			} else if len(lower[f][i]) > 0 {
				lower[f][i] = both(lower[f][i], set)
			}
		}
		if r := t.reason(of[p]); r != nil {
			why = r
		}
	})
	fits := true
	var all []int32
	eachProduct(factors, func(p int, idx []int) {
		if !fits {
			return
		}
		all = all[:0]
		for f, i := range idx {
			all = append(all, lower[f][i]...)
		}
		slices.Sort(all)
		fits = slices.Equal(slices.Compact(all), t.resolve(of[p]))
	})
	long := 0
	for f := range factors {
		if len(factors[f]) >= len(factors[long]) {
			long = f
		}
	}
	if !fits && single {
		set := make([]int32, len(factors))
		eachProduct(factors, func(p int, idx []int) {
			for f, i := range idx {
				set[f] = factors[f][i]
			}
			t.equate(of[p], t.union(set))
		})
		return
	}
	for f := range factors {
		for i, a := range factors[f] {
			if fits || f != long {
				t.become(a, lower[f][i], why)
			}
		}
	}
	if fits {
		return
	}
	eachProduct(factors, func(p int, idx []int) {
		var others []int32
		for f, i := range idx {
			if f != long {
				others = append(others, t.resolve(t.union(lower[f][i]))...)
			}
		}
		slices.Sort(others)
		t.become(factors[long][idx[long]], without(t.resolve(of[p]), slices.Compact(others)), why)
	})
}

// become makes a go with a set of atoms, or never, if the set is empty.
func (t *terms) become(a int32, set []int32, why *reason) {
	if len(set) == 0 {
		t.freeze(a, why)
		return
	}
	t.equate(a, t.union(set))
}

// match makes positions of two axes go at once. Atoms that occupy the same positions
// of both are matched first, so that products of the same shape stay products.
func (t *terms) match(x, y []int32) {
	several := false
	for p := range x {
		a, b := t.resolve(x[p]), t.resolve(y[p])
		several = several || len(a) > 1 && len(b) > 1 && !slices.Equal(a, b)
	}
	if several {
		places := func(axis []int32) (order []int32, at map[int32]string) {
			ps := map[int32][]byte{}
			for p := range axis {
				for _, a := range t.resolve(axis[p]) {
					if ps[a] == nil {
						order = append(order, a)
					}
					ps[a] = varint.AppendUvarint(ps[a], uint64(p))
				}
			}
			at = map[int32]string{}
			for a, b := range ps {
				at[a] = string(b)
			}
			return order, at
		}
		orderX, atX := places(x)
		orderY, atY := places(y)
		byPlace := map[string][]int32{}
		for _, a := range orderX {
			if atY[a] != atX[a] {
				byPlace[atX[a]] = append(byPlace[atX[a]], a)
			}
		}
		for _, b := range orderY {
			if list := byPlace[atY[b]]; len(list) > 0 && atX[b] != atY[b] {
				t.equate(list[0], b)
				byPlace[atY[b]] = list[1:]
			}
		}
	}
	for p := range x {
		t.equate(x[p], y[p])
	}
}

// eachProduct calls f for all positions of a row-major product.
func eachProduct(factors [][]int32, f func(p int, idx []int)) {
	n := 1
	for _, x := range factors {
		n *= len(x)
	}
	idx := make([]int, len(factors))
	for p := range n {
		f(p, idx)
		for k := len(idx) - 1; k >= 0; k-- {
			if idx[k]++; idx[k] < len(factors[k]) {
				break
			}
			idx[k] = 0
		}
	}
}

// without returns the elements of a that are not in b; both ascend.
func without(a, b []int32) []int32 {
	var out []int32
	for _, x := range a {
		if _, found := slices.BinarySearch(b, x); !found {
			out = append(out, x)
		}
	}
	return out
}

// both returns the elements that are in a and in b; both ascend.
func both(a, b []int32) []int32 {
	var out []int32
	for _, x := range a {
		if _, found := slices.BinarySearch(b, x); found {
			out = append(out, x)
		}
	}
	return out
}
