package graph

import (
	"fmt"
	"slices"

	"github.com/onnxprune/onnxprune/op"
)

// releaseResize makes the size that a Resize gives the batch axis follow its input's,
// where the file has the batch size as a number. The result are nodes to run before.
func (r *releaser) releaseResize(n *Node) []*Node {
	if len(n.In) < 4 || n.In[0] == nil || n.In[3] == nil || len(n.Out) != 1 || n.Out[0] == nil {
		return nil
	}
	x, sizes := r.ref.Of[n.In[0].Index], r.s.Of[n.In[3].Index]
	axis := batchAxis(x, r.s.Of[n.In[0].Index])
	if axis < 0 || sizes == nil || sizes.Rank() != 1 || sizes.Type.IsFloat() || !sizes.IsConst() {
		return nil
	}
	at := axis
	if axes, ok := n.Attrs["axes"]; ok {
		at = slices.IndexFunc(axes.Ints, func(a int64) bool { return int(a) == axis || int(a)+x.Rank() == axis })
	}
	if at < 0 || at >= len(sizes.I) || sizes.I[at] != int64(x.Shape[axis]) {
		return nil
	}
	name := n.Out[0].Name + ".free_batch"
	shape, dim, full := r.g.result(name+".shape"), r.g.result(name+".dim"), r.g.result(name)
	part := func(suffix string, v []int64) *Value {
		return r.g.constant(fmt.Sprintf("%s.%s", name, suffix), op.Ints(slices.Clone(v), len(v)))
	}
	extra := []*Node{
		r.g.node("Shape", []*Value{n.In[0]}, shape, nil),
		r.g.node("Gather", []*Value{shape, part("axis", []int64{int64(axis)})}, dim, nil),
		r.g.node("Concat", []*Value{part("lead", sizes.I[:at]), dim, part("tail", sizes.I[at+1:])}, full, op.Attrs{"axis": op.IntAttr(0)}),
	}
	n.In = slices.Clone(n.In)
	n.In[3] = full
	return extra
}
