package graph

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxprune/onnxprune/op"
)

// probe is a batch size that no constant of a model is a multiple of by
// chance: what it divides, scales with the batch.
const probe = 1009

// FixedBatch returns the batch size that the file declares for its inputs, or 0
// if it leaves it open. It is 1 where an input has no axis for it, and no other a size.
func (g *Graph) FixedBatch() int {
	size := 0
	for _, v := range g.Inputs {
		switch d, ok := v.BatchDim(); {
		case ok && d.Size < 0 && g.unbatched() == nil:
			return 0
		case ok && d.Size > 0 && size == 0:
			size = d.Size
		}
	}
	if size == 0 && g.unbatched() != nil {
		return 1
	}
	return size
}

// BatchSize is n, or the file's own batch size where it cannot be run at another.
func (g *Graph) BatchSize(dims map[string]int, n int) int {
	if own := g.FixedBatch(); own > 0 && own != n {
		if _, err := g.FreeBatch(dims); err != nil {
			return own
		}
	}
	return n
}

// FreeBatch returns a graph that computes the same as g at the file's own batch
// size and runs at any other: Reshape targets and Resize sizes that carry the batch
// size as a number follow it, and what is of no sample is repeated where it stands beside the batch in a Concat or an
// operator of two operands, or where recurrent layers begin with it. Its inputs and outputs have the batch on axis 0, moved there by Transpose nodes. g is not
// changed; a graph that needs nothing is returned as it is. The error lists the nodes that stay bound to the
// file's batch.
func (g *Graph) FreeBatch(dims map[string]int) (*Graph, error) {
	if v := g.unbatched(); v != nil {
		return nil, fmt.Errorf("%s: input %q is one sample without an axis for the batch: the file runs at batch %d only", g.Name, v.Name, g.FixedBatch())
	}
	own := g.FixedBatch()
	base := max(own, 1)
	ref, err := g.Infer(Binding{Batch: base, Dims: dims})
	if err != nil {
		return nil, err
	}
	if len(ref.Problems) > 0 {
		return g, nil // wrong at any batch size: inference says so
	}
	if own == 0 {
		free, err := g.Infer(Binding{Batch: probe, Dims: dims})
		if err != nil {
			return nil, err
		}
		if len(free.Problems) == 0 && g.scales(free) {
			return g.batchFirst(ref, free, base), nil
		}
	}
	c := g.clone()
	trained := c.trainedValues()
	s := c.newShapes()
	for _, v := range c.Inputs {
		shape, err := Binding{Batch: probe, Dims: dims}.InputShape(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", g.Name, err)
		}
		s.Of[v.Index] = op.Info(v.Type, shape...)
	}
	r := &releaser{g: c, ref: ref, s: s, base: base, outer: map[*Value]int{}, trained: trained}
	var nodes []*Node
	for _, n := range c.Nodes {
		for _, extra := range r.release(n) {
			extra.Index = len(s.Ops)
			s.Ops = append(s.Ops, nil)
			for len(s.Of) < len(c.Values) {
				s.Of = append(s.Of, nil)
			}
			for _, v := range extra.In {
				if v.FromInit && s.Of[v.Index] == nil {
					s.Of[v.Index] = v.Init
				}
			}
			c.inferNode(s, extra, trained)
			nodes = append(nodes, extra)
		}
		for len(s.Of) < len(c.Values) {
			s.Of = append(s.Of, nil)
		}
		for _, v := range n.In {
			if v != nil && v.FromInit && s.Of[v.Index] == nil {
				s.Of[v.Index] = v.Init
			}
		}
		c.inferNode(s, n, trained)
		r.follow(n)
		nodes = append(nodes, n)
	}
	c.Nodes = nodes
	for i, n := range c.Nodes {
		n.Index = i
	}
	c.link()
	if len(s.Problems) > 0 {
		return nil, fmt.Errorf("%s: the file fixes its batch size at %d and cannot be run at another:\n%w", g.Name, base, errors.Join(s.Problems...))
	}
	return c.batchFirst(ref, s, base), nil
}

// scales reports whether every output follows the batch.
func (g *Graph) scales(s *Shapes) bool {
	for _, v := range g.Outputs {
		t := s.Of[v.Index]
		if t != nil && t.Rank() > 0 && !t.IsConst() && t.Size()%probe != 0 {
			return false
		}
	}
	return true
}

// batchAxis finds the one axis that differs between the two inferences.
func batchAxis(a, b *op.Tensor) int {
	if a == nil || b == nil || a.Rank() != b.Rank() {
		return -1
	}
	axis := -1
	for i := range a.Shape {
		if a.Shape[i] != b.Shape[i] {
			if axis >= 0 {
				return -1
			}
			axis = i
		}
	}
	return axis
}

// repeat makes nodes that expand axis of v, of that rank and length 1 there, to the length that like has along
// another axis at run time: Shape of it, then Expand.
func (g *Graph) repeat(name string, v *Value, rank, axis int, like *Value, likeAxis int) (*Value, []*Node) {
	size := g.result(name + ".shape")
	dim := g.result(name + ".dim")
	full := g.result(name + ".full")
	out := g.result(name)
	lead, tail := ones(axis), ones(rank-axis-1)
	return out, []*Node{
		g.node("Shape", []*Value{like}, size, nil),
		g.node("Gather", []*Value{size, g.constant(name+".axis", op.Vector(likeAxis))}, dim, nil),
		g.node("Concat", []*Value{g.constant(name+".lead", op.Vector(lead...)), dim, g.constant(name+".tail", op.Vector(tail...))}, full, op.Attrs{"axis": op.IntAttr(0)}),
		g.node("Expand", []*Value{v, full}, out, nil),
	}
}

// constant adds an initializer to a graph in memory.
func (g *Graph) constant(name string, t *op.Tensor) *Value {
	v := g.result(name)
	v.FromInit, v.Init, v.Type = true, t, t.Type
	return v
}

// result adds a value; the name is made unique.
func (g *Graph) result(name string) *Value {
	for g.byName[name] != nil {
		name += "_"
	}
	v, _ := g.define(name)
	return v
}

func (g *Graph) node(typ string, in []*Value, out *Value, attrs op.Attrs) *Node {
	n := &Node{Name: out.Name, Type: typ, Opset: g.Opsets[""], In: in, Out: []*Value{out}, Attrs: attrs, Def: op.Lookup("", typ), proto: -1}
	out.Producer = n
	return n
}

// clone copies nodes and values; initializer elements are shared.
func (g *Graph) clone() *Graph {
	c := &Graph{File: g.File, Name: g.Name, Opsets: g.Opsets, byName: map[string]*Value{}}
	for _, v := range g.Values {
		u := *v
		u.Uses = nil
		c.Values = append(c.Values, &u)
		c.byName[u.Name] = &u
	}
	pick := func(vs []*Value) []*Value {
		out := make([]*Value, len(vs))
		for i, v := range vs {
			if v != nil {
				out[i] = c.Values[v.Index]
			}
		}
		return out
	}
	c.Inputs, c.Outputs = pick(g.Inputs), pick(g.Outputs)
	for _, n := range g.Nodes {
		m := *n
		m.In, m.Out = pick(n.In), pick(n.Out)
		for _, v := range m.Out {
			if v != nil {
				v.Producer = &m
			}
		}
		c.Nodes = append(c.Nodes, &m)
	}
	c.link()
	return c
}

// link recomputes the uses of every value; those in subgraphs stay.
func (g *Graph) link() {
	for _, v := range g.Values {
		v.Uses = slices.DeleteFunc(v.Uses, func(u Use) bool { return u.Input >= 0 })
	}
	for _, n := range g.Nodes {
		for i, v := range n.In {
			if v != nil {
				v.Uses = append(v.Uses, Use{n, i})
			}
		}
	}
}
