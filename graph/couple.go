package graph

import (
	"slices"

	"github.com/onnxprune/onnxprune/op"
)

// ruleInForce applies the couplings of one node.
type ruleInForce struct {
	c      *channels
	n      *Node
	hidden map[int][]int32
	why    *reason
}

// keepOpen freezes axes inside the operator whose length depends on open dimensions:
// repeats over the batch are no channels.
func (r *ruleInForce) keepOpen(rule []op.Coupling) {
	c := r.c
	if c.other == nil || c.other.Ops[r.n.Index] == nil {
		return
	}
	lengths := func(rule []op.Coupling) map[int]int {
		n := map[int]int{}
		for _, k := range rule {
			for _, s := range k.Sides {
				for _, f := range s.Of {
					if f.Hidden > 0 {
						n[f.Hidden] = f.Length
					}
				}
			}
		}
		return n
	}
	own := lengths(rule)
	if len(own) == 0 {
		return
	}
	o, in, out := c.other.Ops[r.n.Index], c.other.Args(r.n.In), c.other.Args(r.n.Out)
	if out = c.results(r.n, o, in, out); tooLong(in) || tooLong(out) {
		return
	}
	rule, _ = op.Couplings(o, in, out)
	there := lengths(rule)
	for k, n := range own {
		if there[k] != n {
			r.hidden[k] = r.factor(op.FixedAxis(n))
		}
	}
}

// value returns the value that a factor is an axis of.
func (r *ruleInForce) value(f op.Factor) *Value {
	vs, i := r.n.In, f.Tensor
	if i < 0 {
		vs, i = r.n.Out, ^i
	}
	if i >= len(vs) {
		return nil
	}
	return vs[i]
}

// fresh reports whether f is an output axis that nothing was said of.
func (r *ruleInForce) fresh(f op.Factor) bool {
	return f.Hidden == 0 && !f.Fixed && f.Tensor < 0 && r.c.axes[r.value(f).Index][f.Axis] == nil
}

// factor returns the atoms of a factor; new free ones for a fresh output axis.
func (r *ruleInForce) factor(f op.Factor) []int32 {
	c := r.c
	free := func(n int) []int32 {
		a := make([]int32, n)
		if n == 1 {
			a[0] = c.frozen(&reason{r.n, "could only go all at once"})
			return a
		}
		first := c.free(n)
		for p := range a {
			a[p] = first + int32(p)
		}
		return a
	}
	switch {
	case f.Fixed:
		a := make([]int32, f.Length)
		x := c.frozen(r.why)
		for p := range a {
			a[p] = x
		}
		return a
	case f.Hidden > 0:
		if r.hidden[f.Hidden] == nil {
			r.hidden[f.Hidden] = free(f.Length)
		}
		return r.hidden[f.Hidden]
	case f.Tensor >= 0:
		return c.at(r.value(f), f.Axis)
	}
	v := r.value(f)
	if c.axes[v.Index][f.Axis] == nil {
		c.axes[v.Index][f.Axis] = free(c.s.Of[v.Index].Shape[f.Axis])
	}
	a := c.axes[v.Index][f.Axis]
	for p := range a {
		if a[p] < 0 {
			a[p] = c.free(1)
		}
	}
	return a
}

// positions returns the atoms of the positions of a side.
func (r *ruleInForce) positions(s op.Side) []int32 {
	var all []int32
	if len(s.Of) == 1 {
		all = r.factor(s.Of[0])
	} else {
		factors := make([][]int32, len(s.Of))
		n := 1
		for i, f := range s.Of {
			factors[i] = r.factor(f)
			n *= len(factors[i])
		}
		all = make([]int32, n)
		moving := r.moving(factors)
		var set []int32
		eachProduct(factors, func(p int, idx []int) {
			set = set[:0]
			for f, i := range idx {
				if moving[f] {
					set = append(set, factors[f][i])
				}
			}
			switch {
			case len(set) == 1:
				all[p] = set[0]
			case len(set) > 1:
				all[p] = r.c.union(set)
			default:
				all[p] = r.still(factors, idx)
			}
		})
	}
	if s.At == nil {
		return all
	}
	at := make([]int32, len(s.At))
	for i, p := range s.At {
		at[i] = all[p]
	}
	return at
}

// still returns an atom that never goes for a position of a product of frozen factors.
func (r *ruleInForce) still(factors [][]int32, idx []int) int32 {
	for f, i := range idx {
		if len(factors[f]) > 1 {
			return factors[f][i]
		}
	}
	if len(factors) > 0 {
		return factors[0][idx[0]]
	}
	return r.c.frozen(r.why)
}

// moving tells which factors have a position that can go.
func (r *ruleInForce) moving(factors [][]int32) []bool {
	m := make([]bool, len(factors))
	for f, atoms := range factors {
		m[f] = slices.ContainsFunc(atoms, func(a int32) bool { return len(r.c.resolve(a)) > 0 })
	}
	return m
}

// apply makes the positions of all sides of a coupling go at once.
func (r *ruleInForce) apply(k op.Coupling, o op.Op) {
	sides := slices.DeleteFunc(slices.Clone(k.Sides), func(s op.Side) bool {
		return slices.ContainsFunc(s.Of, func(f op.Factor) bool { return f.Hidden == 0 && !f.Fixed && r.value(f) == nil })
	})
	if len(sides) == 0 {
		return
	}
	isFresh := func(s op.Side) bool { return slices.ContainsFunc(s.Of, r.fresh) }
	isPart := func(s op.Side) bool {
		return len(s.Of) == 1 && s.Of[0].Tensor < 0 && s.Of[0].Hidden == 0 && !s.Of[0].Fixed
	}
	zero := r.zeros(sides, o)
	// What is known gives the positions; what is new follows.
	first := slices.IndexFunc(sides, func(s op.Side) bool { return !isFresh(s) && !isPart(s) && len(s.Of) == 1 })
	if first < 0 {
		first = slices.IndexFunc(sides, func(s op.Side) bool { return !isFresh(s) && !isPart(s) })
	}
	if first < 0 {
		first = 0
	}
	of := r.positions(sides[first])
	for i, s := range sides {
		if i == first {
			continue
		}
		r.side(s, of)
	}
	for _, s := range sides {
		for _, f := range s.Of {
			if f.Hidden == 0 && !f.Fixed && f.Tensor < 0 {
				v := r.value(f)
				key := axisKey{^f.Tensor, f.Axis}
				r.c.zero[v.Index][f.Axis] = zero && (!r.was(key) || r.c.zero[v.Index][f.Axis])
			}
		}
	}
	if k.Sum && !r.zeroInput(sides) {
		why := &reason{r.n, "sums over the axis, where removed slices would not be zero"}
		for _, a := range of {
			r.c.freeze(a, why)
		}
	}
}

// was reports whether an output axis was in a coupling before, and notes that it is.
func (r *ruleInForce) was(key axisKey) bool {
	id := -1 - key.value*64 - key.axis // hidden axes have positive numbers
	_, seen := r.hidden[id]
	r.hidden[id] = []int32{}
	return seen
}

// side makes a side go with the atoms of.
func (r *ruleInForce) side(s op.Side, of []int32) {
	c := r.c
	n := len(of)
	if len(s.Of) == 1 && s.Of[0].Hidden == 0 && !s.Of[0].Fixed && s.Of[0].Tensor < 0 {
		f := s.Of[0]
		v := r.value(f)
		axis := c.axes[v.Index][f.Axis]
		if axis == nil {
			axis = make([]int32, c.s.Of[v.Index].Shape[f.Axis])
			for p := range axis {
				axis[p] = -1
			}
			c.axes[v.Index][f.Axis] = axis
		}
		for i := range n {
			p := i
			if s.At != nil {
				p = s.At[i]
			}
			if axis[p] < 0 {
				axis[p] = of[i]
			} else {
				c.equate(axis[p], of[i])
			}
		}
		return
	}
	if len(s.Of) == 1 || s.At != nil {
		c.match(of, r.positions(s))
		return
	}
	factors := make([][]int32, len(s.Of))
	for i, f := range s.Of {
		factors[i] = r.factor(f)
	}
	c.product(factors, of, r.why)
}

// zeros reports whether slices of the outputs that go with these sides are zero.
func (r *ruleInForce) zeros(sides []op.Side, o op.Op) bool {
	keeper, ok := o.(op.ZeroKeeper)
	if !ok {
		return false
	}
	zero := make([]bool, len(r.n.In))
	seen := make([]bool, len(r.n.In))
	part := slices.ContainsFunc(sides, func(s op.Side) bool {
		return s.At != nil && len(s.Of) == 1 && s.Of[0].Hidden == 0 && !s.Of[0].Fixed && s.Of[0].Tensor < 0
	})
	for i, v := range r.n.In {
		zero[i] = v == nil || part
	}
	for _, s := range sides {
		for _, f := range s.Of {
			if f.Hidden > 0 || f.Fixed || f.Tensor < 0 {
				continue
			}
			v := r.value(f)
			if !slices.ContainsFunc(r.c.at(v, f.Axis), func(a int32) bool { return len(r.c.resolve(a)) > 0 }) {
				continue
			}
			z := r.c.zero[v.Index][f.Axis]
			zero[f.Tensor] = z && (!seen[f.Tensor] || zero[f.Tensor])
			seen[f.Tensor] = true
		}
	}
	return keeper.Zeros(zero)
}

// zeroInput reports whether an input is zero along all its axes in the sides.
func (r *ruleInForce) zeroInput(sides []op.Side) bool {
	for _, s := range sides {
		for _, f := range s.Of {
			if f.Hidden == 0 && !f.Fixed && f.Tensor >= 0 && r.c.zero[r.value(f).Index][f.Axis] {
				return true
			}
		}
	}
	return false
}
