package engine

import (
	"fmt"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/op"
)

// Lowering makes another engine compute what a plan computes. An error names every node
// that it cannot run.
type Lowering func(p *Program) (Executor, error)

// Executor runs the passes of a plan on another engine.
type Executor interface {
	// Forward computes the outputs, and the logits, from the inputs and the state.
	Forward() error
	// Step also computes the mean loss and the gradients.
	Step(t *Target) (float64, error)
}

// Program is what another engine has to compute: a graph at fixed sizes, on row-major tensors
// that belong to the plan and stay where they are.
type Program struct {
	Graph  *graph.Graph
	Shapes *graph.Shapes
	State  *State
	// Nodes are those that outputs depend on and that are not constant, in order.
	Nodes []*graph.Node
	// Inputs and Outputs are those of the graph, in its order.
	Inputs, Outputs []*op.Tensor
	// Scored is the value that the loss reads, Logits where it goes.
	Scored *graph.Value
	Logits *op.Tensor
	// Loss is nil for inference.
	Loss       Loss
	FreezeNorm bool
	// Trained are the initializers that have a gradient, in file order, and Gradients
	// where these go.
	Trained   []string
	Gradients map[string]*op.Tensor
}

// lower gives the plan to another engine, node by node, without fusion or layouts.
func (c *compiler) lower() error {
	p := &Program{Graph: c.g, Shapes: c.shapes, State: c.state, Scored: c.scored, Loss: c.opt.Loss, FreezeNorm: c.opt.FreezeNorm, Gradients: map[string]*op.Tensor{}}
	for _, n := range c.g.Nodes {
		if c.needs[n.Index] {
			p.Nodes = append(p.Nodes, n)
		}
	}
	for _, t := range c.plan.Inputs {
		t.Alloc()
	}
	p.Inputs = c.plan.Inputs
	for _, v := range c.g.Outputs {
		t := c.values[v.Index].t
		if !t.IsConst() {
			t.Alloc()
		}
		c.plan.Outputs = append(c.plan.Outputs, t)
	}
	p.Outputs = c.plan.Outputs
	if t := c.loss.t; !t.IsConst() {
		t.Alloc()
	}
	c.plan.logits, p.Logits = c.loss.t, c.loss.t
	if c.opt.Loss != nil {
		if err := c.plan.checkRows(c.loss.t); err != nil {
			return err
		}
		if err := c.needGradients(); err != nil {
			return err
		}
		c.lowerGradients(p)
	}
	for _, i := range c.insts {
		c.plan.forward = append(c.plan.forward, call{title: i.title, kind: kindOf(i), macs: i.macs})
	}
	var err error
	if c.plan.executor, err = c.opt.Lower(p); err != nil {
		return fmt.Errorf("%s: %w", c.g.Name, err)
	}
	return nil
}

// lowerGradients makes a tensor for the gradient of every initializer that is trained and that
// the loss depends on.
func (c *compiler) lowerGradients(p *Program) {
	reach := map[*value]bool{c.loss: true}
	for k := len(c.insts) - 1; k >= 0; k-- {
		i := c.insts[k]
		for _, o := range i.out {
			if o == nil || !reach[o] || !o.wants {
				continue
			}
			for _, v := range i.in {
				if v != nil && v.wants {
					reach[v] = true
				}
			}
		}
	}
	for _, name := range c.state.Names() {
		v := c.g.Value(name)
		if v == nil || c.values[v.Index] == nil || !reach[c.values[v.Index]] {
			continue
		}
		p.Trained = append(p.Trained, name)
		p.Gradients[name] = op.New(op.Float, c.state.Tensor(name).Shape...)
	}
	c.plan.trained, c.plan.grads = p.Trained, p.Gradients
}
