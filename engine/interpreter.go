package engine

import (
	"fmt"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/op"
)

// Interpreter runs the forward pass of a graph node by node in float64, with the
// reference of every operator: sums in a fixed order, one term at a time. It shares
// nothing with plans, layouts, fusion or kernels, and is slow. A term of zero leaves a
// sum as it is, bit by bit, wherever it stands.
//
// Values that are constant have been folded, in float32. Nodes that read integers only
// compute on integers.
type Interpreter struct {
	// Params are the values of the state by name.
	Params map[string]*op.Array
	// Graph is what is run, Shapes are those of its values.
	Graph    *graph.Graph
	Shapes   *graph.Shapes
	nodes    []*graph.Node
	training bool
	values   []*op.Array // by graph.Value.Index
	reads    []int       // by graph.Value.Index: reads to come
	next     int
}

// NewInterpreter prepares a run of g on a copy of the state, at the batch size and the dimensions of opt; with
// a loss, normalisation uses the statistics of the batch. The error lists all nodes
// that cannot be run.
func NewInterpreter(g *graph.Graph, state *State, opt Options) (*Interpreter, error) {
	c, err := newCompiler(g, state, opt)
	if err != nil {
		return nil, err
	}
	r := &Interpreter{Params: map[string]*op.Array{}, Shapes: c.shapes, Graph: c.g, training: opt.Loss != nil}
	need := c.needed()
	for _, n := range c.g.Nodes {
		if need[n.Index] {
			r.nodes = append(r.nodes, n)
		}
	}
	for _, name := range state.Names() {
		r.Params[name] = NewArray(state.Tensor(name))
	}
	return r, nil
}

// NewArray returns the elements of a row-major tensor.
func NewArray(t *op.Tensor) *op.Array {
	a := op.NewArray(t.Shape...)
	for i := range a.V {
		if t.F != nil {
			a.V[i] = float64(t.F[i])
		} else {
			a.V[i] = float64(t.I[i])
		}
	}
	return a
}

// Start puts inputs in, in the order of the graph's inputs.
func (r *Interpreter) Start(inputs []*op.Array) {
	r.values = make([]*op.Array, len(r.Graph.Values))
	r.reads = make([]int, len(r.Graph.Values))
	r.next = 0
	for i, v := range r.Graph.Inputs {
		r.values[v.Index] = inputs[i]
	}
	for _, n := range r.nodes {
		for _, v := range n.In {
			if v != nil {
				r.reads[v.Index]++
			}
		}
	}
	for _, v := range r.Graph.Outputs {
		r.reads[v.Index]++
	}
}

// Next runs one node and returns it; nil behind the last. What the node gave is there
// until the last reader has run.
func (r *Interpreter) Next() (*graph.Node, error) {
	if r.next == len(r.nodes) {
		return nil, nil
	}
	n := r.nodes[r.next]
	r.next++
	out, err := r.run(n)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", r.Graph.Name, n, err)
	}
	for _, v := range n.In {
		if v == nil {
			continue
		}
		if r.reads[v.Index]--; r.reads[v.Index] == 0 {
			r.values[v.Index] = nil
		}
	}
	for i, v := range n.Out {
		if v != nil && i < len(out) {
			r.values[v.Index] = out[i]
		}
	}
	return n, nil
}

// Value returns what is known of a value by now, or nil.
func (r *Interpreter) Value(v *graph.Value) *op.Array {
	if v.FromInit && r.Params[v.Name] != nil {
		return r.Params[v.Name]
	}
	if a := r.values[v.Index]; a != nil {
		return a
	}
	if t := r.Shapes.Of[v.Index]; t.IsConst() {
		r.values[v.Index] = NewArray(t)
		return r.values[v.Index]
	}
	return nil
}

// Run puts inputs in, runs all nodes, and returns the outputs.
func (r *Interpreter) Run(inputs []*op.Array) ([]*op.Array, error) {
	r.Start(inputs)
	for {
		if n, err := r.Next(); err != nil {
			return nil, err
		} else if n == nil {
			break
		}
	}
	var out []*op.Array
	for _, v := range r.Graph.Outputs {
		out = append(out, r.Value(v))
	}
	return out, nil
}

// run computes a node. A reference that cannot do with what a file holds is an error.
func (r *Interpreter) run(n *graph.Node) (out []*op.Array, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("cannot be computed in float64: %v", p)
		}
	}()
	node := op.Node{Type: n.Type, Opset: n.Opset, Attrs: n.Attrs, Outputs: len(n.Out), Training: r.training}
	in := make([]*op.Array, len(n.In))
	floats := false
	for i, v := range n.In {
		node.Inputs = append(node.Inputs, v != nil)
		if v == nil {
			continue
		}
		if in[i] = r.Value(v); in[i] == nil {
			return nil, fmt.Errorf("input %q has no value", v.Name)
		}
		floats = floats || r.Shapes.Of[v.Index].Type.IsFloat()
	}
	if floats {
		return n.Def.Reference(node, in), nil
	}
	return r.integers(n, in)
}

// integers computes a node that reads no floats as plans do.
func (r *Interpreter) integers(n *graph.Node, in []*op.Array) ([]*op.Array, error) {
	ts := make([]*op.Tensor, len(in))
	for i, a := range in {
		if a == nil {
			continue
		}
		ts[i] = op.New(r.Shapes.Of[n.In[i].Index].Type, a.Shape...)
		for k, x := range a.V {
			ts[i].I[k] = int64(x)
		}
	}
	o := r.Shapes.Ops[n.Index]
	infos, err := o.Infer(r.Shapes.Args(n.In))
	if err != nil {
		return nil, err
	}
	c := &op.Context{}
	for _, t := range infos {
		t.Alloc()
	}
	if p, ok := o.(op.Preparer); ok {
		ws, err := p.Prepare(ts, infos, false)
		if err != nil {
			return nil, err
		}
		c.Workspace = make([]float32, ws)
	}
	if err := o.Forward(c, ts, infos); err != nil {
		return nil, err
	}
	var out []*op.Array
	for _, t := range infos {
		out = append(out, NewArray(t))
	}
	return out, nil
}
