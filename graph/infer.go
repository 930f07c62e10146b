package graph

import (
	"errors"
	"fmt"

	"github.com/onnxprune/onnxprune/op"
)

// Binding gives sizes to what a file leaves open, and overrides the batch.
type Binding struct {
	// Batch, if positive, replaces the batch axis of every graph input that has one, also
	// where the file fixes it.
	Batch int
	// Dims gives sizes to symbols.
	Dims map[string]int
	// Training makes operators for a plan that trains.
	Training bool
}

// Shapes are the results of inference at one binding.
type Shapes struct {
	// Of has, per Value.Index, type and shape, with elements where the value is
	// constant; nil where nothing is known.
	Of []*op.Tensor
	// Ops has, per Node.Index, the operator made for the node; nil where unknown.
	Ops []op.Op
	// Problems are nodes that contradict their inputs, in order.
	Problems []error
	// failed has the problem of a node without the file and the node.
	failed map[*Node]error
	// Unknown are nodes whose operator, or a value they need, is not known.
	Unknown []*Node
	// Needs names, for nodes in Unknown that want an input to be constant, that
	// input.
	Needs map[*Node]*Value

	training bool
	// batch and dims are the sizes of open dimensions, where the inference was made to
	// analyse.
	batch int
	dims  map[string]int
	// room is the number of elements that constant folding may still make.
	room int
}

// foldLimit is the largest result, in elements, that constant folding makes
// when it is larger than what goes in. All results together have at most 4 times
// that, and 4 times the initializers.
const foldLimit = 1 << 19

// newShapes returns an inference that has seen nothing but the initializers.
func (g *Graph) newShapes() *Shapes {
	s := &Shapes{Of: make([]*op.Tensor, len(g.Values)), Ops: make([]op.Op, len(g.Nodes)), room: 4 * foldLimit}
	for _, v := range g.Values {
		if v.FromInit {
			s.Of[v.Index] = v.Init
			s.room += 4 * v.Init.Size()
		}
	}
	return s
}

// InputShape returns the shape of a graph input under the binding; an error
// names a symbol without a size.
func (b Binding) InputShape(v *Value) ([]int, error) {
	if !v.Ranked {
		return nil, fmt.Errorf("input %q: the file declares no shape", v.Name)
	}
	shape := make([]int, len(v.Dims))
	for i, d := range v.Dims {
		size, ok := b.Dims[d.Symbol]
		switch {
		case i == v.BatchAxis && b.Batch > 0:
			shape[i] = b.Batch
		case d.Size >= 0:
			shape[i] = d.Size
		case ok:
			shape[i] = size
		default:
			return nil, fmt.Errorf("input %q: dimension %d (%s) has no size\nhint: give one, for example --dim %s=64", v.Name, i, d.Symbol, d.Symbol)
		}
	}
	if op.Size(shape) > 1<<40 {
		return nil, fmt.Errorf("input %q: shape %s is too large", v.Name, op.ShapeString(shape))
	}
	return shape, nil
}

// Infer runs shape inference and constant folding at a binding. The error is
// for inputs whose shape is open; contradictions within the graph are in
// Shapes.Problems.
func (g *Graph) Infer(b Binding) (*Shapes, error) {
	s := g.newShapes()
	s.training = b.Training
	for _, v := range g.Inputs {
		shape, err := b.InputShape(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", g.Name, err)
		}
		s.Of[v.Index] = op.Info(v.Type, shape...)
	}
	trained := g.trainedValues()
	for _, n := range g.Nodes {
		g.inferNode(s, n, trained)
	}
	return s, nil
}

func (g *Graph) inferNode(s *Shapes, n *Node, trained map[*Value]bool) {
	if n.Def == nil {
		s.Unknown = append(s.Unknown, n)
		return
	}
	in := make([]*op.Tensor, len(n.In))
	constant, fixed := true, true
	size := 0
	for i, v := range n.In {
		if v == nil {
			continue
		}
		in[i] = s.Of[v.Index]
		if in[i] == nil {
			s.Unknown = append(s.Unknown, n)
			return
		}
		constant = constant && in[i].IsConst()
		fixed = fixed && !trained[v]
		size += in[i].Size()
	}
	o, err := n.make(s.training)
	if err != nil {
		s.fail(g, n, err)
		return
	}
	if _, ok := o.(op.ShapeReader); ok {
		constant, fixed = true, true
	}
	out, err := o.Infer(in)
	if need := (op.NeedConst{}); errors.As(err, &need) {
		if need.Input < len(n.In) {
			if s.Needs == nil {
				s.Needs = map[*Node]*Value{}
			}
			s.Needs[n] = n.In[need.Input]
		}
		s.Unknown = append(s.Unknown, n)
		return
	}
	if err != nil {
		s.fail(g, n, err)
		return
	}
	s.Ops[n.Index] = o
	total := 0
	for _, t := range out {
		total += t.Size()
	}
	if constant && fixed && total <= s.room && (total <= foldLimit || total <= size) {
		s.room -= total
		fold(o, in, out)
	}
	for i, v := range n.Out {
		if v != nil && i < len(out) {
			s.Of[v.Index] = out[i]
			trained[v] = !fixed
		}
	}
}

// fail notes what is wrong with a node.
func (s *Shapes) fail(g *Graph, n *Node, err error) {
	s.Problems = append(s.Problems, fmt.Errorf("%s: %s: %w", g.Name, n, err))
	if s.failed == nil {
		s.failed = map[*Node]error{}
	}
	s.failed[n] = err
}

// Failed returns how a node contradicts its inputs, or nil.
func (s *Shapes) Failed(n *Node) error { return s.failed[n] }

// fold computes constant outputs; on an error they stay without elements.
func fold(o op.Op, in, out []*op.Tensor) {
	if p, ok := o.(op.Preparer); ok {
		ws, err := p.Prepare(in, out, false)
		if err != nil || ws > 0 {
			return
		}
	}
	if l, ok := o.(op.Layouter); ok {
		want, given := l.Layouts(in)
		for i, t := range in {
			if t != nil && !op.SameOrder(t.Shape, want[i], t.Layout) {
				return
			}
		}
		for i, t := range out {
			if !op.SameOrder(t.Shape, given[i], op.RowMajor) {
				return
			}
		}
	}
	for _, t := range out {
		t.Alloc()
	}
	if err := o.Forward(&op.Context{}, in, out); err != nil {
		for _, t := range out {
			t.F, t.I = nil, nil
		}
	}
}

// make reads the node's attributes into an operator.
func (n *Node) make(training bool) (op.Op, error) {
	present := make([]bool, len(n.In))
	for i, v := range n.In {
		present[i] = v != nil
	}
	return n.Def.Make(op.Node{Type: n.Type, Opset: n.Opset, Attrs: n.Attrs, Inputs: present, Outputs: len(n.Out), Training: training})
}
