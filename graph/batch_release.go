package graph

import (
	"fmt"
	"slices"

	"github.com/onnxprune/onnxprune/op"
)

// releaser rewrites the nodes of a graph that carry its batch size as a constant, in their order.
type releaser struct {
	g *Graph
	// ref and s are inferences at the batch size base and, as far as nodes are done, at [probe].
	ref, s *Shapes
	base   int
	// outer is how many blocks of a value's elements lie outside of the batch, at the batch size base, where
	// that is more than its axes before the batch say: of [T·B,H], T.
	outer map[*Value]int
	// trained are the values that training changes: all slices of one are its own.
	trained map[*Value]bool
}

// release rewrites a node. The result are nodes to run before it.
func (r *releaser) release(n *Node) []*Node {
	if n.Domain != "" {
		return nil
	}
	switch n.Type {
	case "Reshape":
		r.releaseReshape(n)
	case "Concat":
		return r.releaseConcat(n)
	case "Resize":
		return r.releaseResize(n)
	case "Expand":
		return r.releaseExpand(n)
	case "LSTM", "GRU", "RNN":
		return r.releaseRecurrent(n)
	case "Add", "Sub", "Mul", "Div", "MatMul":
		return r.releaseBroadcast(n)
	}
	return nil
}

// outside is how many blocks of v's elements lie outside of the batch, which is on that axis.
func (r *releaser) outside(v *Value, axis int) int {
	if n, ok := r.outer[v]; ok {
		return n
	}
	return op.Size(r.ref.Of[v.Index].Shape[:axis])
}

// follow notes where the batch is within its axis, for the results of a node that was inferred.
func (r *releaser) follow(n *Node) {
	for _, v := range n.In {
		if v == nil || r.outer[v] == 0 {
			continue
		}
		x := r.ref.Of[v.Index]
		axis := batchAxis(x, r.s.Of[v.Index])
		for _, u := range n.Out {
			if axis < 0 || u == nil || r.outer[u] != 0 {
				continue
			}
			y := r.ref.Of[u.Index]
			at := batchAxis(y, r.s.Of[u.Index])
			switch {
			case at < 0:
			case slices.Contains([]string{"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"}, n.Type) && n.Domain == "":
				if r.outer[v] != op.Size(y.Shape[:at]) {
					r.outer[u] = r.outer[v]
				}
			case y.Shape[at] == x.Shape[axis]:
				r.outer[u] = r.outer[v] / op.Size(x.Shape[:axis]) * op.Size(y.Shape[:at])
			}
		}
	}
}

// releaseReshape puts -1 where the batch goes and sizes elsewhere.
func (r *releaser) releaseReshape(n *Node) {
	if len(n.In) != 2 || len(n.Out) != 1 || n.In[0] == nil || n.In[1] == nil || n.Out[0] == nil {
		return
	}
	in0, in1 := r.ref.Of[n.In[0].Index], r.s.Of[n.In[0].Index]
	out0, target := r.ref.Of[n.Out[0].Index], r.s.Of[n.In[1].Index]
	axis := batchAxis(in0, in1)
	if axis < 0 || out0 == nil || target == nil || !target.IsConst() || slices.Contains(out0.Shape, 0) {
		return
	}
	before := r.outside(n.In[0], axis)
	to := r.place(in0.Shape, out0.Shape, axis, before)
	if to < 0 {
		return
	}
	if before != op.Size(out0.Shape[:to]) {
		r.outer[n.Out[0]] = before
	}
	shape := append([]int{}, out0.Shape...)
	shape[to] = -1
	n.In[1] = r.g.constant(n.Out[0].Name+".free_batch", op.Vector(shape...))
	n.Attrs = op.Attrs{}
}

// place is the axis of out, reshaped from in, that the batch goes to, with so many blocks of elements before
// it; -1 if there is none.
func (r *releaser) place(in, out []int, axis, before int) int {
	if axis > 0 && in[axis] == r.base && before == op.Size(in[:axis]) {
		// [T,B,H] as [T·B,H], as for a layer on all of a sequence: with a batch of one [T,B·H] looks the same.
		joined := slices.Concat(in[:axis-1], []int{in[axis-1] * in[axis]}, in[axis+1:])
		if op.EqualShape(joined, out) {
			return axis - 1
		}
	}
	to := -1
	for p := range out {
		if op.Size(out[:p]) != before || out[p]%r.base != 0 {
			continue
		}
		// The batch is the outermost factor of its axis: it goes to the first place
		// that fits, unless the axes before it are unchanged.
		if to < 0 || p == axis && op.EqualShape(out[:p], in[:p]) {
			to = p
		}
	}
	if to > 0 && to == len(out)-1 && out[to] != r.base {
		// The last axis has features, whose number is a layer's: [T,B·heads,D] is [T·B,H] sooner than [T,B·H].
		to = -1
	}
	for p := 0; to < 0 && p < len(out); p++ {
		// Otherwise it is an inner factor of an axis that holds what is before it, too.
		lead := op.Size(out[:p])
		if lead < before && before%lead == 0 && out[p]%(before/lead*r.base) == 0 {
			to = p
		}
	}
	return to
}

// releaseConcat repeats constants along the batch axis of their neighbours.
func (r *releaser) releaseConcat(n *Node) []*Node {
	if len(n.Out) != 1 || n.Out[0] == nil || slices.Contains(n.In, nil) {
		return nil
	}
	axis, batch := -1, 0
	for _, v := range n.In {
		a, b := r.ref.Of[v.Index], r.s.Of[v.Index]
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
		t := r.s.Of[v.Index]
		if t == nil || t.Rank() <= axis || t.Shape[axis] == batch {
			continue
		}
		name := fmt.Sprintf("%s.free_batch%d", n.Out[0].Name, i)
		one, first, ok := r.single(name, v, axis)
		if !ok {
			continue
		}
		var like *Value
		for _, u := range n.In {
			if x := r.s.Of[u.Index]; x != nil && x.Rank() > axis && x.Shape[axis] == batch {
				like = u
			}
		}
		out, nodes := r.g.repeat(name, one, t.Rank(), axis, like, axis)
		extra = append(append(extra, first...), nodes...)
		n.In[i] = out
	}
	return extra
}

// releaseExpand says by 1 what the input has of the batch already, and takes one of equal slices where the target follows it.
func (r *releaser) releaseExpand(n *Node) []*Node {
	if r.base == 1 || len(n.In) != 2 || n.In[0] == nil || n.In[1] == nil || len(n.Out) == 0 || n.Out[0] == nil {
		return nil
	}
	x, y, target := r.ref.Of[n.In[0].Index], r.s.Of[n.In[0].Index], r.s.Of[n.In[1].Index]
	if x == nil || y == nil || target == nil || !target.IsConst() || target.Rank() != 1 {
		return nil
	}
	name := n.Out[0].Name + ".free_batch"
	if axis := batchAxis(x, y); axis >= 0 {
		at := axis + len(target.I) - x.Rank()
		if at >= 0 && target.I[at] == int64(x.Shape[axis]) {
			to := slices.Clone(target.I)
			to[at] = 1
			n.In[1] = r.g.constant(name, op.Ints(to, len(to)))
		}
		return nil
	}
	for axis, d := range y.Shape {
		if at := axis + len(target.I) - y.Rank(); at >= 0 && d == r.base && target.I[at] == int64(probe) {
			one, first, ok := r.single(name, n.In[0], axis)
			if ok {
				n.In[0] = one
			}
			return first
		}
	}
	return nil
}
