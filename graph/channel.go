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
	positionLimit = 1 << 21
	maxAxis       = 1 << 18
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
			c.room += 2 * v.Init.Size()
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
		why = &reason{n, "is control flow, whose inside is not followed"}
	case o == nil:
		if err := c.s.failed[n]; err != nil {
			why = &reason{n, "cannot be understood: " + err.Error()}
		} else if n.Def != nil {
			why = &reason{n, "has shapes that are not known"}
		}
	default:
		if _, ok := o.(op.ShapeReader); ok || c.shapeArithmetic(n) {
			return appliedRule{}
		}
		out = c.results(n, o, in, out)
		long := tooLong(in) || tooLong(out)
		if !long {
			rule, ruled = op.Couplings(o, in, out)
			long = ruled && !c.fits(rule, in, out)
		}
		if long {
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

// tooLong reports whether a tensor has an axis whose positions are not told apart.
func tooLong(ts []*op.Tensor) bool {
	return slices.ContainsFunc(ts, func(t *op.Tensor) bool {
		return t != nil && slices.ContainsFunc(t.Shape, func(d int) bool { return d > maxAxis })
	})
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
		why := &reason{nil, "could only go all at once"}
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
