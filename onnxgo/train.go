package onnxgo

import (
	"errors"
	"fmt"

	"gorgonia.org/tensor"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/prune"
)

// optimizer updates the parameters of one training plan.
type optimizer struct {
	plan *engine.Plan
	sgd  *prune.SGD
}

// Step computes the mean loss of what the inputs hold, and the gradients of it by the parameters
// that training changes, for [Backend.Gradient] and [Backend.Descend]. The loss reads the first
// output, of which axis 0 counts samples. BatchNormalization uses the statistics of the batch and
// updates its running ones. The outputs of a training pass are not left in nodes: Run computes
// them.
func (b *Backend) Step(loss engine.Loss, target *engine.Target) (float64, error) {
	if loss == nil {
		return 0, errors.New("training wants a loss")
	}
	if len(b.options.Parameters) == 0 {
		return 0, errors.New("no parameters to train\nhint: onnxgo.Load takes them from the file, Options.Parameters names them")
	}
	c, err := b.ready(&b.train, loss)
	if err != nil {
		return 0, err
	}
	return c.plan.Step(target)
}

// Trained returns the names of the parameters that the last Step has gradients of.
func (b *Backend) Trained() []string {
	if b.train.plan == nil {
		return nil
	}
	return b.train.plan.Trained()
}

// Gradient returns a copy of the gradient that the last Step left for a parameter, in its
// shape.
func (b *Backend) Gradient(name string) (tensor.Tensor, error) {
	if b.train.plan == nil {
		return nil, errors.New("no step was made")
	}
	x := b.train.plan.Grad(name)
	if x == nil {
		return nil, fmt.Errorf("%q has no gradient", name)
	}
	return toTensor(x)
}

// Descend moves the trained parameters along the gradients of the last Step: with
// g = ∇ℓ + decay·θ and v ← momentum·v + g, θ ← θ − rate·v. The velocities v start at 0, and
// again where the graph was compiled for other shapes.
func (b *Backend) Descend(rate, momentum, decay float64) error {
	p := b.train.plan
	if p == nil {
		return errors.New("no step was made")
	}
	if b.sgd == nil || b.sgd.plan != p {
		b.sgd = &optimizer{p, prune.NewSGD(b.pool, p, b.state, nil)}
	}
	b.sgd.sgd.Step(rate, momentum, decay)
	return nil
}
