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
// if it leaves it open. It is 1 where an input has no axis for it.
func (g *Graph) FixedBatch() int {
	if g.unbatched() != nil {
		return 1
	}
	for _, v := range g.Inputs {
		if v.Ranked && len(v.Dims) > 0 && v.Dims[0].Size > 0 {
			return v.Dims[0].Size
		}
	}
	return 0
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
// size as a number follow it, and constants that stand beside batch values in a Concat
// are repeated. g is not changed; a graph that needs nothing is returned as it
// is. The error lists the nodes that stay bound to the file's batch.
func (g *Graph) FreeBatch(dims map[string]int) (*Graph, error) {
	if v := g.unbatched(); v != nil {
		return nil, fmt.Errorf("%s: input %q is one sample without an axis for the batch: the file runs at batch 1 only", g.Name, v.Name)
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
			return g, nil
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
	var nodes []*Node
	for _, n := range c.Nodes {
		for _, extra := range c.releaseNode(n, ref, s, base) {
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
	return c, nil
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

// releaseNode rewrites a node that carries the batch size as a constant. The
// result are nodes to run before it.
func (g *Graph) releaseNode(n *Node, ref, s *Shapes, base int) []*Node {
	if n.Domain != "" {
		return nil
	}
	switch n.Type {
	case "Reshape":
		g.releaseReshape(n, ref, s, base)
	case "Concat":
		return g.releaseConcat(n, ref, s)
	case "Resize":
		return g.releaseResize(n, ref, s)
	}
	return nil
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

// releaseReshape puts -1 where the batch goes and sizes elsewhere.
func (g *Graph) releaseReshape(n *Node, ref, s *Shapes, base int) {
	if len(n.In) != 2 || len(n.Out) != 1 || n.In[0] == nil || n.In[1] == nil || n.Out[0] == nil {
		return
	}
	in0, in1 := ref.Of[n.In[0].Index], s.Of[n.In[0].Index]
	out0, target := ref.Of[n.Out[0].Index], s.Of[n.In[1].Index]
	axis := batchAxis(in0, in1)
	if axis < 0 || out0 == nil || target == nil || !target.IsConst() {
		return
	}
	to := -1
	before := op.Size(in0.Shape[:axis])
	for p := range out0.Shape {
		if op.Size(out0.Shape[:p]) != before || out0.Shape[p]%base != 0 {
			continue
		}
		// The batch is the outermost factor of its axis: it goes to the first place
		// that fits, unless the axes before it are unchanged.
		if to < 0 || p == axis && op.EqualShape(out0.Shape[:p], in0.Shape[:p]) {
			to = p
		}
	}
	if to < 0 {
		return
	}
	shape := append([]int{}, out0.Shape...)
	shape[to] = -1
	if slices.Contains(shape, 0) {
		return
	}
	n.In[1] = g.constant(n.Out[0].Name+".free_batch", op.Vector(shape...))
	n.Attrs = op.Attrs{}
}

// releaseConcat repeats constants along the batch axis of their neighbours.
func (g *Graph) releaseConcat(n *Node, ref, s *Shapes) []*Node {
	if len(n.Out) != 1 || n.Out[0] == nil || slices.Contains(n.In, nil) {
		return nil
	}
	axis, batch := -1, 0
	for _, v := range n.In {
		a, b := ref.Of[v.Index], s.Of[v.Index]
		if k := batchAxis(a, b); k >= 0 {
			axis, batch = k, b.Shape[k]
		}
	}
	at, ok := n.Attrs["axis"]
	if axis < 0 || ok && int(at.I) == axis {
		return nil
	}
	var extra []*Node
	for i, v := range n.In {
		t := s.Of[v.Index]
		if t == nil || t.Rank() <= axis || t.Shape[axis] == batch || t.Shape[axis] != 1 {
			continue
		}
		// The shape follows a neighbour's at run time: Shape of it, then Expand.
		var like *Value
		for _, u := range n.In {
			if x := s.Of[u.Index]; x != nil && x.Rank() > axis && x.Shape[axis] == batch {
				like = u
			}
		}
		name := fmt.Sprintf("%s.free_batch%d", n.Out[0].Name, i)
		size := g.result(name + ".shape")
		dim := g.result(name + ".dim")
		full := g.result(name + ".full")
		out := g.result(name)
		lead := make([]int, axis)
		tail := make([]int, t.Rank()-axis-1)
		for k := range lead {
			lead[k] = 1
		}
		for k := range tail {
			tail[k] = 1
		}
		extra = append(extra,
			g.node("Shape", []*Value{like}, size, nil),
			g.node("Gather", []*Value{size, g.constant(name+".axis", op.Vector(axis))}, dim, nil),
			g.node("Concat", []*Value{g.constant(name+".lead", op.Vector(lead...)), dim, g.constant(name+".tail", op.Vector(tail...))}, full, op.Attrs{"axis": op.IntAttr(0)}),
			g.node("Expand", []*Value{v, full}, out, nil))
		n.In[i] = out
	}
	return extra
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
