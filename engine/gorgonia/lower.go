//go:build gorgonia

package gorgonia

import (
	"errors"
	"fmt"
	"slices"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/op"
)

// Lower builds the expression graph of a program, with its loss and gradients where it is
// for training. The error names every node that cannot be run here. It implements
// [engine.Lowering].
func Lower(p *engine.Program) (engine.Executor, error) {
	var x *executor
	err := guarded(func() (err error) {
		x, err = lower(p)
		return err
	})
	if err != nil {
		return nil, err
	}
	return x, nil
}

// guarded turns a panic of Gorgonia into an error.
func guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("gorgonia: %v", r)
		}
	}()
	return f()
}

// lowering is a program on its way into an expression graph.
type lowering struct {
	p     *engine.Program
	g     *G.ExprGraph
	nodes map[*graph.Value]*G.Node
	norms []*norm
}

func lower(p *engine.Program) (*executor, error) {
	l := &lowering{p: p, g: G.NewGraph(), nodes: map[*graph.Value]*G.Node{}}
	x := &executor{p: p}
	for i, v := range p.Graph.Inputs {
		t := p.Inputs[i]
		if t.F == nil {
			return nil, fmt.Errorf("input %q is of type %s, gorgonia is given floats only", v.Name, t.Type)
		}
		l.nodes[v] = l.leaf(fmt.Sprintf("input %d", i), t)
	}
	var errs []error
	for _, n := range p.Nodes {
		if err := l.node(n); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", n, err))
			l.standIn(n)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(append(errs, errors.New("hint: --engine onnxprune runs them"))...)
	}
	if err := l.outputs(x); err != nil {
		return nil, err
	}
	if p.Loss != nil {
		if err := l.train(x); err != nil {
			return nil, err
		}
	}
	x.norms = l.norms
	x.vm = G.NewTapeMachine(l.g)
	return x, nil
}

// standIn gives the outputs of a node that cannot be lowered their shapes, so that those behind it
// are looked at too.
func (l *lowering) standIn(n *graph.Node) {
	for _, v := range n.Out {
		if v != nil {
			if t := l.p.Shapes.Of[v.Index]; t.Rank() > 0 {
				l.nodes[v] = G.NewTensor(l.g, tensor.Float32, t.Rank(), G.WithShape(t.Shape...), G.WithName(v.Name))
			}
		}
	}
}

// node lowers one node.
func (l *lowering) node(n *graph.Node) error {
	f := operators[n.Type]
	if f == nil || n.Domain != "" {
		return errors.New("the operator is not lowered to gorgonia")
	}
	if len(n.Out) == 0 || n.Out[0] == nil {
		return errors.New("has no output 0")
	}
	for _, v := range n.Out[1:] {
		if v != nil && (len(v.Uses) > 0 || slices.Contains(l.p.Graph.Outputs, v)) {
			return fmt.Errorf("output %q besides the first is not lowered to gorgonia", v.Name)
		}
	}
	y, err := f(l, n)
	if err != nil {
		return err
	}
	want := l.p.Shapes.Of[n.Out[0].Index].Shape
	if !slices.Equal([]int(y.Shape()), want) {
		if y, err = G.Reshape(y, tensor.Shape(want)); err != nil {
			return err
		}
	}
	l.nodes[n.Out[0]] = y
	return nil
}

// in is the expression of input i of a node: a value computed before, or an initializer, of
// which Gorgonia reads the state's own elements.
func (l *lowering) in(n *graph.Node, i int) (*G.Node, error) {
	if i >= len(n.In) || n.In[i] == nil {
		return nil, fmt.Errorf("input %d is missing", i)
	}
	v := n.In[i]
	if x := l.nodes[v]; x != nil {
		return x, nil
	}
	t := l.p.State.Tensor(v.Name)
	if t == nil {
		t = l.p.Shapes.Of[v.Index]
	}
	if t == nil || t.F == nil {
		return nil, fmt.Errorf("input %d %q holds no floats", i, v.Name)
	}
	if t.Rank() == 0 {
		return nil, fmt.Errorf("input %d %q is a scalar, which is not lowered to gorgonia", i, v.Name)
	}
	l.nodes[v] = l.leaf(fmt.Sprintf("%d %s", v.Index, v.Name), t)
	return l.nodes[v], nil
}

// has reports whether a node has input i.
func has(n *graph.Node, i int) bool { return i < len(n.In) && n.In[i] != nil }

// leaf is an expression that reads t.
func (l *lowering) leaf(name string, t *op.Tensor) *G.Node {
	return G.NewTensor(l.g, tensor.Float32, t.Rank(), G.WithShape(t.Shape...), G.WithName(name), G.WithValue(over(t)))
}

// over is a tensor of Gorgonia's on the elements of t.
func over(t *op.Tensor) *tensor.Dense {
	return tensor.New(tensor.WithShape(t.Shape...), tensor.WithBacking(t.F))
}

// outputs reads what the program wants to see.
func (l *lowering) outputs(x *executor) error {
	read := func(v *graph.Value, to *op.Tensor) error {
		if to.F == nil || to.IsConst() && l.nodes[v] == nil {
			return fmt.Errorf("output %q is a constant or holds no floats, which is not lowered to gorgonia", v.Name)
		}
		if l.nodes[v] == nil {
			return fmt.Errorf("output %q is computed by no node", v.Name)
		}
		x.read(l.nodes[v], to.F)
		return nil
	}
	for i, v := range l.p.Graph.Outputs {
		if err := read(v, l.p.Outputs[i]); err != nil {
			return err
		}
	}
	if l.p.Logits != l.p.Outputs[0] {
		return read(l.p.Scored, l.p.Logits)
	}
	return nil
}

// executor runs an expression graph. It implements [engine.Executor].
type executor struct {
	p     *engine.Program
	vm    G.VM
	norms []*norm
	reads []*reading
	// targets is what the loss compares with, loss its value.
	targets []float32
	loss    G.Value
}

// reading copies a value after a run.
type reading struct {
	value G.Value
	to    []float32
}

func (x *executor) read(n *G.Node, to []float32) {
	r := &reading{to: to}
	G.Read(n, &r.value)
	x.reads = append(x.reads, r)
}

// Forward implements [engine.Executor].
func (x *executor) Forward() error { return guarded(x.run) }

func (x *executor) run() error {
	x.vm.Reset()
	if err := x.vm.RunAll(); err != nil {
		return fmt.Errorf("gorgonia: %w", err)
	}
	for _, r := range x.reads {
		if err := copyValue(r.to, r.value); err != nil {
			return err
		}
	}
	return nil
}

func copyValue(to []float32, v G.Value) error {
	switch data := v.Data().(type) {
	case []float32:
		if len(data) == len(to) {
			if d, ok := v.(*tensor.Dense); ok && d.RequiresIterator() {
				return fmt.Errorf("gorgonia: a value of shape %v is not contiguous", d.Shape())
			}
			copy(to, data)
			return nil
		}
	case float32:
		if len(to) == 1 {
			to[0] = data
			return nil
		}
	}
	return fmt.Errorf("gorgonia: a value has shape %v and type %T, wants %d elements", v.Shape(), v.Data(), len(to))
}

// Step implements [engine.Executor].
func (x *executor) Step(t *engine.Target) (float64, error) {
	if err := x.aim(t); err != nil {
		return 0, err
	}
	for _, n := range x.norms {
		if err := n.load(); err != nil {
			return 0, err
		}
	}
	if err := guarded(x.run); err != nil {
		return 0, err
	}
	for _, n := range x.norms {
		if err := n.store(); err != nil {
			return 0, err
		}
	}
	loss := make([]float32, 1)
	if err := copyValue(loss, x.loss); err != nil {
		return 0, err
	}
	return float64(loss[0]), nil
}
