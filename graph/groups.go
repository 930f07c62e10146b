package graph

import (
	"iter"

	"github.com/onnxprune/onnxprune/op"
)

// Groups is what channel analysis found: everything that structured pruning may
// take away, and what it must leave.
//
// A unit is the smallest thing that can go: all slices, of all initializers, that
// stand or fall together. Units that touch the same axes of the same initializers
// form a group. One position of an axis can belong to units of two groups (in an
// attention weight, to its head and to its place within all heads); it goes when
// any of them goes. A removal is given as removed[g][u], true where unit u of
// group g goes; removing several units is always allowed, also all of a group, as
// long as every axis keeps a position (see [Removal.Empties]).
type Groups struct {
	Groups []Group
	// Frozen lists axes of weights of which nothing, or not everything, can go.
	Frozen []Frozen
	// Batch is the batch size that shapes were inferred at; MACs are divided by it.
	Batch int
	// Shapes are the shapes of the whole model at that batch.
	Shapes *Shapes
	// Dims are the sizes that open dimensions had in it, those that were given and
	// those that were assumed.
	Dims map[string]int

	graph    *Graph
	channels *channels
	// other is the same analysis with other sizes of what the file leaves open; nil
	// where it leaves nothing open.
	other *Groups
	// twin[g][u] is the same unit there.
	twin [][]unit
	// axes holds every axis of every value that units touch, with the counts that
	// costs are made of.
	axes []cutAxis
	// axisOf finds them: axisOf[value index][axis] is an index into axes, -1 where
	// nothing of the axis ever goes.
	axisOf [][]int32
	// touch[g][u] lists the positions that go with a unit.
	touch [][][]touched
	costs []macNode
	inits []*Value
}

// Group is a set of units that touch the same axes.
type Group struct {
	// Name is unique within the model and the same in every run: that of the first
	// weight that the units are produced by, or consumed by where none is; "~2" and
	// so on is added where several groups share it.
	Name string
	// Width is the number of units, which can go one by one.
	Width int
	// Members are in the order of the initializers in the file, then by axis.
	Members []Member
}

// Member is the part that an initializer (or the tensor of a Constant node) has in
// the units of a group.
type Member struct {
	// Value is the initializer, or the result of a Constant node.
	Value *Value
	Axis  int
	// Index[u] holds the positions along Axis that go with unit u, ascending.
	Index [][]int32
	// Weight marks a parameter: its slices are zero in the masked model. Others
	// (running variances, constants beside arithmetic) are only cut out.
	Weight bool
	// Produces marks slices that compute the channel (filter rows, bias, scale,
	// shift); otherwise the slices read it.
	Produces bool

	shape []int
}

// Shape is the shape of the member's tensor before anything is removed.
func (m *Member) Shape() []int { return m.shape }

// Elements yields the half-open ranges [lo, hi) of elements, row-major, that go
// with unit u, in ascending order.
func (m *Member) Elements(u int) iter.Seq2[int, int] {
	return func(yield func(lo, hi int) bool) {
		outer, inner := op.Size(m.shape[:m.Axis]), op.Size(m.shape[m.Axis+1:])
		n := m.shape[m.Axis]
		for o := range outer {
			for _, p := range m.Index[u] {
				lo := (o*n + int(p)) * inner
				if !yield(lo, lo+inner) {
					return
				}
			}
		}
	}
}

// Frozen is an axis of a weight that has positions which can never go.
type Frozen struct {
	Value *Value
	Axis  int
	// Positions is how many of the axis are frozen, of Length.
	Positions, Length int
	// Node is where that was found; nil where it is not due to a node.
	Node *Node
	// Reason says why, lower case, without the node: "reads the whole axis at once".
	Reason string
}

// cutAxis is an axis that positions can leave.
type cutAxis struct {
	// value and axis are one place where it is found; others have the same terms.
	value  *Value
	axis   int
	length int
}

// touched lists positions of an axis that go with a unit.
type touched struct {
	axis  int32
	index []int32
}

// macNode is a node that counts multiply-adds, with tensors whose shapes follow a
// removal.
type macNode struct {
	op      op.MACer
	in, out []*op.Tensor
	// from has, per dimension of in and then out, the axis it follows, or -1.
	from []int32
}

// Removal is a set of removed units with the model's cost kept up to date. Changing
// a unit costs as much as it has positions; Params and MACs cost a pass over the
// initializers and nodes that count, a few microseconds. Not for use by several
// goroutines at once.
type Removal struct {
	gs      *Groups
	removed [][]bool
	// hits[a][p] counts the removed units that position p of axis a is part of.
	hits [][]int32
	kept []int
}

// NewRemoval returns a removal of nothing.
func (gs *Groups) NewRemoval() *Removal {
	r := &Removal{gs: gs}
	for _, g := range gs.Groups {
		r.removed = append(r.removed, make([]bool, g.Width))
	}
	for _, a := range gs.axes {
		r.hits = append(r.hits, make([]int32, a.length))
		r.kept = append(r.kept, a.length)
	}
	return r
}

// Set removes unit u of group g, or puts it back.
func (r *Removal) Set(g, u int, removed bool) {
	if r.removed[g][u] == removed {
		return
	}
	r.removed[g][u] = removed
	for _, t := range r.gs.touch[g][u] {
		hits := r.hits[t.axis]
		for _, p := range t.index {
			if removed {
				if hits[p]++; hits[p] == 1 {
					r.kept[t.axis]--
				}
			} else if hits[p]--; hits[p] == 0 {
				r.kept[t.axis]++
			}
		}
	}
}

// Removed is the present removal; it must not be changed.
func (r *Removal) Removed() [][]bool { return r.removed }

// Empties reports whether some axis has lost all its positions, or would lose them
// with unit u of group g: such a model cannot be written.
func (r *Removal) Empties(g, u int) bool {
	was := r.removed[g][u]
	r.Set(g, u, true)
	empty := false
	for _, t := range r.gs.touch[g][u] {
		empty = empty || r.kept[t.axis] == 0
	}
	r.Set(g, u, was)
	return empty
}

// Params is the number of elements that the float initializers keep, counted as
// [Graph.Params] does.
func (r *Removal) Params() int64 {
	n := int64(0)
	for _, v := range r.gs.inits {
		size := int64(1)
		axes := r.gs.axisOf[v.Index]
		for k, d := range v.Init.Shape {
			if axes != nil && axes[k] >= 0 {
				d = r.kept[axes[k]]
			}
			size *= int64(d)
		}
		n += size
	}
	return n
}

// MACs is the number of multiply-adds per sample that remain.
func (r *Removal) MACs() int64 {
	n := int64(0)
	for i := range r.gs.costs {
		c := &r.gs.costs[i]
		k := 0
		for _, ts := range [2][]*op.Tensor{c.in, c.out} {
			for _, t := range ts {
				if t == nil {
					continue
				}
				for d := range t.Shape {
					if a := c.from[k]; a >= 0 {
						t.Shape[d] = r.kept[a]
					}
					k++
				}
			}
		}
		n += c.op.MACs(c.in, c.out)
	}
	return n / int64(r.gs.Batch)
}

// Cost returns the parameters and the multiply-adds per sample after a removal. A
// search that changes one unit at a time uses [Groups.NewRemoval].
func (gs *Groups) Cost(removed [][]bool) (params, macs int64) {
	r := gs.NewRemoval()
	for g := range removed {
		for u, gone := range removed[g] {
			r.Set(g, u, gone)
		}
	}
	return r.Params(), r.MACs()
}

// Keep returns, per initializer or Constant node by name, which elements are under
// no removed unit, row-major: the mask of the masked model, over members that are
// weights. Tensors that lose nothing are absent.
func (gs *Groups) Keep(removed [][]bool) map[string][]bool {
	masks := map[string][]bool{}
	for g := range gs.Groups {
		for i := range gs.Groups[g].Members {
			m := &gs.Groups[g].Members[i]
			if !m.Weight {
				continue
			}
			for u, gone := range removed[g] {
				if !gone {
					continue
				}
				keep := masks[m.Value.Name]
				if keep == nil {
					keep = make([]bool, op.Size(m.shape))
					for k := range keep {
						keep[k] = true
					}
					masks[m.Value.Name] = keep
				}
				for lo, hi := range m.Elements(u) {
					clear(keep[lo:hi])
				}
			}
		}
	}
	return masks
}

// Kept is the number of positions that an axis of a value keeps.
func (r *Removal) Kept(v *Value, axis int) int {
	if axes := r.gs.axisOf[v.Index]; axes != nil && axes[axis] >= 0 {
		return r.kept[axes[axis]]
	}
	return r.gs.Shapes.Of[v.Index].Shape[axis]
}

// Inputs are the graph's inputs.
func (gs *Groups) Inputs() []*Value { return gs.graph.Inputs }
