// Package engine compiles a graph for a batch size into a plan, a list of
// operator calls on planned buffers, and runs it: forward, or forward and
// backward.
package engine

import (
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/op"
)

// State holds the current values of a model's float initializers. Plans compiled
// with the same state share them, so that an evaluation sees what training has
// changed.
type State struct {
	tensors map[string]*op.Tensor
	order   []string
}

// NewState copies the float initializers of g, with the masks that the file
// applies multiplied in. Subnormal elements become zero: weight decay leaves such weights
// in channels that have died, and processors are many times slower with them.
func NewState(g *graph.Graph) *State {
	const normal = 0x1p-126
	s := &State{tensors: map[string]*op.Tensor{}}
	for _, v := range g.Initializers() {
		if v.Init.F == nil {
			continue
		}
		t := op.Floats(kernel.Floats(len(v.Init.F)), v.Init.Shape...)
		for i, x := range v.Init.F {
			if x != 0 && -normal < x && x < normal {
				x = 0
			}
			t.F[i] = x
		}
		if v.Mask != nil {
			for i, keep := range v.Mask.Keep {
				if !keep {
					t.F[i] = 0
				}
			}
		}
		s.tensors[v.Name] = t
		s.order = append(s.order, v.Name)
	}
	return s
}

// Tensor returns the elements of an initializer, or nil.
func (s *State) Tensor(name string) *op.Tensor { return s.tensors[name] }

// Names returns the initializers in file order.
func (s *State) Names() []string { return s.order }

// Adopt makes the elements of the named initializers those of another state, shared with
// it, where both have them in the same shape.
func (s *State) Adopt(other *State, names []string) {
	for _, name := range names {
		mine, theirs := s.tensors[name], other.tensors[name]
		if mine != nil && theirs != nil && op.EqualShape(mine.Shape, theirs.Shape) {
			s.tensors[name] = theirs
		}
	}
}

// Snapshot is a copy of all elements of a state.
type Snapshot struct{ data map[string][]float32 }

// Snapshot copies the present elements.
func (s *State) Snapshot() *Snapshot {
	c := &Snapshot{map[string][]float32{}}
	for _, name := range s.order {
		c.data[name] = append([]float32(nil), s.tensors[name].F...)
	}
	return c
}

// Floats are the elements of an initializer in the snapshot; nil if it has none.
func (c *Snapshot) Floats(name string) []float32 { return c.data[name] }

// Restore brings the elements of a snapshot back.
func (s *State) Restore(c *Snapshot) {
	for _, name := range s.order {
		copy(s.tensors[name].F, c.data[name])
	}
}
