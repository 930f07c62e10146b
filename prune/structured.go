package prune

import (
	"math"
	"strconv"

	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Structured removes channels: it finds which with the model masked, cuts them out, and
// trains what is left for the epochs that remain; or it does so in rounds.
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
	// Rounds removes channels in rounds of Config.Epochs (imp), without masked epochs.
	Rounds bool
	// Rungs may be set with Rounds.
	Rungs *Rungs
	Train *data.Dataset
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
	// Best is the epoch that is the result (the last one without Val), Values are the whole
	// model's initializers after it: those of what is left are trained, those of what is
	// gone are as they were before the cut.
	Best   int
	Values map[string][]float32

	batches int // of networks
}

// Prepare checks model and data and returns the trainer of the masked epochs. The model
// may be evaluated with it, and early weights to go back to may be made, before Run.
func (s *Structured) Prepare() (*Trainer, error) {
	t := &Trainer{Graph: s.Graph, State: s.State, Masks: s.Units.Masks, Train: s.Train, Val: s.Val, Pool: s.Pool, Config: s.Config, Progress: s.Progress, Journal: s.Journal}
	t.Config.Epochs, t.Config.Whole = s.Masked, s.Config.Epochs
	return t, t.Prepare()
}

// Run finds channels and trains with t, which Prepare returned. Where t.Rewind is set,
// weights go back to it wherever training of a cut model begins, with a cosine of its own.
func (s *Structured) Run(t *Trainer) error {
	s.Values = map[string][]float32{}
	for _, name := range s.State.Names() {
		s.Values[name] = s.State.Tensor(name).F
	}
	for _, l := range s.Units.Masks.Layers {
		s.Values[l.Name] = l.Theta
	}
	if s.Rounds {
		return s.rounds(t)
	}
	scores, err := s.score(t)
	if err != nil {
		return err
	}
	goal, err := s.counted(scores)
	if err != nil {
		return err
	}
	if _, err := t.Journal.settle("goal", func(v *slots) { v.number("ratio", &goal.Ratio) }); err != nil {
		return err
	}
	b, err := NewUnitBiP(t, s.Units, goal, scores)
	if err != nil {
		return err
	}
	b.frozen = s.Frozen
	if s.Masked > 0 {
		if err := s.Units.checkGates(t); err != nil {
			return err
		}
	} else {
		s.Units.whole = true
		s.rewind(t)
	}
	zero := s.candidate(b.Choice)
	if err := b.Run(); err != nil {
		return err
	}
	s.Choice, s.History, s.Passes = b.Choice, t.History, t.Passes()
	zero.score = s.History[0].Val
	if goal.Of != s.Goal.Of {
		if s.Choice, err = s.Units.Choose(s.Goal, b.scores); err != nil {
			return err
		}
		s.Units.Refresh()
	}
	t.release()
	if _, err := t.Journal.settle("cut", s.visitCut); err != nil {
		return err
	}
	last := s.History[len(s.History)-1]
	rest := s.Config.Epochs - s.Masked
	if rest == 0 && s.Config.Retrain == 0 {
		if err := t.Journal.finish(); err != nil {
			return err
		}
		s.settle(zero, last.Epoch, last.Val)
		return nil
	}
	t.free()
	n, err := s.network(t, s.Masked, rest)
	if err != nil {
		return err
	}
	if s.Cut != nil {
		s.Cut(n.t.Graph, s.Masked)
	}
	n.t.keep(last.Epoch, last.Val)
	if rest > 0 && s.Masked > 0 && t.Rewind != nil {
		n.t.rewind()
		n.t.Config.Whole = 0
	}
	if err := n.t.train(); err != nil {
		return err
	}
	return s.conclude(n, zero)
}

// conclude retrains a network, and makes the best epoch, of its own or zero, the result.
func (s *Structured) conclude(n *network, zero *candidate) error {
	if k := s.Config.Retrain; k > 0 {
		n.t.rewind()
		if err := n.t.phase(k); err != nil {
			return err
		}
	}
	if err := n.t.Journal.finish(); err != nil {
		return err
	}
	s.enter(n)
	return s.best(n, zero)
}

// enter counts the epochs of a network.
func (s *Structured) enter(n *network) {
	s.History = append(s.History, n.t.History...)
	s.Passes += n.t.Passes()
	s.batches += n.t.batches
}

// best makes the best epoch the result.
func (s *Structured) best(n *network, zero *candidate) error {
	epoch, err := n.t.Best()
	if err != nil {
		return err
	}
	if err := n.values(s); err != nil {
		return err
	}
	s.settle(zero, epoch, n.t.best.score)
	return nil
}

// settle makes zero the result where another epoch, whose values and channels are the
// present ones, is no better.
func (s *Structured) settle(zero *candidate, epoch int, score *Score) {
	s.Best = epoch
	if s.Val == nil || score.better(zero.score) {
		return
	}
	s.Best, s.Choice = 0, zero.choice
	s.restore(zero.whole)
}

// candidate is epoch 0: channels removed, nothing trained.
type candidate struct {
	whole  *whole
	choice Choice
	score  *Score
}

// candidate has the present values and channels, where they may be the result.
func (s *Structured) candidate(c Choice) *candidate {
	k := &candidate{choice: c}
	if s.Val != nil {
		k.whole = s.snapshot()
	}
	return k
}

// whole is the state of the whole model between two cuts: its values and what is removed.
type whole struct {
	values  map[string][]float32
	removed [][]bool
}

func (s *Structured) snapshot() *whole {
	w := &whole{values: map[string][]float32{}, removed: clone(s.Units.Removed())}
	for name, v := range s.Values {
		w.values[name] = append([]float32(nil), v...)
	}
	return w
}

func (s *Structured) restore(w *whole) {
	for name, v := range w.values {
		copy(s.Values[name], v)
	}
	s.Units.set(w.removed)
}

func clone(removed [][]bool) [][]bool {
	out := make([][]bool, len(removed))
	for g := range removed {
		out[g] = append([]bool(nil), removed[g]...)
	}
	return out
}

// score ranks the units by the present values.
func (s *Structured) score(t *Trainer) ([][]float64, error) {
	scoring := &Scoring{Graph: s.Graph, Pool: s.Pool, Seed: s.Config.Seed}
	if s.Importance.Gradients {
		var err error
		if scoring.Taylor, err = s.Units.taylor(t); err != nil {
			return nil, err
		}
	}
	return s.Units.Scores(s.Importance, scoring), nil
}

// rewind puts the whole model's values back, if there are early ones, and brings masks up
// to date.
func (s *Structured) rewind(t *Trainer) {
	if t.Rewind != nil {
		for name, v := range s.Values {
			copy(v, t.Rewind.state.Floats(name))
		}
	}
	s.Units.Refresh()
}

// visitCut lists what came before a cut.
func (s *Structured) visitCut(v *slots) {
	removed := clone(s.Units.Removed())
	visitRemoved(v, removed, &s.Choice)
	for _, name := range s.State.Names() {
		v.floats(named("value", name), s.Values[name])
	}
	v.number("passes", &s.Passes)
	if v.loading && v.err == nil {
		s.Units.set(removed)
	}
}

// visitRemoved lists what is removed, and what that comes to.
func visitRemoved(v *slots, removed [][]bool, c *Choice) {
	for g, units := range removed {
		v.flags(named("removed", strconv.Itoa(g)), units, func(i int, gone bool) { units[i] = gone })
	}
	v.number("before", &c.Before)
	v.number("after", &c.After)
	v.number("achieved", &c.Achieved)
	v.number("step", &c.Step)
	v.flag("largest", &c.Largest)
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
	before := count(s.Units.costs.NewRemoval()) - s.Units.added(of)
	return Goal{Of: of, Ratio: 1 - count(s.Units.removal)/max(1, before), BestEffort: true}, nil
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
	stream, err := t.stream(0, 0, 0)
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
