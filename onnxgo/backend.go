// Package onnxgo is a computation backend for onnx-go: models that
// github.com/owulveryck/onnx-go decodes run, and are trained, on the engine of
// onnxprune.
//
//	b, m, err := onnxgo.Load(data, onnxgo.Options{})
//	err = m.SetInput(0, x)
//	err = b.Run()
//	y, err := m.GetOutputTensors()
//
// [Load] decodes a file with onnx-go and tells the backend what onnx-go keeps to
// itself: the opset version, which values are parameters, and which are outputs.
// [New] makes an empty backend for onnx.NewModel, or for a graph that a program
// builds itself; every value that has no producer is an input then.
//
// A backend is not safe for concurrent use.
package onnxgo

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"

	"github.com/owulveryck/onnx-go"
	"gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/simple"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

// DefaultOpset is the opset version of a backend that is told none: the last one of
// which onnx-go has conformance cases.
const DefaultOpset = 10

// Options of a backend.
type Options struct {
	// Opset is the version of ONNX's operators, 0 for DefaultOpset.
	Opset int
	// Parameters names the values that stay between runs, and that training may change.
	Parameters []string
	// Outputs names the values that Run leaves in their nodes. Without it they are
	// those that the file describes, or, where it describes none, those that no
	// operator reads.
	Outputs []string
	// Threads to compute with, 0 for the number of CPUs. Results do not depend on it.
	Threads int
}

// Backend is a computation graph that runs on the engine of onnxprune. It implements
// backend.ComputationBackend of onnx-go.
type Backend struct {
	options Options
	// parameters are those of options.
	parameters map[string]bool
	links      *simple.WeightedDirectedGraph
	nodes      []*Node
	calls      []*call
	pool       *kernel.Pool
	state      *engine.State
	forward    compiled
	train      compiled
	sgd        *optimizer
}

// call is one operator with its operands; nil stands for one that is left out.
type call struct {
	onnx.Operation
	in, out []*Node
}

// New returns an empty backend. Close frees its threads.
func New(o Options) *Backend {
	if o.Opset == 0 {
		o.Opset = DefaultOpset
	}
	if o.Threads <= 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	b := &Backend{options: o, parameters: map[string]bool{}, links: simple.NewWeightedDirectedGraph(math.MaxFloat64, -1), pool: kernel.NewPool(o.Threads)}
	for _, name := range o.Parameters {
		b.parameters[name] = true
	}
	return b
}

// Load decodes an ONNX file with onnx-go into a new backend. Opset, Parameters and
// Outputs are those of the file, whatever o says.
func Load(data []byte, o Options) (*Backend, *onnx.Model, error) {
	file, err := onnxio.LoadBytes("model", data)
	if err != nil {
		return nil, nil, err
	}
	o.Opset, o.Parameters, o.Outputs = int(file.Opset("")), nil, nil
	for _, t := range file.Proto.GetGraph().GetInitializer() {
		o.Parameters = append(o.Parameters, t.GetName())
	}
	for _, v := range file.Proto.GetGraph().GetOutput() {
		o.Outputs = append(o.Outputs, v.GetName())
	}
	b := New(o)
	m := onnx.NewModel(b)
	if err := m.UnmarshalBinary(data); err != nil {
		b.Close()
		return nil, nil, err
	}
	return b, m, nil
}

// Close frees the threads of the backend, which cannot run any more.
func (b *Backend) Close() { b.pool.Close() }

// NewNode implements graph.NodeAdder.
func (b *Backend) NewNode() graph.Node {
	return &Node{id: b.links.NewNode().ID(), backend: b}
}

// AddNode implements graph.NodeAdder. Nodes of another backend are refused with a panic, as
// the interface has no error.
func (b *Backend) AddNode(n graph.Node) {
	node, ok := n.(*Node)
	if !ok || node.backend != b {
		panic(fmt.Sprintf("onnxgo: node %d is of another backend", n.ID()))
	}
	b.links.AddNode(n)
	b.nodes = append(b.nodes, node)
}

// NewWeightedEdge implements graph.WeightedEdgeAdder.
func (b *Backend) NewWeightedEdge(from, to graph.Node, weight float64) graph.WeightedEdge {
	return edge{from, to, weight}
}

type edge struct {
	from, to graph.Node
	weight   float64
}

func (e edge) From() graph.Node         { return e.from }
func (e edge) To() graph.Node           { return e.to }
func (e edge) Weight() float64          { return e.weight }
func (e edge) ReversedEdge() graph.Edge { return edge{e.to, e.from, e.weight} }

// SetWeightedEdge makes the node that e leads to operand number e.Weight() of the
// operator that computes the node e comes from. An operand may be the same several times.
func (b *Backend) SetWeightedEdge(e graph.WeightedEdge) {
	if from, ok := e.From().(*Node); ok {
		if to, ok := e.To().(*Node); ok && e.Weight() >= 0 {
			k := int(e.Weight())
			for len(from.operands) <= k {
				from.operands = append(from.operands, nil)
			}
			from.operands[k] = to
		}
	}
	if e.From().ID() != e.To().ID() && !b.links.HasEdgeFromTo(e.From().ID(), e.To().ID()) {
		b.links.SetWeightedEdge(e)
	}
}

// ApplyOperation implements onnx.OperationCarrier: o computes the given nodes, in the
// order of its outputs, from their operands. An operator that the engine does not have
// is an *onnx.ErrNotImplemented.
func (b *Backend) ApplyOperation(o onnx.Operation, outputs ...graph.Node) error {
	if len(outputs) == 0 {
		return fmt.Errorf("operator %s has no output", o.Name)
	}
	if op.Lookup("", o.Name) == nil {
		return &onnx.ErrNotImplemented{Operator: o.Name, Message: "onnxprune does not have it"}
	}
	c := &call{Operation: o}
	for _, g := range outputs {
		n, ok := g.(*Node)
		if !ok || n.backend != b {
			return fmt.Errorf("operator %s: node %d is of another backend", o.Name, g.ID())
		}
		if n.left() {
			n = nil
		}
		c.out = append(c.out, n)
	}
	c.in = slices.Clone(outputs[0].(*Node).operands)
	for _, g := range outputs {
		g.(*Node).operands = nil
	}
	for i, n := range c.in {
		if n != nil && n.left() {
			c.in[i] = nil
		}
	}
	// onnx-go gives operators without inputs one that has neither name nor value.
	if len(c.in) == 1 && c.in[0] != nil && c.in[0].value == nil && c.in[0].producer == nil && strings.HasSuffix(c.in[0].name, "/input") {
		c.in = nil
	}
	for _, n := range c.out {
		if n != nil {
			if n.producer != nil {
				return fmt.Errorf("operator %s: %q is computed twice", o.Name, n.name)
			}
			n.producer = c
		}
	}
	b.calls = append(b.calls, c)
	b.discard()
	return nil
}

// discard drops what was compiled.
func (b *Backend) discard() { b.forward, b.train, b.sgd = compiled{}, compiled{}, nil }

// Node implements graph.Graph.
func (b *Backend) Node(id int64) graph.Node { return b.links.Node(id) }

// Nodes implements graph.Graph.
func (b *Backend) Nodes() graph.Nodes { return b.links.Nodes() }

// From returns the operands of a node.
func (b *Backend) From(id int64) graph.Nodes { return b.links.From(id) }

// To returns the nodes that have the given one as operand.
func (b *Backend) To(id int64) graph.Nodes { return b.links.To(id) }

// HasEdgeBetween implements graph.Graph.
func (b *Backend) HasEdgeBetween(x, y int64) bool { return b.links.HasEdgeBetween(x, y) }

// HasEdgeFromTo implements graph.Directed.
func (b *Backend) HasEdgeFromTo(u, v int64) bool { return b.links.HasEdgeFromTo(u, v) }

// Edge implements graph.Graph.
func (b *Backend) Edge(u, v int64) graph.Edge { return b.links.Edge(u, v) }

// outputs are the nodes that Run fills.
func (b *Backend) outputs() ([]*Node, error) {
	var named, described, last []*Node
	read := map[*Node]bool{}
	for _, c := range b.calls {
		for _, n := range c.in {
			read[n] = true
		}
	}
	for _, c := range b.calls {
		for _, n := range c.out {
			if n == nil {
				continue
			}
			if slices.Contains(b.options.Outputs, n.name) {
				named = append(named, n)
			}
			if n.described {
				described = append(described, n)
			}
			if !read[n] {
				last = append(last, n)
			}
		}
	}
	switch {
	case len(b.options.Outputs) > 0:
		last = named
	case len(described) > 0:
		last = described
	}
	if len(last) == 0 {
		return nil, errors.New("the graph computes no output")
	}
	return last, nil
}
