package prune

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Method is a way to find masks. A method is one file that calls registerMethod, and has
// either Score or Train.
type Method struct {
	// Name as --method takes it.
	Name string
	// Score ranks weights in one go: a score per layer of s.Masks and element, of which
	// the largest stay. What is left is retrained for Config.Epochs.
	Score func(s *Saliency) ([][]float32, error)
	// Gradients marks a Score that reads s.Trainer, and so needs data.
	Gradients bool
	// Train finds masks while it trains for Config.Epochs, or as many as Epochs returns.
	Train func(t *Trainer) error
	// Epochs is the length of a run of Train; nil for Config.Epochs.
	Epochs func(c *Config) int
	// Masked is how many of a number of epochs train the masks of channels, before these
	// are cut out; Frozen keeps the weights as they are meanwhile. Rounds removes channels in
	// rounds of Config.Epochs, cut out at the beginning of each. A method with Train and
	// neither has no form for channels.
	Masked func(epochs int) int
	Frozen bool
	Rounds bool
	// Importance ranks channels in place of sums of Score.
	Importance string
}

// Saliency is what scores are computed from.
type Saliency struct {
	Graph *graph.Graph
	Masks *Masks
	// Structure and Ratio are what will be removed, for scores that are found in rounds.
	Structure Structure
	Ratio     float64
	Pool      *kernel.Pool
	Seed      uint64
	Dims      map[string]int
	// Trainer is set where there is data.
	Trainer *Trainer
	// Trace, if not nil, sees the scores.
	Trace *Trace
}

var methods = map[string]Method{}

func registerMethod(m Method) { methods[m.Name] = m }

// Methods are the names of all methods, sorted.
func Methods() []string { return slices.Sorted(maps.Keys(methods)) }

// FindMethod returns the method of that name.
func FindMethod(name string) (Method, error) {
	m, ok := methods[name]
	if !ok {
		return m, fmt.Errorf("--method is %q, wants one of %s", name, strings.Join(Methods(), ", "))
	}
	return m, nil
}

// NeedsData reports whether the method cannot do without training data.
func (m Method) NeedsData() bool { return m.Gradients || m.Train != nil }

// Total is the number of epochs that a run makes, retraining included.
func (m Method) Total(c *Config) int {
	if m.Epochs != nil {
		return m.Epochs(c) + c.Retrain
	}
	return c.Epochs + c.Retrain
}

// Prune moves the masks to the largest scores of a method, without training.
func (s *Saliency) Prune(m Method) error {
	scores, err := m.Score(s)
	if err != nil {
		return err
	}
	s.Masks.projection(s.Structure, s.Ratio, s.Pool, value).project(scores, s.Masks.masks())
	s.Masks.Apply()
	s.Trace.rankWeights(scores)
	return nil
}

// Saliency is that of the trainer's model with its data.
func (t *Trainer) Saliency() *Saliency {
	c := &t.Config
	return &Saliency{Graph: t.Graph, Masks: t.Masks, Structure: c.Structure, Ratio: c.Ratio, Pool: t.Pool, Seed: c.Seed, Dims: c.Dims, Trainer: t, Trace: t.Journal.Trace}
}

// Run finds masks with a method, trains, and retrains for Config.Retrain epochs with
// the masks fixed. Wherever training begins under fixed masks, weights go back to
// t.Rewind first, if there is one.
func (t *Trainer) Run(m Method) error {
	if m.Train != nil {
		if err := m.Train(t); err != nil {
			return err
		}
	} else {
		if err := t.Saliency().Prune(m); err != nil {
			return err
		}
		t.rewind()
		if err := t.Retrain(); err != nil {
			return err
		}
	}
	if n := t.Config.Retrain; n > 0 {
		t.rewind()
		if err := t.phase(n); err != nil {
			return err
		}
	}
	return t.Journal.finish()
}

// phase trains for n epochs more with the masks as they are, momenta at zero and a
// cosine of its own.
func (t *Trainer) phase(n int) error {
	t.begin(n)
	return t.train()
}

// begin starts a phase of n epochs.
func (t *Trainer) begin(n int) {
	if k := len(t.History); k > 0 {
		t.Config.Before = t.History[k-1].Epoch
	}
	t.Config.Epochs, t.Config.Whole, t.step = n, 0, 0
	t.sgd.Reset()
}

// scoreBatches is how many batches gradients for scores are averaged over.
const scoreBatches = 50

// meanGradient is the gradient of the loss by the masked weights, mean over the first
// batches of the epoch 0 of the data, which are the same at every call. Running
// statistics move.
func (t *Trainer) meanGradient() ([][]float32, error) {
	stream, err := t.stream(0, 0, 0)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	sums := make([][]float32, len(t.Masks.Layers))
	for i, l := range t.Masks.Layers {
		sums[i] = kernel.Floats(len(l.Z))
	}
	n := min(scoreBatches, t.steps)
	for step := range n {
		if t.Journal.stopped() {
			return nil, ErrStopped
		}
		loss, err := t.pass(stream, t.gradients)
		if err != nil {
			return nil, err
		}
		if !finite(loss) {
			return nil, t.diverged(0, step, loss)
		}
		for i, l := range t.Masks.Layers {
			grad := t.plan.Grad(l.Name)
			if grad == nil {
				continue
			}
			t.chunks(len(sums[i]), func(lo, hi int) {
				for k, g := range grad.F[lo:hi] {
					sums[i][lo+k] += g / float32(n)
				}
			})
		}
	}
	return sums, nil
}
