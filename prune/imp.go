package prune

import (
	"slices"
	"strconv"
	"time"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

func init() {
	// imp: iterative magnitude pruning. Every round removes the fifth of the remaining
	// weights with the smallest |θ|, all layers together, puts weights back to t.Rewind
	// if there is one, and trains what is left for the configured epochs; the last round
	// removes what is missing to the ratio. A weight that went does not return. Of channels
	// it is the same, by importance: see Structured.rounds. Source:
	// Frankle and Carbin, ICLR 2019, "The Lottery Ticket Hypothesis: Finding Sparse,
	// Trainable Neural Networks"; rewinding: Frankle et al., ICML 2020, "Linear Mode
	// Connectivity and the Lottery Ticket Hypothesis".
	registerMethod(Method{Name: "imp", Train: imp, Rounds: true, Epochs: func(c *Config) int { return len(impRatios(c)) * c.Epochs }})
}

// impShare is the fraction of what remains that a round removes.
const impShare = 0.2

// impRatios are the ratios after each round. N:M is reached in one.
func impRatios(c *Config) []float64 {
	var ratios []float64
	if c.Structure.Kind != KindNM {
		for kept := 1 - impShare; kept > (1-c.Ratio)*(1+1e-9); kept *= 1 - impShare {
			ratios = append(ratios, 1-kept)
		}
	}
	return append(ratios, c.Ratio)
}

// imp makes the rounds to Config.Ratio. A lower ratio of t.Rungs is served by the round
// that leaves as many weights; where there is none it takes its last round on a branch.
// Either way it ends as a run to that ratio alone would.
func imp(t *Trainer) error {
	rungs, err := impRungs(t)
	if err != nil {
		return err
	}
	for i, r := range rungs {
		defer t.Journal.hold("first "+strconv.Itoa(i), false, func(s *slots) { t.visitKept(s, &r.first) })()
	}
	n := t.Config.Epochs
	round := func(ratio float64, first *kept) (cost, error) {
		start := t.cost()
		impRound(t, ratio)
		t.rewind()
		t.best = first
		err := t.phase(n)
		return t.cost().minus(start), err
	}
	last := rungs[len(rungs)-1]
	var chain cost
	for i, ratio := range impRatios(&t.Config) {
		first := last.first
		var served []*rung
		for _, r := range rungs {
			switch {
			case r.rounds != i+1:
			case r == last || t.Masks.Keep(r.ratio) == t.Masks.Keep(ratio):
				served, first = append(served, r), r.first
			default:
				before := t.now()
				spent, err := round(r.ratio, r.first)
				if err == nil {
					err = t.reach(r, chain.plus(spent))
				}
				if err != nil {
					return err
				}
				t.back(before)
			}
		}
		spent, err := round(ratio, first)
		if err != nil {
			return err
		}
		chain = chain.plus(spent)
		for _, r := range served {
			if err := t.reach(r, chain); err != nil {
				return err
			}
		}
	}
	return nil
}

// impRound masks the smallest of the remaining weights, so that ratio of all are gone.
func impRound(t *Trainer, ratio float64) {
	scores := make([][]float32, len(t.Masks.Layers))
	for i, l := range t.Masks.Layers {
		scores[i] = kernel.Floats(len(l.Theta))
		for k, theta := range l.Theta {
			scores[i][k] = max(theta, -theta)
			if l.Mask[k] == 0 {
				scores[i][k] = -1
			}
		}
	}
	t.Masks.projection(t.Config.Structure, ratio, t.Pool, value).project(scores, t.Masks.masks())
	t.Masks.Apply()
	t.Journal.Trace.rankWeights(magnitudes(t.Masks))
}

// Rungs are ratios below Config.Ratio whose results imp has on its way.
type Rungs struct {
	Ratios []float64
	// Reached is called for each of them, the smallest first, and at last for
	// Config.Ratio, with the best epoch in the trainer and History as a run to that ratio
	// alone would have them; for channels, with the results of [Structured.Run]. Seconds and
	// passes over the data (forward and backward) are those of such a run, from the call of
	// Run on.
	Reached func(ratio, seconds, passes float64) error
}

// rung is one of the ratios: how many rounds lead to it, and its epoch 0.
type rung struct {
	ratio  float64
	rounds int
	zero   Epoch
	first  *kept
	cost   cost
}

// impRungs measures one-shot magnitude pruning at every ratio, the one candidate for a
// result before the last round: what comes between has more weights. It leaves masks
// of all ones.
func impRungs(t *Trainer) ([]*rung, error) {
	var ratios []float64
	if t.Rungs != nil {
		ratios = append(ratios, t.Rungs.Ratios...)
		slices.Sort(ratios)
	}
	var rungs []*rung
	for _, ratio := range append(ratios, t.Config.Ratio) {
		start := t.cost()
		c := t.Config
		c.Ratio = ratio
		OMP(t.Masks, c.Structure, ratio, t.Pool)
		t.History, t.best = nil, nil
		if err := t.epochEnd(0, 0, 0); err != nil {
			return nil, err
		}
		rungs = append(rungs, &rung{ratio: ratio, rounds: len(impRatios(&c)), zero: t.History[0], first: t.best, cost: t.cost().minus(start)})
	}
	for _, l := range t.Masks.Layers {
		for i := range l.Mask {
			l.Mask[i] = 1
		}
	}
	return rungs, nil
}

// moment is where a trainer is between two phases.
type moment struct {
	state   *kept
	best    *kept
	history []Epoch
	course  position
}

func (t *Trainer) now() *moment {
	m := &moment{best: t.best, history: slices.Clone(t.History), course: t.Journal.at}
	t.keep(0, nil)
	m.state, t.best = t.best, m.best
	return m
}

func (t *Trainer) back(m *moment) {
	t.best = m.state
	t.restore()
	t.best, t.History = m.best, m.history
	t.Journal.calm(m.course)
}

// reach tells of a ratio that the trainer has come to.
func (t *Trainer) reach(r *rung, spent cost) error {
	if t.Rungs == nil || t.Rungs.Reached == nil {
		return nil
	}
	before := t.now()
	t.History[0] = r.zero
	if _, err := t.Best(); err != nil {
		return err
	}
	total := r.cost.plus(spent)
	if err := t.Rungs.Reached(r.ratio, total.seconds, float64(total.batches)/float64(max(1, t.steps))); err != nil {
		return err
	}
	t.back(before)
	return nil
}

// cost is time and batches, forward and backward.
type cost struct {
	seconds float64
	batches int
}

func (t *Trainer) cost() cost { return cost{time.Since(t.born).Seconds(), t.batches} }

func (c cost) plus(o cost) cost  { return cost{c.seconds + o.seconds, c.batches + o.batches} }
func (c cost) minus(o cost) cost { return cost{c.seconds - o.seconds, c.batches - o.batches} }
