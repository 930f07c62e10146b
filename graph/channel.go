package graph

import (
	"fmt"
	"slices"

	"github.com/onnxprune/onnxprune/op"
)

// channels holds, while a graph is analysed, when every position of every axis goes.
type channels struct {
	terms
	g *Graph
	s *Shapes
	// other has the shapes at other sizes of what the file leaves open; nil where it
	// leaves nothing open.
	other *Shapes
	// axes has the atoms of positions: axes[value index][axis]; nil where nothing was
	// said yet, −1 in an output that its node has not finished.
	axes [][][]int32
	// zero tells where slices that go are exactly zero in the masked model.
	zero [][]bool
	// constant marks values that are computed from initializers only.
	constant []bool
	weight   map[*Value]bool
	// whole lists tensors that a node without a channel rule reads.
	whole map[*Value]*reason
	// produces marks axes of initializers whose slices compute a channel.
	produces map[axisKey]bool
	captured map[*Node][]*Value
	// sparse names initializers in sparse form, which are not cut.
	sparse map[string]bool
	// room is the number of positions that may still be looked at.
	room int
}

// positionLimit is the number of positions of axes that an analysis looks at in a model
// without initializers, and maxAxis the longest axis of a value whose positions are
// told apart. No network comes near; a hostile file must not fill the memory.
const (
	positionLimit = 1 << 25
	maxAxis       = 1 << 22
)

type axisKey struct{ value, axis int }

// analyse applies the channel rules of all nodes, in order. other are the shapes at
// other sizes of open dimensions, or nil. stay are nodes whose axes are frozen
// beforehand, with the reason.
func (g *Graph) analyse(s, other *Shapes, stay map[*Node]string) *channels {
	c := &channels{
		g: g, s: s, other: other, axes: make([][][]int32, len(g.Values)), zero: make([][]bool, len(g.Values)),
		constant: make([]bool, len(g.Values)), weight: g.maskedWeights(), whole: map[*Value]*reason{},
		produces: map[axisKey]bool{}, captured: map[*Node][]*Value{}, sparse: map[string]bool{},
	}
	if g.File != nil {
		for _, t := range g.File.Proto.GetGraph().GetSparseInitializer() {
			c.sparse[t.GetValues().GetName()] = true
		}
	}
	c.room = positionLimit
	for _, v := range g.Values {
		if v.FromInit {
			c.room += 8 * v.Init.Size()
		}
		for _, u := range v.Uses {
			if u.Input < 0 {
				c.captured[u.Node] = append(c.captured[u.Node], v)
			}
		}
		c.constant[v.Index] = v.source()
	}
	var applied []appliedRule
	for _, n := range g.Nodes {
		if r := c.node(n, stay[n]); r.node != nil {
			applied = append(applied, r)
		}
	}
	for _, v := range g.Outputs {
		c.freezeValue(v, &reason{nil, "is a graph output"})
	}
	slices.Reverse(applied)
	for _, r := range applied {
		c.direct(r)
	}
	return c
}

// source reports whether v holds elements of its own: an initializer, or the result
// of a Constant node.
func (v *Value) source() bool { return v.FromInit || v.Producer != nil && v.Producer.isConstant() }

// isConstant reports whether n is a Constant node that holds a tensor.
func (n *Node) isConstant() bool {
	return n.Domain == "" && n.Type == "Constant" && n.Attrs["value"].Kind == op.KindTensor
}

// maskedWeights are the initializers and constants whose slices the masked model has
// at zero: what operators declare as parameters, also behind operators that only move
// elements.
func (g *Graph) maskedWeights() map[*Value]bool {
	w := map[*Value]bool{}
	for _, n := range g.Nodes {
		if n.Def == nil {
			continue
		}
		for _, i := range n.Def.Params {
			if i >= len(n.In) || n.In[i] == nil || arithmetic(n) && n.beside(i).fromInput() {
				continue
			}
			for _, v := range n.In[i].origins() {
				if v.Init != nil && v.Init.F != nil || v.Producer != nil && v.Producer.Attrs["value"].T.F != nil {
					w[v] = true
				}
			}
		}
	}
	return w
}

// moved returns the values whose elements v has in another order or shape; none where v
// is computed.
func (v *Value) moved() []*Value {
	n := v.Producer
	if n == nil || n.Domain != "" || len(n.In) == 0 {
		return nil
	}
	switch n.Type {
	case "Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast", "Split", "Slice", "Gather":
		return n.In[:1]
	case "Concat":
		return n.In
	}
	return nil
}

// origins are the initializers and constants that v consists of; none where it is
// computed.
func (v *Value) origins() []*Value {
	var found []*Value
	seen := map[*Value]bool{}
	var walk func(v *Value) bool
	walk = func(v *Value) bool {
		if v == nil || seen[v] {
			return v != nil
		}
		seen[v] = true
		if v.source() {
			found = append(found, v)
			return true
		}
		from := v.moved()
		for _, u := range from {
			if !walk(u) {
				return false
			}
		}
		return len(from) > 0
	}
	if !walk(v) {
		return nil
	}
	return found
}

// appliedRule is a node with its couplings.
type appliedRule struct {
	node      *Node
	couplings []op.Coupling
}

// node applies the rule of one node.
func (c *channels) node(n *Node, stay string) appliedRule {
	if n.isConstant() {
		return appliedRule{}
	}
	o := c.s.Ops[n.Index]
	in, out := c.s.Args(n.In), c.s.Args(n.Out)
	why := &reason{n, "has no channel rule"}
	var rule []op.Coupling
	ruled := false
	switch {
	case stay != "":
		why = &reason{n, stay}
	case n.Subgraphs:
		why = &reason{n, "has a subgraph"}
	case o == nil:
		if err := c.s.failed[n]; err != nil {
			why = &reason{n, "cannot be understood: " + err.Error()}
		} else if n.Def != nil {
			why = &reason{n, "its shapes are not known"}
		}
	default:
		if _, ok := o.(op.ShapeReader); ok || c.shapeArithmetic(n) {
			return appliedRule{}
		}
		out = c.results(n, o, in, out)
		if rule, ruled = op.Couplings(o, in, out); ruled && !c.fits(rule, in, out) {
			ruled = false
			why = &reason{n, "has axes that are too long to follow"}
		}
	}
	if !ruled {
		for _, v := range slices.Concat(n.In, c.captured[n]) {
			if v == nil {
				continue
			}
			c.freezeValue(v, why)
			for _, src := range v.origins() {
				if c.whole[src] == nil && c.weightless(src) {
					c.whole[src] = why
				}
			}
		}
		return appliedRule{}
	}
	constant := true
	for i, v := range n.In {
		// Integers that are known, as positions computed from shapes, compute nothing.
		constant = constant && (v == nil || c.constant[v.Index] || in[i].IsConst() && !in[i].Type.IsFloat())
	}
	for _, v := range n.Out {
		if v != nil {
			c.constant[v.Index] = constant
			if t := c.s.Of[v.Index]; t != nil {
				c.axes[v.Index] = make([][]int32, t.Rank())
				c.zero[v.Index] = make([]bool, t.Rank())
			}
		}
	}
	r := &ruleInForce{c: c, n: n, hidden: map[int][]int32{}, why: &reason{n, "mixes the positions of the axis"}}
	r.keepOpen(rule)
	mentioned := map[axisKey]bool{}
	for _, k := range rule {
		r.apply(k, o)
		for _, s := range k.Sides {
			for _, f := range s.Of {
				if f.Hidden == 0 && !f.Fixed && f.Tensor >= 0 {
					mentioned[axisKey{f.Tensor, f.Axis}] = true
				}
			}
		}
	}
	for i, v := range n.In {
		if v == nil || in[i] == nil || !v.source() && in[i].IsConst() && !in[i].Type.IsFloat() {
			continue
		}
		for a := range in[i].Shape {
			if !mentioned[axisKey{i, a}] && c.known(v, a) {
				c.freezeAxis(v, a, r.why)
			}
		}
	}
	for _, v := range n.Out {
		if v == nil {
			continue
		}
		for _, axis := range c.axes[v.Index] {
			for p := range axis {
				if axis[p] < 0 {
					axis[p] = c.frozen(r.why)
				}
			}
		}
	}
	return appliedRule{n, rule}
}

// results are the types and shapes of all results of a node, also of those that the
// file leaves out.
func (c *channels) results(n *Node, o op.Op, in, out []*op.Tensor) []*op.Tensor {
	if !slices.Contains(out, nil) && len(out) > 0 {
		return out
	}
	all, err := o.Infer(in)
	if err != nil {
		return out
	}
	return all
}

// fits reports whether the positions that a rule names are few enough to look at, and
// takes them off what is left.
func (c *channels) fits(rule []op.Coupling, in, out []*op.Tensor) bool {
	total := 0
	for _, k := range rule {
		for _, s := range k.Sides {
			n := 1
			for _, f := range s.Of {
				d := f.Length
				if f.Hidden == 0 && !f.Fixed {
					ts, i := in, f.Tensor
					if i < 0 {
						ts, i = out, ^i
					}
					if i >= len(ts) || ts[i] == nil || f.Axis >= ts[i].Rank() {
						return false
					}
					d = ts[i].Shape[f.Axis]
				}
				if d > maxAxis || n > maxAxis/max(1, d) {
					return false
				}
				n *= d
			}
			total += n + len(s.At)
		}
	}
	if total > c.room {
		return false
	}
	c.room -= total
	return true
}

// weightless reports whether v is a float initializer with more than one element,
// which a list of frozen tensors should name.
func (c *channels) weightless(v *Value) bool {
	return v.FromInit && v.Init.F != nil && v.Init.Size() > 1
}

// shapeArithmetic reports whether a node computes integers that are known already.
func (c *channels) shapeArithmetic(n *Node) bool {
	for _, vs := range [][]*Value{n.In, n.Out} {
		for _, v := range vs {
			if v == nil {
				continue
			}
			if t := c.s.Of[v.Index]; t == nil || t.Type.IsFloat() || !t.IsConst() {
				return false
			}
		}
	}
	return true
}

// known reports whether something was said about an axis.
func (c *channels) known(v *Value, axis int) bool {
	return c.axes[v.Index] != nil && c.axes[v.Index][axis] != nil
}

// at returns the atoms of an axis, new ones where nothing was said yet: free ones for
// initializers, frozen ones for what comes from elsewhere.
func (c *channels) at(v *Value, axis int) []int32 {
	t := c.s.Of[v.Index]
	if c.axes[v.Index] == nil {
		c.axes[v.Index] = make([][]int32, t.Rank())
		c.zero[v.Index] = make([]bool, t.Rank())
	}
	if a := c.axes[v.Index][axis]; a != nil {
		return a
	}
	n := t.Shape[axis]
	a := make([]int32, n)
	switch {
	case v.source() && n > 1 && !c.sparse[v.Name]:
		first := c.free(n)
		for p := range a {
			a[p] = first + int32(p)
		}
		c.zero[v.Index][axis] = c.weight[v]
	default:
		why := &reason{nil, "has one position"}
		if !v.source() {
			why = &reason{v.Producer, "mixes the positions of the axis"}
			if v.Producer == nil {
				why.text = "is a graph input"
			}
		} else if c.sparse[v.Name] {
			why.text = "is stored as a sparse tensor"
		}
		f := c.frozen(why)
		for p := range a {
			a[p] = f
		}
	}
	c.axes[v.Index][axis] = a
	return a
}

func (c *channels) freezeValue(v *Value, why *reason) {
	t := c.s.Of[v.Index]
	if t == nil {
		return
	}
	for a, n := range t.Shape {
		if n > maxAxis || !c.known(v, a) && !v.source() {
			continue // no rule reads it, or it has nothing that could go
		}
		if v.source() && !c.known(v, a) {
			// Later nodes must find it frozen.
			f := c.frozen(why)
			c.at(v, a)
			for p := range c.axes[v.Index][a] {
				c.axes[v.Index][a][p] = f
			}
			continue
		}
		c.freezeAxis(v, a, why)
	}
}

func (c *channels) freezeAxis(v *Value, axis int, why *reason) {
	for _, a := range c.at(v, axis) {
		c.freeze(a, why)
	}
}

// direct says for the constants at a node whether their slices compute a channel or
// read one; it is called in reverse order of the nodes.
func (c *channels) direct(r appliedRule) {
	// Hidden axes that go with what is computed carry it to other couplings.
	inside := map[int]bool{}
	for range 2 {
		for _, k := range r.couplings {
			if k.Sum || !c.computes(r.node, k, inside) {
				continue
			}
			for _, s := range k.Sides {
				for _, f := range s.Of {
					switch {
					case f.Fixed:
					case f.Hidden > 0:
						inside[f.Hidden] = true
					case f.Tensor >= 0:
						if v := r.node.In[f.Tensor]; v != nil && c.constant[v.Index] {
							c.produces[axisKey{v.Index, f.Axis}] = true
						}
					}
				}
			}
		}
	}
}

// computes reports whether a coupling has an output that is no constant, or one whose
// slices compute a channel further on.
func (c *channels) computes(n *Node, k op.Coupling, inside map[int]bool) bool {
	for _, s := range k.Sides {
		for _, f := range s.Of {
			if f.Hidden > 0 && inside[f.Hidden] {
				return true
			}
			if f.Hidden > 0 || f.Fixed || f.Tensor >= 0 || ^f.Tensor >= len(n.Out) || n.Out[^f.Tensor] == nil {
				continue
			}
			if v := n.Out[^f.Tensor]; !c.constant[v.Index] || c.produces[axisKey{v.Index, f.Axis}] {
				return true
			}
		}
	}
	return false
}

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
	rule, _ = op.Couplings(o, in, c.results(r.n, o, in, out))
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
			a[0] = c.frozen(&reason{r.n, "has one position"})
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

// String names a node's reason as tables show it.
func (r *reason) String() string {
	if r == nil {
		return ""
	}
	if r.node == nil {
		return r.text
	}
	return fmt.Sprintf("%s %s", r.node, r.text)
}
