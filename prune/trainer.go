package prune

import (
	"errors"
	"math"
	"time"

	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Config are the settings of a pruning run. The zero value of a number means its
// default.
type Config struct {
	// Ratio is the fraction of masked weights removed, in [0,1).
	Ratio float64
	// Structure says what is removed together; the zero value is single weights.
	Structure Structure
	// Epochs are passes over the data.
	Epochs int
	// Before is the number of epochs that another trainer has made, Whole that of the
	// learning rate's cosine, 0 for Epochs. The mask's rate has a cosine over Epochs.
	Before, Whole int
	// Retrain is the number of epochs after those of the method, with the masks fixed.
	Retrain int
	// Batch is the number of samples of a step.
	Batch int
	// LR and MaskLR are the first learning rates of weights and scores; both follow a
	// cosine to 0.
	LR, MaskLR float64
	// Gamma is the lower level's regulariser γ in the implicit gradient.
	Gamma float64
	// WeightDecay is added to the gradient as WeightDecay·θ.
	WeightDecay float64
	// Anchor is added to the gradient of weights that are masked as Anchor·(θ − θ₀), θ₀ the ones that Prepare
	// found, in place of WeightDecay·θ. 0: no anchor. Source: Li et al. 2018, "Explicit Inductive Bias for
	// Transfer Learning with Convolutional Networks", L2-SP.
	Anchor float64
	// BothBatches makes a lower step also on the second batch of an iteration of bi-level
	// pruning, in masked epochs and after a cut.
	BothBatches bool
	// Ramp is the fraction of a run in which bi-level pruning of weights and blocks comes to
	// Ratio, and of the masked epochs in which that of channels does, in [0,1]; see [BiP] and
	// [UnitBiP].
	Ramp float64
	// Clip bounds the gradient of a batch: where its norm is more than that share of the norm of
	// all that is trained, it is scaled down to it. 0: no bound.
	Clip float64
	// Momentum of weights and of scores.
	Momentum float64
	Seed     uint64
	Augment  data.Augment
	Dims     map[string]int
	// FreezeNorm keeps BatchNormalization on its running statistics.
	FreezeNorm bool
	// Lower, if set, makes another engine run training and evaluation.
	Lower engine.Lowering
	Loss  engine.Loss
	// EvalLoss is what evaluations report; nil means Loss.
	EvalLoss engine.Loss
	// Teacher, if set, gives the loss its target values: logits for the inputs of a
	// batch. LabelShare mixes the data's own values in: (1−LabelShare)·teacher +
	// LabelShare·values, which for mean squared error has the gradient of the mixed losses.
	Teacher    *engine.Plan
	LabelShare float64
	// Others are further outputs of which the loss is the mean with output 0, by index; they
	// want a Teacher.
	Others []int
	// EvalTeacher, if set, gives evaluations their target values.
	EvalTeacher *engine.Plan
	// Retries is how often a run may diverge and go back to the beginning of the epoch with
	// smaller rates, before that is an error.
	Retries int
}

// Epoch is what one epoch of a run came to.
type Epoch struct {
	// Epoch 0 is the model before any step.
	Epoch int `json:"epoch"`
	// TrainLoss is the mean over the epoch's lower steps; absent for epoch 0.
	TrainLoss float64 `json:"train_loss"`
	// Val is the evaluation on --val, absent without one.
	Val *Score `json:"val,omitempty"`
	// Changed is the fraction of mask elements that differ from the epoch before.
	Changed float64 `json:"mask_changed"`
	// Ratio is the fraction removed so far, of an epoch that ends before it is the one asked
	// for; else 0. Such an epoch is not the best.
	Ratio float64 `json:"ratio,omitempty"`
}

// Progress receives what a run does; any field may be nil.
type Progress struct {
	// Step is called after each of an epoch's steps.
	Step func(epoch, step, steps int, loss float64)
	// Epoch is called after each epoch, 0 included.
	Epoch func(e Epoch)
	// Diverged is called when an epoch begins anew with smaller rates.
	Diverged func(d Divergence)
}

// Trainer holds what the methods share: plans, data, parameters, momenta.
type Trainer struct {
	Graph *graph.Graph
	State *engine.State
	Masks *Masks
	Train *data.Dataset
	// Val may be nil.
	Val      *data.Dataset
	Pool     *kernel.Pool
	Config   Config
	Progress Progress
	// Rewind is where training under fixed masks begins; nil where it goes on.
	Rewind *Rewind
	// Rungs may be set for imp.
	Rungs *Rungs
	// Journal is the course of the run, shared by its trainers; Prepare makes one where it
	// is nil.
	Journal *Journal

	plan    *engine.Plan
	eval    *engine.Plan
	sgd     *SGD
	step    int
	steps   int // per epoch
	best    *kept
	mixed   []float32
	batches int     // forward and backward
	rising  float64 // see Epoch.Ratio
	born    time.Time
	release func()
	History []Epoch
}

// kept is the best state of a run.
type kept struct {
	epoch int
	score *Score
	state *engine.Snapshot
	masks [][]float32
	theta [][]float32
}

// Prepare compiles the training plan and checks the data against the model. The
// batch is made smaller where the data have fewer samples.
func (t *Trainer) Prepare() error {
	c := &t.Config
	if c.Batch > t.Train.Len() {
		c.Batch = t.Train.Len()
	}
	var err error
	t.plan, err = engine.Compile(t.Graph, t.State, engine.Options{Batch: c.Batch, Dims: c.Dims, Loss: c.Loss, Others: c.Others, FreezeNorm: c.FreezeNorm, Pool: t.Pool, Lower: c.Lower})
	if err != nil {
		return err
	}
	t.steps, t.born = t.Train.Len()/c.Batch, time.Now()
	t.sgd = NewSGD(t.Pool, t.plan, t.State, t.Masks)
	if c.Anchor > 0 {
		t.sgd.Anchor(c.Anchor)
	}
	t.hold()
	return nil
}

// Plan is the training plan.
func (t *Trainer) Plan() *engine.Plan { return t.plan }

// StepsPerEpoch is the number of lower steps of an epoch.
func (t *Trainer) StepsPerEpoch() int { return t.steps }

// cosine is the schedule's factor: from 1 to 0 over all steps of the run.
func (t *Trainer) cosine() float64 {
	c := &t.Config
	if c.Whole > 0 {
		return cosine(c.Before*t.steps+t.step, t.steps*c.Whole)
	}
	return cosine(t.step, t.steps*c.Epochs)
}

// maskCosine is the factor of the mask's rate: from 1 to 0 over the trainer's epochs.
func (t *Trainer) maskCosine() float64 { return cosine(t.step, t.steps*t.Config.Epochs) }

func cosine(step, steps int) float64 {
	return 0.5 * (1 + math.Cos(math.Pi*float64(step)/float64(steps)))
}

// gradients runs forward and backward on a batch. Every gradient is by the masked
// weights.
func (t *Trainer) gradients(b *data.Batch) (float64, error) {
	t.plan.Feed(b.Inputs, b.Rows)
	target := &engine.Target{Labels: b.Labels, Values: b.Targets}
	if t.Config.Teacher != nil {
		t.Config.Teacher.Feed(b.Inputs, b.Rows)
		if err := t.Config.Teacher.Forward(); err != nil {
			return 0, err
		}
		target.Values = t.mix(t.Config.Teacher.Scored(t.Config.Loss).F, b.Targets)
		for _, k := range t.plan.Others() {
			target.Others = append(target.Others, t.Config.Teacher.Outputs[k].F)
		}
	}
	loss, err := t.plan.Step(target)
	if err == nil && t.Config.Clip > 0 {
		t.clip()
	}
	return loss, err
}

// mix adds the data's own values to those of the teacher.
func (t *Trainer) mix(teacher, values []float32) []float32 {
	share := float32(t.Config.LabelShare)
	if share == 0 || len(values) != len(teacher) {
		return teacher
	}
	t.mixed = append(t.mixed[:0], teacher...)
	for i, v := range values {
		t.mixed[i] += share * (v - t.mixed[i])
	}
	return t.mixed
}

// descend makes one SGD step on all trained initializers with the present
// gradients; masked weights stay.
func (t *Trainer) descend() {
	t.sgd.Step(t.rates())
}

// rates are those of the weights' present step.
func (t *Trainer) rates() (lr, momentum, weightDecay float64) {
	c := &t.Config
	return t.Journal.scale() * c.LR * t.cosine(), c.Momentum, c.WeightDecay
}

// chunks splits [0,n) in fixed pieces over the pool.
func (t *Trainer) chunks(n int, f func(lo, hi int)) {
	const size = 1 << 15
	t.Pool.Run((n+size-1)/size, func(i, _ int) { f(i*size, min(n, (i+1)*size)) })
}

// epochEnd evaluates and remembers the best state.
func (t *Trainer) epochEnd(epoch int, loss, changed float64) error {
	epoch += t.Config.Before
	if epoch == 0 {
		t.Journal.Trace.begin()
	}
	e, done, err := t.Journal.ending(Epoch{Epoch: epoch, TrainLoss: loss, Changed: changed, Ratio: t.rising})
	if err != nil {
		return err
	}
	if done {
		t.History = append(t.History, e)
		return nil
	}
	if t.Val != nil {
		s, err := t.Evaluate(t.Val)
		if errors.Is(err, ErrStopped) {
			return t.Journal.interrupted(e)
		}
		if err != nil {
			return err
		}
		e.Val = s
	}
	t.History = append(t.History, e)
	t.Journal.ended(e)
	if t.best == nil || e.Ratio == 0 && (t.Val == nil || e.Val.better(t.best.score)) {
		t.keep(epoch, e.Val)
	}
	if t.Progress.Epoch != nil {
		t.Progress.Epoch(e)
	}
	return nil
}

func (t *Trainer) keep(epoch int, s *Score) {
	k := &kept{epoch: epoch, score: s, state: t.State.Snapshot()}
	for _, l := range t.Masks.Layers {
		k.masks = append(k.masks, append([]float32(nil), l.Mask...))
		k.theta = append(k.theta, append([]float32(nil), l.Theta...))
	}
	t.best = k
}

// Best goes back to the best epoch (the last one without --val) and returns its
// number.
func (t *Trainer) Best() (int, error) {
	if t.best == nil {
		return 0, errors.New("no epoch was run")
	}
	t.restore()
	return t.best.epoch, nil
}

func (t *Trainer) restore() {
	t.State.Restore(t.best.state)
	for i, l := range t.Masks.Layers {
		copy(l.Mask, t.best.masks[i])
		copy(l.Theta, t.best.theta[i])
	}
}

// Passes is how often the data went forward and backward so far.
func (t *Trainer) Passes() float64 { return float64(t.batches) / float64(max(1, t.steps)) }

// Evaluate measures the model as it is now.
func (t *Trainer) Evaluate(d *data.Dataset) (*Score, error) {
	if t.eval == nil {
		p, err := engine.Compile(t.Graph, t.State, engine.Options{Batch: EvalBatch(t.Graph, t.Config.Dims, d.Len()), Dims: t.Config.Dims, Pool: t.Pool, Lower: t.Config.Lower})
		if err != nil {
			return nil, err
		}
		t.eval = p
	}
	loss := t.Config.EvalLoss
	if loss == nil {
		loss = t.Config.Loss
	}
	return evaluate(t.eval, t.Config.EvalTeacher, t.plan.Others(), d, loss, func(int, int) error {
		if t.Journal.stopped() {
			return ErrStopped
		}
		return nil
	})
}
