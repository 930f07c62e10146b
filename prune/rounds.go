package prune

import (
	"fmt"
	"slices"
	"time"
)

// rounds is iterative pruning of channels (imp). Every round removes, of all channels
// together, those with the least importance by the weights as they are, until a fifth of
// what remained of the goal's quantity is gone; cuts them out; puts weights back to
// t.Rewind if there is one; and trains what is left for Config.Epochs. The last round
// removes what is missing to the ratio. A channel that went does not return. Limits are
// those of all rounds together; a fraction that is fixed for a group goes in the first.
//
// The result is the best epoch of the last round or epoch 0, one-shot pruning to the ratio.
// A lower ratio of s.Rungs is served by the round that removes the same channels; where
// there is none it takes its last round on a branch. Either way it ends as a run to that
// ratio alone would.
func (s *Structured) rounds(t *Trainer) error {
	rungs, scores, err := s.firsts(t)
	if err != nil {
		return err
	}
	t.release()
	t.best = nil
	if !s.Importance.Gradients {
		t.free()
	}
	last := rungs[len(rungs)-1]
	s.History, s.Passes = []Epoch{last.first}, t.Passes()
	ratios := roundRatios(s.Goal.Ratio)
	var chain cost
	for i, ratio := range ratios {
		start := s.cost(t)
		if i > 0 {
			if scores, err = s.score(t); err != nil {
				return err
			}
			s.Passes += float64(s.cost(t).minus(start).batches) / float64(t.steps)
		}
		from := selected{clone(s.Units.Removed()), s.Choice}
		goal := s.Goal
		if i < len(ratios)-1 {
			goal.Ratio, goal.BestEffort = ratio, true
		}
		way, err := s.more(t, from, goal, scores)
		if err != nil {
			return err
		}
		ready := chain.plus(s.cost(t).minus(start))
		var served []*unitRung
		for _, r := range rungs {
			if r.rounds != i+1 {
				continue
			}
			if r.last, err = s.more(t, from, r.goal, scores); err != nil {
				return err
			}
			if slices.EqualFunc(r.last.removed, way.removed, slices.Equal[[]bool]) {
				served = append(served, r)
				continue
			}
			if err := s.branch(t, i, from, r, scores, ready); err != nil {
				return err
			}
		}
		start = s.cost(t)
		n, err := s.round(t, i, way, scores)
		if err != nil {
			return err
		}
		if i == len(ratios)-1 {
			if err := s.conclude(n, last.zero); err != nil {
				return err
			}
		} else {
			s.enter(n)
			if err := n.values(s); err != nil {
				return err
			}
			s.Units.Refresh()
		}
		chain = ready.plus(s.cost(t).minus(start))
		for _, r := range served {
			if err := s.reach(n, r, chain); err != nil {
				return err
			}
		}
		if i < len(ratios)-1 {
			n.release()
		}
	}
	return nil
}

// roundRatios are the ratios after each round.
func roundRatios(ratio float64) []float64 { return impRatios(&Config{Ratio: ratio}) }

// unitRung is a ratio that rounds come to: its goal, how many lead there, its epoch 0, and
// what its last round begins with.
type unitRung struct {
	goal   Goal
	rounds int
	first  Epoch
	zero   *candidate
	last   selected
	cost   cost
}

// selected is what a goal takes out.
type selected struct {
	removed [][]bool
	choice  Choice
}

// firsts measures one-shot pruning to every ratio, and returns the scores that it goes by.
// It leaves all channels in place.
func (s *Structured) firsts(t *Trainer) ([]*unitRung, [][]float64, error) {
	begin := s.cost(t)
	scores, err := s.score(t)
	if err != nil {
		return nil, nil, err
	}
	scored := s.cost(t).minus(begin)
	var ratios []float64
	if s.Rungs != nil {
		ratios = append(ratios, s.Rungs.Ratios...)
		slices.Sort(ratios)
	}
	var rungs []*unitRung
	values := s.candidate(Choice{}).whole
	for i, ratio := range append(ratios, s.Goal.Ratio) {
		start := s.cost(t)
		r := &unitRung{goal: s.Goal, rounds: len(roundRatios(ratio)), zero: &candidate{}}
		r.goal.Ratio = ratio
		if r.zero.choice, err = s.Units.Choose(r.goal, scores); err != nil {
			return nil, nil, err
		}
		removed := clone(s.Units.Removed())
		if _, err := t.Journal.settle(fmt.Sprint("first ", i), func(v *slots) { visitRemoved(v, removed, &r.zero.choice) }); err != nil {
			return nil, nil, err
		}
		s.Units.whole = true
		s.Units.set(removed)
		t.History, t.best = nil, nil
		if err := t.epochEnd(0, 0, 0); err != nil {
			return nil, nil, err
		}
		if r.first = t.History[0]; values != nil {
			r.zero.whole, r.zero.score = &whole{values.values, removed}, r.first.Val
		}
		r.cost = scored.plus(s.cost(t).minus(start))
		rungs = append(rungs, r)
	}
	s.Units.whole = false
	s.Units.clear()
	s.Units.Refresh()
	return rungs, scores, nil
}

// more takes out what is missing to a goal.
func (s *Structured) more(t *Trainer, from selected, goal Goal, scores [][]float64) (selected, error) {
	s.Units.set(from.removed)
	// Scores mean nothing on the way to a checkpoint.
	goal.BestEffort = goal.BestEffort || t.Journal.replaying()
	c, err := s.Units.chooseMore(goal, scores)
	if err != nil {
		return selected{}, err
	}
	if c.After == from.choice.After {
		c.Step = max(c.Step, from.choice.Step)
	}
	return selected{clone(s.Units.Removed()), c}, nil
}

// round cuts out what is selected and trains the rest.
func (s *Structured) round(t *Trainer, i int, sel selected, scores [][]float64) (*network, error) {
	j := t.Journal
	s.Units.set(sel.removed)
	s.Choice = sel.choice
	j.Trace.rankUnits(scores, sel.removed)
	name := fmt.Sprint("cut ", i+1)
	known := !j.replaying() || j.from.Has(name)
	release, err := j.settle(name, s.visitCut)
	if err != nil {
		return nil, err
	}
	before := s.History[len(s.History)-1].Epoch
	n, err := s.network(t, before, s.Config.Epochs)
	if err != nil {
		return nil, err
	}
	n.release = func() {
		release()
		n.t.release()
	}
	if s.Cut != nil && known {
		s.Cut(n.t.Graph, before)
	}
	n.t.Config.Whole = 0
	n.t.rewind()
	return n, n.t.train()
}

// branch makes the last round of a ratio, and goes back to before it.
func (s *Structured) branch(t *Trainer, i int, from selected, r *unitRung, scores [][]float64, ready cost) error {
	s.Units.set(from.removed)
	before, history, at, start := s.snapshot(), s.History, t.Journal.at, s.cost(t)
	n, err := s.round(t, i, r.last, scores)
	if err != nil {
		return err
	}
	s.enter(n)
	if err := s.reach(n, r, ready.plus(s.cost(t).minus(start))); err != nil {
		return err
	}
	n.release()
	s.restore(before)
	s.History, s.Choice = history, from.choice
	t.Journal.calm(at)
	return nil
}

// reach tells of a ratio that n has come to.
func (s *Structured) reach(n *network, r *unitRung, spent cost) error {
	if s.Rungs == nil || s.Rungs.Reached == nil {
		return nil
	}
	before, history, choice, best := s.snapshot(), s.History, s.Choice, s.Best
	s.History = append([]Epoch{r.first}, history[1:]...)
	s.Choice = r.last.choice
	if err := s.best(n, r.zero); err != nil {
		return err
	}
	total := r.cost.plus(spent)
	if err := s.Rungs.Reached(r.goal.Ratio, total.seconds, float64(total.batches)/float64(max(1, n.t.steps))); err != nil {
		return err
	}
	s.restore(before)
	s.History, s.Choice, s.Best = history, choice, best
	return nil
}

// cost is what was spent so far, by the trainer of the whole model and by networks.
func (s *Structured) cost(t *Trainer) cost {
	return cost{time.Since(t.born).Seconds(), t.batches + s.batches}
}
