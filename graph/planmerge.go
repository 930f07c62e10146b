package graph

import (
	"slices"

	"github.com/onnxprune/onnxprune/op"
)

func sameChange(a, b op.Change) bool {
	if len(a.Attrs) != len(b.Attrs) || len(a.Inputs) != len(b.Inputs) || !slices.Equal(a.Drop, b.Drop) {
		return false
	}
	for name, x := range a.Attrs {
		y, ok := b.Attrs[name]
		if !ok || x.I != y.I || !slices.Equal(x.Ints, y.Ints) {
			return false
		}
	}
	for i, x := range a.Inputs {
		if !sameInts(x, b.Inputs[i]) {
			return false
		}
	}
	return true
}

func sameInts(a, b *op.Tensor) bool {
	return a != nil && b != nil && op.EqualShape(a.Shape, b.Shape) && slices.Equal(a.I, b.I)
}

// merge finds a change that serves at both sizes: in the target of a Reshape, a
// dimension that depends on them becomes 0, where it is copied from the input, or −1.
func (p *Plan) merge(other *Plan, n *Node, a, b op.Change) (op.Change, bool) {
	x, y := a.Inputs[1], b.Inputs[1]
	if n.Type != "Reshape" || n.Domain != "" || x == nil || y == nil || len(x.I) != len(y.I) || n.Attrs["allowzero"].I != 0 {
		return op.Change{}, false
	}
	t := &op.Tensor{Type: x.Type, Shape: x.Shape, I: slices.Clone(x.I)}
	in := [2]*op.Tensor{p.gs.Shapes.Of[n.In[0].Index], other.gs.Shapes.Of[n.In[0].Index]}
	rest := slices.Contains(t.I, -1)
	for i := range t.I {
		switch {
		case x.I[i] == y.I[i]:
		case i < in[0].Rank() && p.Gone(n.In[0], i) == nil && other.Gone(n.In[0], i) == nil && int64(in[0].Shape[i]) == x.I[i] && int64(in[1].Shape[i]) == y.I[i]:
			t.I[i] = 0
		case !rest:
			t.I[i], rest = -1, true
		default:
			return op.Change{}, false
		}
	}
	return op.Change{Inputs: map[int]*op.Tensor{1: t}}, true
}

// mergeBefore enters a change that serves at both sizes into the Concat that puts a shape together: of its
// inputs those become constants that the change makes different, as the hidden size in the shape of an initial
// state, and others follow what is open as before. All that reads the shape has to want the same; asked is
// what nodes want here. It reports whether there is such a change.
func (p *Plan) mergeBefore(other *Plan, n *Node, asked map[*Node]op.Change) bool {
	a, b := asked[n], other.changes[n]
	if len(a.Attrs)+len(a.Drop)+len(b.Attrs)+len(b.Drop) > 0 || len(a.Inputs) != 1 || len(b.Inputs) != 1 {
		return false
	}
	for i, x := range a.Inputs {
		y := b.Inputs[i]
		if y == nil || i >= len(n.In) || n.In[i] == nil || len(x.I) != len(y.I) {
			return false
		}
		q := n.In[i].Producer
		if q == nil || q.Domain != "" || q.Type != "Concat" || p.gs.graph.isOutput(n.In[i]) {
			return false
		}
		for _, u := range n.In[i].Uses {
			if !sameInts(asked[u.Node].Inputs[u.Input], x) || !sameInts(other.changes[u.Node].Inputs[u.Input], y) {
				return false
			}
		}
		made := op.Change{Inputs: map[int]*op.Tensor{}}
		at := 0
		for k, v := range q.In {
			if v == nil {
				return false
			}
			was, is := p.gs.Shapes.Of[v.Index], other.gs.Shapes.Of[v.Index]
			if !was.IsConst() || !is.IsConst() || len(was.I) != len(is.I) || at+len(was.I) > len(x.I) {
				return false
			}
			here, there := x.I[at:at+len(was.I)], y.I[at:at+len(was.I)]
			at += len(was.I)
			switch {
			case slices.Equal(here, was.I) && slices.Equal(there, is.I):
			case slices.Equal(here, there):
				made.Inputs[k] = &op.Tensor{Type: was.Type, Shape: was.Shape, I: slices.Clone(here)}
			default:
				return false
			}
		}
		if have, ok := p.changes[q]; at != len(x.I) || ok && !sameChange(have, made) {
			return false
		}
		delete(p.changes, n)
		p.changes[q] = made
	}
	return true
}
