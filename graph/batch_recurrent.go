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
		if r.base > 1 {
			if !t.IsConst() || !sameAlong(t, axis) {
				continue
			}
			one := r.g.result(name + ".first")
			extra = append(extra, r.g.node("Slice", []*Value{v, r.g.constant(name+".from", op.Vector(0)), r.g.constant(name+".to", op.Vector(1)), r.g.constant(name+".axis", op.Vector(axis))}, one, nil))
			v = one
		}
		out, nodes := r.g.repeat(name, v, 3, axis, x, axis)
		n.In[i], extra = out, append(extra, nodes...)
	}
	return extra
}

// sameAlong reports whether all slices of a constant along an axis are the same.
func sameAlong(t *op.Tensor, axis int) bool {
	inner := op.Size(t.Shape[axis+1:])
	for i, v := range t.F {
		if k := i / inner % t.Shape[axis]; v != t.F[i-k*inner] {
			return false
		}
	}
	return true
}
