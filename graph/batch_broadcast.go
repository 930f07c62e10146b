package graph

import (
	"fmt"

	"github.com/onnxprune/onnxprune/op"
)

// releaseBroadcast repeats an operand that is of no sample, as what a decoder makes of its queries, beside one that has the
// batch in front of something else on the same axis, [B·heads,…]: with a batch of one both have the same length. With another
// batch equal slices beside it are made one.
func (r *releaser) releaseBroadcast(n *Node) []*Node {
	if len(n.In) != 2 || n.In[0] == nil || n.In[1] == nil || len(n.Out) == 0 {
		return nil
	}
	for i, v := range n.In {
		like := n.In[1-i]
		x, y, many := r.ref.Of[v.Index], r.ref.Of[like.Index], r.s.Of[like.Index]
		axis := batchAxis(y, many)
		if axis < 0 || x == nil || r.s.Of[v.Index] == nil || !op.EqualShape(x.Shape, r.s.Of[v.Index].Shape) || r.outer[like] != 0 {
			continue
		}
		at, length := axis+x.Rank()-y.Rank(), y.Shape[axis]
		if at < 0 || n.Type == "MatMul" && at >= x.Rank()-2 || x.Shape[at] != length || length < 2 || many.Shape[axis] != length/r.base*probe {
			continue
		}
		name := fmt.Sprintf("%s.free_batch%d", n.Title(), i)
		if r.base > 1 {
			if length != r.base {
				continue
			}
			one, first, ok := r.single(name, v, at)
			if ok {
				n.In[i] = one
			}
			return first
		}
		size, count := r.g.result(name+".size"), r.g.result(name+".count")
		dim, repeats, out := r.g.result(name+".dim"), r.g.result(name+".repeats"), r.g.result(name)
		lead, tail := ones(at), ones(x.Rank()-at-1)
		n.In[i] = out
		return []*Node{
			r.g.node("Shape", []*Value{like}, size, nil),
			r.g.node("Gather", []*Value{size, r.g.constant(name+".axis", op.Vector(axis))}, dim, nil),
			r.g.node("Div", []*Value{dim, r.g.constant(name+".length", op.Vector(length))}, count, nil),
			r.g.node("Concat", []*Value{r.g.constant(name+".lead", op.Vector(lead...)), count, r.g.constant(name+".tail", op.Vector(tail...))}, repeats, op.Attrs{"axis": op.IntAttr(0)}),
			r.g.node("Tile", []*Value{v, repeats}, out, nil),
		}
	}
	return nil
}

func ones(n int) []int {
	all := make([]int, n)
	for k := range all {
		all[k] = 1
	}
	return all
}
