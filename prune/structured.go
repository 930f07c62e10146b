package prune

import (
	"fmt"
	"math"
	"strconv"

	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Structured removes channels: it finds which with the model masked, cuts them out, and
// trains what is left for the epochs that remain.
type Structured struct {
	Graph *graph.Graph
	// State is the whole model's; it is trained in the masked epochs.
	State      *engine.State
	Units      *Units
	Goal       Goal
	Importance Importance
	// Masked is the number of epochs of bi-level pruning under masks, up to
	// Config.Epochs; 0 is one-shot pruning by importance.
	Masked int
	// Frozen trains scores only in the masked epochs, with γ = ∞ (hydra).
	Frozen bool
	// Restart begins the learning rate's cosine anew after the cut.
	Restart bool
	Train   *data.Dataset
	// Val may be nil.
	Val      *data.Dataset
	Pool     *kernel.Pool
	Config   Config
	Progress Progress
	Journal  *Journal
	// Cut, if set, is told of the pruned model before it is trained.
	Cut func(g *graph.Graph, epoch int)

	// Choice is what was removed, History the epochs of both parts, Passes how often the
	// data went forward and backward in them.
	Choice  Choice
	History []Epoch
	Passes  float64
}

// Prepare checks model and data and returns the trainer of the masked epochs. The model
// may be evaluated with it before Run.
func (s *Structured) Prepare() (*Trainer, error) {
	t := &Trainer{Graph: s.Graph, State: s.State, Masks: s.Units.Masks, Train: s.Train, Val: s.Val, Pool: s.Pool, Config: s.Config, Progress: s.Progress, Journal: s.Journal}
	t.Config.Epochs = s.Masked
	if !s.Restart {
		t.Config.Whole = s.Config.Epochs
	}
	return t, t.Prepare()
}

// Run trains, and returns the best epoch after the cut with the values of the whole
// model's initializers: those of what is left are trained, those of what is gone are as
// the masked epochs left them.
func (s *Structured) Run(t *Trainer) (best int, values map[string][]float32, err error) {
	scoring := &Scoring{Graph: s.Graph, Pool: s.Pool, Seed: s.Config.Seed}
	if s.Importance.Gradients {
		if scoring.Taylor, err = s.Units.taylor(t); err != nil {
			return 0, nil, err
		}
	}
	scores := s.Units.Scores(s.Importance, scoring)
	goal, err := s.counted(scores)
	if err != nil {
		return 0, nil, err
	}
	if err := t.Journal.settle("goal", func(v *slots) { v.number("ratio", &goal.Ratio) }); err != nil {
		return 0, nil, err
	}
	b, err := NewUnitBiP(t, s.Units, goal, scores)
	if err != nil {
		return 0, nil, err
	}
	b.frozen = s.Frozen
	if s.Masked > 0 {
		if err := s.Units.checkGates(t); err != nil {
			return 0, nil, err
		}
	}
	if err := b.Run(); err != nil {
		return 0, nil, err
	}
	s.Choice, s.History, s.Passes = b.Choice, t.History, t.Passes()
	if goal.Of != s.Goal.Of {
		if s.Choice, err = s.Units.Choose(s.Goal, b.scores); err != nil {
			return 0, nil, err
		}
		s.Units.Refresh()
	}
	values = map[string][]float32{}
	for _, name := range s.State.Names() {
		values[name] = s.State.Tensor(name).F
	}
	for _, l := range s.Units.Masks.Layers {
		values[l.Name] = l.Theta
	}
	t.release()
	if err := t.Journal.settle("cut", func(v *slots) { s.visitCut(v, values) }); err != nil {
		return 0, nil, err
	}
	if s.Masked == s.Config.Epochs {
		return s.Masked, values, t.Journal.finish()
	}
	plan, err := s.Units.Groups.Plan(s.Units.Removed())
	if err != nil {
		return 0, nil, err
	}
	small, err := cut(s.Graph, plan, values)
	if err != nil {
		return 0, nil, err
	}
	if s.Cut != nil {
		s.Cut(small, s.Masked)
	}
	t.plan, t.eval, t.sgd = nil, nil, nil // their memory is the small network's
	if best, err = s.tune(small, t, plan, values); err != nil {
		return 0, nil, err
	}
	return best, values, nil
}

// visitCut lists what the masked epochs came to.
func (s *Structured) visitCut(v *slots, values map[string][]float32) {
	for g, removed := range s.Units.Removed() {
		v.flags(named("removed", strconv.Itoa(g)), removed, func(i int, gone bool) { s.Units.removal.Set(g, i, gone) })
	}
	for _, name := range s.State.Names() {
		v.floats(named("value", name), values[name])
	}
	c := &s.Choice
	v.number("before", &c.Before)
	v.number("after", &c.After)
	v.number("achieved", &c.Achieved)
	v.number("step", &c.Step)
	v.flag("largest", &c.Largest)
	v.number("passes", &s.Passes)
	if v.loading && v.err == nil {
		s.Units.Refresh()
	}
}

// counted replaces a goal that must be measured, too slow for every step, by one that
// is counted and takes as much of what the scores rank first: MACs for latency,
// parameters for size. The last choice is by the goal itself.
func (s *Structured) counted(scores [][]float64) (Goal, error) {
	if s.Goal.Measure == nil {
		return s.Goal, nil
	}
	if _, err := s.Units.Choose(s.Goal, scores); err != nil {
		return Goal{}, err
	}
	of := OfParams
	if s.Goal.Of == OfLatency {
		of = OfMACs
	}
	count := func(r *graph.Removal) float64 {
		if of == OfMACs {
			return float64(r.MACs())
		}
		return float64(r.Params())
	}
	before := count(s.Units.costs.NewRemoval())
	return Goal{Of: of, Ratio: 1 - count(s.Units.removal)/max(1, before), BestEffort: true}, nil
}

// cut is the model with the removed channels gone and the given values.
func cut(g *graph.Graph, plan *graph.Plan, values map[string][]float32) (*graph.Graph, error) {
	m, err := g.File.Clone()
	if err != nil {
		return nil, err
	}
	for _, v := range g.Initializers() {
		if x := values[v.Name]; x != nil {
			if err := m.SetTensor(v.Name, x); err != nil {
				return nil, err
			}
		}
	}
	if err := plan.Apply(m); err != nil {
		return nil, err
	}
	return graph.New(m, g.Name)
}

// tune trains the pruned model for the remaining epochs and enters its values.
func (s *Structured) tune(small *graph.Graph, first *Trainer, plan *graph.Plan, values map[string][]float32) (best int, err error) {
	state := engine.NewState(small)
	t := &Trainer{Graph: small, State: state, Masks: fileMasks(small, state), Train: s.Train, Val: s.Val, Pool: s.Pool, Config: first.Config, Progress: s.Progress, Journal: first.Journal}
	t.Config.Before, t.Config.Epochs = s.Masked, s.Config.Epochs-s.Masked
	if err := t.Prepare(); err != nil {
		return 0, err
	}
	last := s.History[len(s.History)-1]
	t.keep(last.Epoch, last.Val)
	if err := t.train(); err != nil {
		return 0, err
	}
	if err := t.Journal.finish(); err != nil {
		return 0, err
	}
	s.History = append(s.History, t.History...)
	s.Passes += t.Passes()
	if best, err = t.Best(); err != nil {
		return 0, err
	}
	for _, v := range s.Graph.Initializers() {
		if x := values[v.Name]; x != nil {
			if err := spread(x, v, state.Tensor(v.Name).F, plan); err != nil {
				return 0, err
			}
		}
	}
	return best, nil
}

// fileMasks holds the masks that the file applies, which stay.
func fileMasks(g *graph.Graph, state *engine.State) *Masks {
	m := &Masks{}
	for _, w := range g.Weights() {
		if w.Value.Mask == nil {
			continue
		}
		l := Layer{Name: w.Value.Name, Shape: w.Value.Init.Shape, Out: -1, In: -1, Z: state.Tensor(w.Value.Name).F}
		l.Theta = append([]float32(nil), l.Z...)
		l.Mask = make([]float32, len(l.Z))
		for i, keep := range w.Value.Mask.Keep {
			if keep {
				l.Mask[i] = 1
			}
		}
		m.Fixed = append(m.Fixed, l)
	}
	return m
}

// spread puts the elements of a cut tensor back at their places in the whole one.
func spread(whole []float32, v *graph.Value, small []float32, plan *graph.Plan) error {
	shape := v.Init.Shape
	gone := make([][]bool, len(shape))
	for a := range shape {
		gone[a] = plan.Gone(v, a)
	}
	at := make([]int, len(shape))
	k := 0
	for i := range whole {
		rest, out := i, false
		for a := len(shape) - 1; a >= 0; a-- {
			at[a], rest = rest%shape[a], rest/shape[a]
			out = out || gone[a] != nil && gone[a][at[a]]
		}
		if out {
			continue
		}
		if k == len(small) {
			return fmt.Errorf("initializer %q: the cut tensor has %d elements, more are kept", v.Name, len(small))
		}
		whole[i] = small[k]
		k++
	}
	if k != len(small) {
		return fmt.Errorf("initializer %q: the cut tensor has %d elements, %d are kept", v.Name, len(small), k)
	}
	return nil
}

// checkGates compares the loss of one batch under gates and under whole masks. Where they
// differ, a channel is also read otherwise than through a weight (by a sum of channels,
// say), and gates become masks.
func (u *Units) checkGates(t *Trainer) error {
	before := t.State.Snapshot()
	loss := func() (float64, error) {
		stream, err := t.Train.Batches(data.BatchOptions{Size: t.Config.Batch, DropLast: true, Augment: data.AugmentNone})
		if err != nil {
			return 0, err
		}
		defer stream.Close()
		return t.pass(stream, t.gradients)
	}
	gated, err := loss()
	if err != nil {
		return err
	}
	u.whole = true
	u.Refresh()
	masked, err := loss()
	if err != nil {
		return err
	}
	t.State.Restore(before)
	u.whole = math.Abs(gated-masked) > 1e-4*max(1, math.Abs(masked))
	u.Refresh()
	return nil
}

// taylorBatches is how many batches the first-order change is averaged over.
const taylorBatches = 50

// taylor is the mean over batches of the squared first-order change of the loss when a
// unit goes. The state is left as it was.
func (u *Units) taylor(t *Trainer) ([][]float64, error) {
	before := t.State.Snapshot()
	defer t.State.Restore(before)
	stream, err := t.Train.Batches(data.BatchOptions{Size: t.Config.Batch, Shuffle: true, DropLast: true, Augment: t.Config.Augment, Seed: 2 * t.Config.Seed})
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	total := make([][]float64, len(u.Groups.Groups))
	for g := range total {
		total[g] = make([]float64, u.Groups.Groups[g].Width)
	}
	for step := range min(taylorBatches, t.steps) {
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
		for g, d := range u.slopes(t, 0) {
			for i, x := range d {
				total[g][i] += x * x
			}
		}
	}
	return total, nil
}
