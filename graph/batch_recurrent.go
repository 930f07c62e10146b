package graph

import (
	"fmt"

	"github.com/onnxprune/onnxprune/op"
)

// releaseRecurrent repeats states that all samples of an LSTM, GRU or RNN begin with.
func (r *releaser) releaseRecurrent(n *Node) []*Node {
	if len(n.In) < 6 || len(n.Out) == 0 || n.In[0] == nil {
		return nil
	}
	x, axis := n.In[0], 1 // x [T,B,I], states [D,B,H]; with layout 1 [B,T,I] and [B,D,H]
	if n.Attrs["layout"].I == 1 {
		axis = 0
	}
	if batchAxis(r.ref.Of[x.Index], r.s.Of[x.Index]) != axis {
		return nil
	}
	var extra []*Node
	for i, v := range n.In {
		if i < 5 || i > 6 || v == nil {
			continue
		}
		t := r.s.Of[v.Index]
		if t == nil || t.Rank() != 3 || t.Shape[axis] != r.base || r.s.Of[x.Index].Shape[axis] == r.base {
			continue
		}
		name := fmt.Sprintf("%s.free_batch%d", n.Title(), i)
		one, first, ok := r.single(name, v, axis)
		if !ok {
			continue
		}
		extra = append(extra, first...)
		out, nodes := r.g.repeat(name, one, 3, axis, x, axis)
		n.In[i], extra = out, append(extra, nodes...)
	}
	return extra
}

// single is one slice of v along an axis that has the file's batch, where all are the same and stay so, and the nodes that
// take it.
func (r *releaser) single(name string, v *Value, axis int) (*Value, []*Node, bool) {
	t := r.s.Of[v.Index]
	switch {
	case t.Shape[axis] == 1:
		return v, nil, true
	case t.Shape[axis] != r.base || !t.IsConst() || r.trained[v] || !sameAlong(t, axis):
		return nil, nil, false
	}
	one := r.g.result(name + ".first")
	part := func(suffix string, at int) *Value { return r.g.constant(name+suffix, op.Vector(at)) }
	return one, []*Node{r.g.node("Slice", []*Value{v, part(".from", 0), part(".to", 1), part(".along", axis)}, one, nil)}, true
}

// sameAlong reports whether all slices of a constant along an axis are the same.
func sameAlong(t *op.Tensor, axis int) bool {
	inner, length := op.Size(t.Shape[axis+1:]), t.Shape[axis]
	same := func(i int) int { return i - i/inner%length*inner } // in the first slice
	for i, v := range t.F {
		if v != t.F[same(i)] {
			return false
		}
	}
	for i, v := range t.I {
		if v != t.I[same(i)] {
			return false
		}
	}
	return len(t.F)+len(t.I) > 0
}
