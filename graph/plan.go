package graph

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/onnxprune/onnxprune/op"
)

// Plan says what a removal changes in a model: which positions leave which axes, and
// what nodes need so that they fit the shorter axes.
type Plan struct {
	gs      *Groups
	gone    [][]bool // per axis of gs.axes; nil where nothing goes
	changes map[*Node]op.Change
}

// Plan works out what a removal changes. The error names all nodes that cannot be
// adapted.
func (gs *Groups) Plan(removed [][]bool) (*Plan, error) {
	r := gs.NewRemoval()
	for g := range removed {
		for u, gone := range removed[g] {
			r.Set(g, u, gone)
		}
	}
	p, found := gs.plan(r)
	var errs problems
	for _, x := range found {
		errs.add("%s: %s", x.node, x.text)
	}
	return p, errs.err(gs.graph.Name)
}

// problem is a node that a removal cannot leave as it is, nor adapt.
type problem struct {
	node *Node
	text string
}

// rehearse removes a unit of every group, then of every second, and returns what would
// not work. Sizes that agree by chance with all groups do not with half of them.
func (gs *Groups) rehearse() []problem {
	for _, chosen := range []func(g int) bool{
		func(int) bool { return true }, func(g int) bool { return g%2 == 0 }, func(g int) bool { return g%2 == 1 },
	} {
		r := gs.NewRemoval()
		for g := range gs.Groups {
			if chosen(g) && !r.Empties(g, 0) {
				r.Set(g, 0, true)
			}
		}
		if _, found := gs.plan(r); len(found) > 0 {
			return found
		}
	}
	return nil
}

func (gs *Groups) plan(r *Removal) (*Plan, []problem) {
	p := gs.newPlan(r)
	found := p.try(nil)
	if gs.other == nil || len(found) > 0 {
		return p, found
	}
	// What a node needs must not depend on the sizes that the file leaves open.
	s := gs.other.NewRemoval()
	for g := range r.removed {
		for u, gone := range r.removed[g] {
			twin := gs.twin[g][u]
			s.Set(twin.group, twin.unit, gone)
		}
	}
	other := gs.other.newPlan(s)
	if found = other.try(nil); len(found) > 0 {
		return p, found
	}
	differs := false
	asked := maps.Clone(p.changes)
	for _, n := range gs.graph.Nodes {
		a, b := asked[n], other.changes[n]
		if sameChange(a, b) {
			continue
		}
		if merged, ok := p.merge(other, n, a, b); ok {
			p.changes[n] = merged
		} else if !p.mergeBefore(other, n, asked) {
			found = append(found, problem{n, "would need constants that depend on open dimensions"})
			continue
		}
		differs = true
	}
	if differs && len(found) == 0 {
		found = append(p.try(p.changes), other.try(p.changes)...)
	}
	return p, found
}

func (gs *Groups) newPlan(r *Removal) *Plan {
	p := &Plan{gs: gs, gone: make([][]bool, len(gs.axes)), changes: map[*Node]op.Change{}}
	for a := range gs.axes {
		if r.kept[a] == gs.axes[a].length {
			continue
		}
		p.gone[a] = make([]bool, gs.axes[a].length)
		for i, hits := range r.hits[a] {
			p.gone[a][i] = hits > 0
		}
	}
	return p
}

// Gone returns, per position of an axis of a value, whether it goes; nil where nothing
// does.
func (p *Plan) Gone(v *Value, axis int) []bool {
	axes := p.gs.axisOf[v.Index]
	if axes == nil || axes[axis] < 0 {
		return nil
	}
	return p.gone[axes[axis]]
}

// Cut returns what is left of the elements of a value, given by name in another graph
// of the same file, at the batch size of the analysis; nil where the file has no such
// value, or one with other axes.
func (p *Plan) Cut(name string, a *op.Array) *op.Array {
	own := p.gs.graph.byName[name]
	if own == nil {
		return nil
	}
	for axis, n := range a.Shape {
		if g := p.Gone(own, axis); g != nil && len(g) != n {
			return nil
		}
	}
	x := op.NewArray(p.shape(own, a.Shape)...)
	left := x.V[:0]
	i := 0
	op.Each(a.Shape, func(idx []int) {
		if p.stays(own, idx) {
			left = append(left, a.V[i])
		}
		i++
	})
	return x
}

// stays reports whether no index of an element goes.
func (p *Plan) stays(v *Value, idx []int) bool {
	for a, k := range idx {
		if g := p.Gone(v, a); g != nil && g[k] {
			return false
		}
	}
	return true
}

// shape is the shape that a value should have, given the one it had.
func (p *Plan) shape(v *Value, before []int) []int {
	s := slices.Clone(before)
	for a := range s {
		for _, g := range p.Gone(v, a) {
			if g {
				s[a]--
			}
		}
	}
	return s
}

// constLimit is the size in elements up to which float constants are followed with
// their values when a removal is tried; of larger ones, shapes.
const constLimit = 1 << 12

// cut returns what is left of a tensor; elements only of small or integer ones.
func (p *Plan) cut(v *Value, t *op.Tensor) *op.Tensor {
	shape := p.shape(v, t.Shape)
	if op.EqualShape(shape, t.Shape) && (t.F == nil || t.Size() <= constLimit) {
		return t
	}
	if !t.IsConst() || t.F != nil && t.Size() > constLimit {
		return op.Info(t.Type, shape...)
	}
	return p.slice(v, t)
}

// slice returns the elements that are left of a row-major tensor.
func (p *Plan) slice(v *Value, t *op.Tensor) *op.Tensor {
	x := op.Info(t.Type, p.shape(v, t.Shape)...)
	i := 0
	if t.F != nil {
		x.F = []float32{}
	} else {
		x.I = []int64{}
	}
	op.Each(t.Shape, func(idx []int) {
		if p.stays(v, idx) {
			if t.F != nil {
				x.F = append(x.F, t.F[i])
			} else {
				x.I = append(x.I, t.I[i])
			}
		}
		i++
	})
	return x
}

// try infers the pruned graph and compares. With given nil it asks operators for their
// changes and enters them into p.
func (p *Plan) try(given map[*Node]op.Change) []problem {
	g, old := p.gs.graph, p.gs.Shapes
	c := g.clone()
	s := c.newShapes()
	s.training = old.training
	for _, v := range g.Values {
		if v.FromInit {
			s.Of[v.Index] = p.cut(v, v.Init)
		}
	}
	for _, v := range g.Inputs {
		s.Of[v.Index] = old.Of[v.Index]
	}
	trained := c.trainedValues()
	var found []problem
	for i, n := range g.Nodes {
		m := c.Nodes[i]
		if n.isConstant() {
			for _, v := range n.Out {
				if v != nil && old.Of[v.Index] != nil {
					s.Of[v.Index] = p.cut(v, old.Of[v.Index])
				}
			}
			continue
		}
		if old.Ops[i] == nil {
			for _, v := range n.Out {
				if v != nil {
					s.Of[v.Index] = old.Of[v.Index]
				}
			}
			continue
		}
		change, ok := given[n]
		if given == nil {
			var err error
			change, err = p.ask(n, old, s)
			if err != nil {
				found = append(found, problem{n, err.Error()})
				p.assume(n, old, s)
				continue
			}
			if ok = len(change.Attrs)+len(change.Drop)+len(change.Inputs) > 0; ok {
				p.changes[n] = change
			}
		}
		if ok {
			c.apply(m, change, s)
		}
		before := len(s.Problems)
		c.inferNode(s, m, trained)
		if len(s.Problems) > before {
			found = append(found, problem{n, "does not fit the shorter axes: " + s.failed[m].Error()})
			p.assume(n, old, s)
			continue
		}
		found = append(found, p.compare(n, old, s)...)
	}
	return found
}

// ask returns the change that an operator wants.
func (p *Plan) ask(n *Node, old, s *Shapes) (op.Change, error) {
	k, ok := old.Ops[n.Index].(op.Cutter)
	lost := false
	for _, vs := range [][]*Value{n.In, n.Out} {
		for _, v := range vs {
			if v == nil || old.Of[v.Index] == nil {
				continue
			}
			for a := range old.Of[v.Index].Shape {
				lost = lost || p.Gone(v, a) != nil
			}
		}
	}
	for _, v := range n.In {
		if v == nil || s.Of[v.Index] == nil || old.Of[v.Index] == nil {
			continue
		}
		was, is := old.Of[v.Index], s.Of[v.Index]
		lost = lost || was.I != nil && (!op.EqualShape(was.Shape, is.Shape) || !slices.Equal(was.I, is.I))
	}
	if !ok || !lost {
		return op.Change{}, nil
	}
	out := p.gs.channels.results(n, old.Ops[n.Index], old.Args(n.In), old.Args(n.Out))
	cut := &op.Cut{In: old.Args(n.In), Out: out, New: s.Args(n.In), Gone: func(r op.AxisRef) []bool {
		if r.Tensor >= 0 {
			return p.Gone(n.In[r.Tensor], r.Axis)
		}
		if k := ^r.Tensor; k < len(n.Out) && n.Out[k] != nil {
			return p.Gone(n.Out[k], r.Axis)
		}
		return nil
	}}
	for i, t := range cut.New {
		if t == nil && n.In[i] != nil {
			return op.Change{}, fmt.Errorf("input %d is not known", i)
		}
	}
	change, err := k.Cut(cut)
	if err != nil {
		return op.Change{}, err
	}
	for i, t := range change.Inputs {
		if i < len(cut.New) && cut.New[i] != nil && op.EqualShape(cut.New[i].Shape, t.Shape) && slices.Equal(cut.New[i].I, t.I) {
			delete(change.Inputs, i)
		}
	}
	return change, nil
}

// apply makes a change to a node of a graph in memory.
func (g *Graph) apply(n *Node, change op.Change, s *Shapes) {
	if len(change.Attrs)+len(change.Drop) > 0 {
		n.Attrs = maps.Clone(n.Attrs)
		maps.Copy(n.Attrs, change.Attrs)
		for _, name := range change.Drop {
			delete(n.Attrs, name)
		}
	}
	for _, i := range slices.Sorted(maps.Keys(change.Inputs)) {
		for len(n.In) <= i {
			n.In = append(n.In, nil)
		}
		n.In[i] = g.constant(n.Title()+".cut", change.Inputs[i])
		for len(s.Of) < len(g.Values) {
			s.Of = append(s.Of, nil)
		}
		s.Of[n.In[i].Index] = change.Inputs[i]
	}
}

// assume enters the shapes that the results of a node should have.
func (p *Plan) assume(n *Node, old, s *Shapes) {
	for _, v := range n.Out {
		if v != nil && old.Of[v.Index] != nil {
			s.Of[v.Index] = op.Info(old.Of[v.Index].Type, p.shape(v, old.Of[v.Index].Shape)...)
		}
	}
}

// compare checks the results of a node: their shapes, and constants that are computed
// from shapes and reach the computation.
func (p *Plan) compare(n *Node, old, s *Shapes) []problem {
	for _, v := range n.Out {
		if v == nil || old.Of[v.Index] == nil {
			continue
		}
		was, is := old.Of[v.Index], s.Of[v.Index]
		want := p.shape(v, was.Shape)
		if is == nil || !op.EqualShape(is.Shape, want) {
			p.assume(n, old, s)
			if was.IsConst() && !was.Type.IsFloat() {
				continue // arithmetic on shapes may follow the shapes
			}
			return []problem{{n, "would not have shape " + op.ShapeString(want)}}
		}
		if was.F == nil || is.F == nil || was.Size() > constLimit {
			continue
		}
		if x := p.cut(v, was); !slices.EqualFunc(x.F, is.F, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
			var found []problem
			for _, m := range p.gs.graph.measured(v) {
				found = append(found, problem{m, "its result enters the computation"})
			}
			if found == nil {
				found = []problem{{n, "would compute another constant"}}
			}
			return found
		}
	}
	return nil
}

// measured lists the nodes whose reading of shapes v depends on.
func (g *Graph) measured(v *Value) []*Node {
	seen := map[*Value]bool{}
	var nodes []*Node
	var walk func(v *Value)
	walk = func(v *Value) {
		if v == nil || seen[v] || v.Producer == nil {
			return
		}
		seen[v] = true
		if n := v.Producer; n.Type == "Shape" || n.Type == "Size" {
			nodes = append(nodes, n)
			return
		}
		for _, u := range v.Producer.In {
			walk(u)
		}
	}
	walk(v)
	return nodes
}
