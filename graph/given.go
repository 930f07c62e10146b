package graph

import (
	"math"
	"slices"
)

// learned reports whether v, which input i of n has elements of, may have been a parameter. Next to
// arithmetic, Where and lookups these are no scalars, no constants that normalise a graph input, none that are
// given, none that with nothing of the inputs go into a sine, as the frequencies of a rotary embedding, and none of several
// axes behind the last weights, as the boxes that a detector's outputs are relative to.
func (n *Node) learned(i int, v *Value, weightsBehind func(*Node) bool) bool {
	if n.Domain != "" {
		return true
	}
	switch n.Type {
	case "Einsum":
		return !n.oscillates()
	case "Gather", "GatherElements", "GatherND":
		return !v.given(n.Type)
	case "Where":
		return v.Init.Size() > 1 && !v.given("Add")
	case "Add", "Mul":
		return v.Init.Size() > 1 && !v.given(n.Type) && !n.beside(i).fromInput() && (len(longAxes(v.Init.Shape)) < 2 || weightsBehind(n)) && !n.oscillates()
	}
	return true
}

// oscillates reports whether a node computes the same for all that the graph's inputs may hold, on the way to a sine or
// cosine.
func (n *Node) oscillates() bool {
	budget := settledBudget
	seen := map[*Node]bool{n: true}
	for next := []*Node{n}; len(next) > 0; {
		n, next = next[len(next)-1], next[:len(next)-1]
		if slices.ContainsFunc(n.In, func(x *Value) bool { return !x.settled(&budget) }) {
			continue
		}
		if n.Domain == "" && (n.Type == "Sin" || n.Type == "Cos") {
			return true
		}
		for _, v := range n.Out {
			if v == nil {
				continue
			}
			for _, u := range v.Uses {
				if !seen[u.Node] {
					seen[u.Node] = true
					next = append(next, u.Node)
				}
			}
		}
	}
	return false
}

// given reports whether the elements of v, an operand of Add or Mul or the table of a Gather, are such as nothing learns: masks of
// attention, with elements that are not finite or at most −10⁴ to add, or zeros and ones to multiply with; or places and
// sizes, as the anchors and grids of detectors: whole or half numbers, different ones, not all within [−1,1].
func (v *Value) given(operator string) bool {
	f := v.Init.F
	if operator == "Add" && slices.ContainsFunc(f, func(x float32) bool { return !(x > -1e4 && x <= math.MaxFloat32) }) {
		return true
	}
	zero, one, large := false, false, false
	for _, x := range f {
		if y := 2 * float64(x); y != math.Trunc(y) {
			return false
		}
		zero, one, large = zero || x == 0, one || x == 1, large || x > 1 || x < -1
	}
	switch {
	case large:
		return slices.ContainsFunc(f, func(x float32) bool { return x != f[0] }) // one number may be a scale before training
	case operator == "Mul":
		return zero && one && !slices.ContainsFunc(f, func(x float32) bool { return x != 0 && x != 1 })
	}
	return false
}
