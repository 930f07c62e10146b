package graph

import (
	"slices"

	"github.com/onnxprune/onnxprune/op"
)

// batchFirst returns g with Transpose nodes around it, so that inputs and outputs have the batch on
// axis 0. a and b are inferences of g at batch sizes base and [probe]; without them outputs stay. g is not
// changed, and is returned as it is where nothing has to move.
func (g *Graph) batchFirst(a, b *Shapes, base int) *Graph {
	outputs := make([]int, len(g.Outputs))
	move := slices.ContainsFunc(g.Inputs, func(v *Value) bool { return v.BatchAxis > 0 })
	for i, v := range g.Outputs {
		if a == nil || b == nil {
			break
		}
		x, y := a.Of[v.Index], b.Of[v.Index]
		if axis := batchAxis(x, y); axis > 0 && x.Shape[axis] == base && y.Shape[axis] == probe {
			outputs[i], move = axis, true
		}
	}
	if !move {
		return g
	}
	c := g.clone()
	var before, after []*Node
	for i, v := range c.Inputs {
		if v.BatchAxis <= 0 {
			continue
		}
		to, back := toFront(len(v.Dims), v.BatchAxis)
		first := c.result(v.Name + ".batch_first")
		first.Name, v.Name = v.Name, first.Name
		c.byName[first.Name], c.byName[v.Name] = first, v
		first.Type, first.Ranked, first.Init = v.Type, true, v.Init
		for _, k := range to {
			first.Dims = append(first.Dims, v.Dims[k])
		}
		c.Inputs[i] = first
		before = append(before, c.node("Transpose", []*Value{first}, v, op.Attrs{"perm": op.IntsAttr(back...)}))
	}
	for i, v := range c.Outputs {
		if outputs[i] == 0 {
			continue
		}
		to, _ := toFront(b.Of[v.Index].Rank(), outputs[i])
		first := c.result(v.Name + ".batch_first")
		first.Type = v.Type
		after = append(after, c.node("Transpose", []*Value{v}, first, op.Attrs{"perm": op.IntsAttr(to...)}))
		c.Outputs[i] = first
	}
	c.Nodes = slices.Concat(before, c.Nodes, after)
	for i, n := range c.Nodes {
		n.Index = i
	}
	c.link()
	return c
}

// BatchFirst is g with the batch of inputs on axis 0, for a file that runs at its own batch only.
func (g *Graph) BatchFirst() *Graph { return g.batchFirst(nil, nil, 0) }

// toFront is the permutation that puts an axis first, and the one that puts it back.
func toFront(rank, axis int) (to, back []int) {
	to = []int{axis}
	for k := range rank {
		if k != axis {
			to = append(to, k)
		}
	}
	back = make([]int, rank)
	for k, from := range to {
		back[from] = k
	}
	return to, back
}
