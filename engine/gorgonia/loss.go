//go:build gorgonia

package gorgonia

import (
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/op"
)

// train adds the loss and the gradients of it. Cross-entropy is
// −Σ t ⊙ log softmax(y) with t the labels as rows of 1/N and zeros, mean squared error
// Σ (y−t)² / n.
func (l *lowering) train(x *executor) error {
	y := l.nodes[l.p.Scored]
	shape := y.Shape()
	size := shape.TotalSize()
	x.targets = make([]float32, size)
	t := l.leaf("targets", op.Floats(x.targets, shape...))
	var terms *G.Node
	var err error
	switch l.p.Loss.(type) {
	case engine.CrossEntropy:
		if len(shape) != 2 {
			return fmt.Errorf("gorgonia: output 0 has shape %v, cross-entropy wants [N,classes]", shape)
		}
		var log *G.Node
		if log, err = logSoftmax(y); err != nil {
			return err
		}
		if terms, err = G.HadamardProd(t, log); err != nil {
			return err
		}
		if terms, err = G.Neg(terms); err != nil {
			return err
		}
	case engine.MeanSquaredError:
		if terms, err = G.Sub(y, t); err != nil {
			return err
		}
		if terms, err = G.Square(terms); err != nil {
			return err
		}
		if terms, err = scaled(terms, 1/float32(size)); err != nil {
			return err
		}
	default:
		return fmt.Errorf("gorgonia: the loss %T is not lowered, only cross-entropy and mean squared error are", l.p.Loss)
	}
	if terms, err = G.Reshape(terms, tensor.Shape{size}); err != nil {
		return err
	}
	loss, err := G.Sum(terms, 0)
	if err != nil {
		return err
	}
	G.Read(loss, &x.loss)
	var wrt G.Nodes
	for _, name := range l.p.Trained {
		wrt = append(wrt, l.nodes[l.p.Graph.Value(name)])
	}
	grads, err := G.Grad(loss, wrt...)
	if err != nil {
		return fmt.Errorf("gorgonia: %w", err)
	}
	for i, g := range grads {
		x.read(g, l.p.Gradients[l.p.Trained[i]].F)
	}
	return nil
}

// logSoftmax is y − log Σ exp(y) over axis 1.
func logSoftmax(y *G.Node) (*G.Node, error) { return G.LogSoftMax(y, 1) }

// aim enters the targets of a batch.
func (x *executor) aim(t *engine.Target) error {
	if _, ok := x.p.Loss.(engine.MeanSquaredError); ok {
		if len(t.Values) != len(x.targets) {
			return fmt.Errorf("the batch has %d target values, the output wants %d", len(t.Values), len(x.targets))
		}
		copy(x.targets, t.Values)
		return nil
	}
	shape := x.p.Logits.Shape
	n, classes := shape[0], shape[1]
	if len(t.Labels) != n {
		return fmt.Errorf("the batch has %d labels, the output %s wants %d", len(t.Labels), op.ShapeString(shape), n)
	}
	clear(x.targets)
	for i, label := range t.Labels {
		if label < 0 || int(label) >= classes {
			return fmt.Errorf("label %d is outside [0,%d)", label, classes)
		}
		x.targets[i*classes+int(label)] = 1 / float32(n)
	}
	return nil
}
