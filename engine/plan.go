package engine

import (
	"fmt"
	"math"
	"time"

	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/op"
)

// Options of a compilation.
type Options struct {
	// Batch is the size of the batch axis of every input, which in a plan is axis 0, of inputs and of outputs,
	// wherever the file has it.
	Batch int
	// Fixed keeps every input at the sizes that the file declares and Dims gives,
	// axis 0 as well. Batch is not read then; that of the plan is the number of rows
	// that a loss reads.
	Fixed bool
	// Dims gives sizes to further symbols of the file.
	Dims map[string]int
	// Loss makes the plan one for training: forward, loss, backward.
	Loss Loss
	// Others are further outputs that Loss reads, by index: the loss is the mean over them
	// and output 0. Outputs that depend on no trained initializer, or do not have a row of
	// floats per sample, are left out; see [Plan.Others].
	Others []int
	// FreezeNorm keeps BatchNormalization on its running statistics in training.
	FreezeNorm bool
	// Pool computes; it may be shared by plans that do not run at the same time.
	Pool *kernel.Pool
	// Constant says that no initializer changes between runs: what is made of them alone,
	// as packed weights, is made in the first forward pass and kept. Not for training.
	Constant bool
	// NoFusion compiles every node by itself.
	NoFusion bool
	// Lower, if set, makes another engine run the plan, without fusion, and with the
	// pool idle.
	Lower Lowering

	dry bool // counts memory only
}

// Plan is a compiled graph: calls in order, on buffers placed in one arena.
type Plan struct {
	// Name is that of the graph, as errors show it.
	Name    string
	Batch   int
	Inputs  []*op.Tensor
	Outputs []*op.Tensor
	// unbatched tells, per input, that it has no axis for the batch.
	unbatched []bool
	forward   []call
	backward  []call
	ctx       op.Context
	loss      Loss
	logits    *op.Tensor
	softmax   int // the axis of the Softmax between logits and output 0, -1 if there is none
	dlogits   *op.Tensor
	others    []further
	grads     map[string]*op.Tensor
	trained   []string
	arena     []float32
	work      int
	// executor, if set, runs instead of the calls.
	executor Executor
	need     int64
	// spent is the time in every call, nil unless it is measured.
	spent map[*call]time.Duration
}

// further is an output beside output 0 that the loss reads.
type further struct {
	output int
	y, dy  *op.Tensor
}

// call is one operator call on fixed tensors.
type call struct {
	title string
	kind  string
	op    op.Op
	in    []*op.Tensor
	out   []*op.Tensor
	dout  []*op.Tensor
	din   []*op.Tensor
	// plain, if set, runs instead of the operator: copies, sums and folded weights.
	plain func(c *op.Context)
	macs  int64
	// once marks what the first run alone has to do.
	once, done bool
}

// Forward computes the outputs from what Inputs hold.
func (p *Plan) Forward() error {
	if p.executor != nil {
		return p.named(p.executor.Forward())
	}
	return p.run(p.forward, false)
}

// run makes calls in order.
func (p *Plan) run(calls []call, back bool) error {
	for i := range calls {
		c := &calls[i]
		if p.spent == nil {
			if err := c.run(&p.ctx, back); err != nil {
				return err
			}
			continue
		}
		start := time.Now()
		if err := c.run(&p.ctx, back); err != nil {
			return err
		}
		p.spent[c] += time.Since(start)
	}
	return nil
}

// Step computes the mean loss of the batch and the gradient of it with respect to
// every trained initializer. BatchNormalization updates its running statistics.
func (p *Plan) Step(target *Target) (float64, error) {
	if p.executor != nil {
		loss, err := p.executor.Step(target)
		return loss, p.named(err)
	}
	if err := p.Forward(); err != nil {
		return 0, err
	}
	loss, err := p.loss.Eval(p.logits, target, p.dlogits)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", p.Name, err)
	}
	if len(p.others) > 0 {
		if loss, err = p.evalOthers(loss, target); err != nil {
			return 0, fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return loss, nil
	}
	return loss, p.run(p.backward, true)
}

// named puts the name of the graph before an error of another engine.
func (p *Plan) named(err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	return nil
}

// evalOthers adds the losses of further outputs to that of the first, and makes the mean of
// values and gradients.
func (p *Plan) evalOthers(loss float64, target *Target) (float64, error) {
	if len(target.Others) != len(p.others) {
		return 0, fmt.Errorf("the batch has values for %d further outputs, the loss reads %d", len(target.Others), len(p.others))
	}
	n := float64(1 + len(p.others))
	scale := func(dy *op.Tensor) {
		for i := range dy.F {
			dy.F[i] /= float32(n)
		}
	}
	scale(p.dlogits)
	for i, h := range p.others {
		l, err := p.loss.Eval(h.y, &Target{Values: target.Others[i]}, h.dy)
		if err != nil {
			return 0, fmt.Errorf("output %d: %w", h.output, err)
		}
		scale(h.dy)
		loss += l
	}
	return loss / n, nil
}

// Others are the further outputs that the loss reads, by index.
func (p *Plan) Others() []int {
	var list []int
	for _, h := range p.others {
		list = append(list, h.output)
	}
	return list
}

func (c *call) run(ctx *op.Context, back bool) error {
	if c.done {
		return nil
	}
	if c.plain != nil {
		c.plain(ctx)
		c.done = c.once
		return nil
	}
	var err error
	if back {
		err = c.op.(op.Gradient).Backward(ctx, c.in, c.out, c.dout, c.din)
	} else {
		err = c.op.Forward(ctx, c.in, c.out)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.title, err)
	}
	return nil
}

// Trained returns the names of the initializers that have a gradient, in file
// order.
func (p *Plan) Trained() []string { return p.trained }

// Grad returns the gradient that the last Step left for an initializer, in its
// shape; nil if it has none.
func (p *Plan) Grad(name string) *op.Tensor { return p.grads[name] }

// Scored is the tensor that a loss reads: output 0, or what goes into it where that
// is a Softmax over classes and the loss wants logits. A nil loss wants output 0.
func (p *Plan) Scored(l Loss) *op.Tensor {
	if l == nil || !l.FromLogits() {
		return p.Outputs[0]
	}
	if c, ok := l.(Classifier); ok && p.softmax >= 0 && p.softmax != c.ClassAxis(p.logits.Rank()) {
		return p.Outputs[0]
	}
	return p.logits
}

// CheckScored reports a tensor that no loss can read: one that does not hold one row
// of floats per sample.
func (p *Plan) CheckScored(l Loss) error { return p.checkRows(p.Scored(l)) }

func (p *Plan) checkRows(y *op.Tensor) error {
	if !y.Type.IsFloat() {
		return fmt.Errorf("%s: output 0 is of type %s, a loss wants a float type", p.Name, y.Type)
	}
	if y.Rank() == 0 || y.Shape[0] != p.Batch {
		return fmt.Errorf("%s: output 0 has shape %s at batch size %d, a loss wants one row per sample", p.Name, op.ShapeString(y.Shape), p.Batch)
	}
	return nil
}

// ArenaBytes is the memory for activations, gradients and workspace, in bytes.
func (p *Plan) ArenaBytes() int64 { return 4 * int64(len(p.arena)+p.work) }

// MACs is the number of multiply-adds of one forward pass.
func (p *Plan) MACs() int64 {
	n := int64(0)
	for _, c := range p.forward {
		n += c.macs
	}
	return n
}

// Calls lists the calls of the plan, forward then backward, for people.
func (p *Plan) Calls() []string {
	var s []string
	for _, c := range p.forward {
		s = append(s, "forward  "+c.title)
	}
	for _, c := range p.backward {
		s = append(s, "backward "+c.title)
	}
	return s
}
