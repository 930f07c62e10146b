package prune

import (
	"math"
	"strconv"

	"github.com/onnxprune/onnxprune/data"
)

// UnitBiP is bi-level pruning of groups: one score per unit. Its iteration is that of
// [BiP], with
//
//	upper: d_u = Σ_{e∈u} (θ_e g_e − (1/γ)·m_e g_e²)
//	       s_u ← s_u − β·(d_u − d̄)/σ,  d̄ the mean of d over the group's units,
//	             σ² that of d² over them and the last steps
//	       m ← 0 on the units that the smallest scores take out, until the goal is met
//
// over the slices of a unit (KindFilter), or over those that read the channel
// (KindChannel), which is the mask on input channels of the paper. Scores start at an
// importance relative to the mean of the group. That mean stays, and scores move by as much in
// a group of few and small slices as in one of many. Over the first part of the trainer's epochs, Config.Ramp, the
// goal's ratio rises to R as
//
//	R − R·(1 − x)³,  x from 0 to 1
//
// Where weights are frozen (hydra), d̄ is 0, σ is 1, and the ratio R.
type UnitBiP struct {
	t       *Trainer
	u       *Units
	c       *chooser
	scores  [][]float64
	momenta [][]float64
	before  [][]bool
	// power is σ² by group, before it is corrected for having begun at 0.
	power  []float64
	frozen bool
	// final is the goal that the ratio rises to.
	final Goal
	// Choice is what the last projection came to.
	Choice Choice
}

// NewUnitBiP starts from the given scores and projects them.
func NewUnitBiP(t *Trainer, u *Units, goal Goal, scores [][]float64) (*UnitBiP, error) {
	c, err := u.newChooser(goal)
	if err != nil {
		return nil, err
	}
	b := &UnitBiP{t: t, u: u, c: c, scores: scores, final: goal, power: make([]float64, len(scores))}
	for _, s := range scores {
		b.momenta = append(b.momenta, make([]float64, len(s)))
		b.before = append(b.before, make([]bool, len(s)))
	}
	return b, b.project()
}

// ratio is what the upper step with that number, from 0, comes to.
func (b *UnitBiP) ratio(step int) float64 {
	t, r := b.t, b.final.Ratio
	length := t.Config.Ramp * float64(t.steps*t.Config.Epochs)
	if x := float64(step+1) / length; length > 0 && x < 1 && !b.frozen {
		return r - r*(1-x)*(1-x)*(1-x)
	}
	return r
}

// climb projects to the goal of the upper step with that number.
func (b *UnitBiP) climb(step int) error {
	b.c.goal.Ratio = b.ratio(step)
	b.c.goal.BestEffort = b.final.BestEffort || b.c.goal.Ratio < b.final.Ratio
	return b.project()
}

func (b *UnitBiP) project() error {
	var err error
	if b.Choice, err = b.c.choose(b.scores); err != nil {
		return err
	}
	b.u.Refresh()
	return nil
}

// Run trains weights and masks for the trainer's epochs.
func (b *UnitBiP) Run() error {
	t := b.t
	defer t.Journal.hold("bip", true, b.visit)()
	if b.ratio(-1) < b.final.Ratio {
		if err := t.measureGoal(); err != nil {
			return err
		}
	}
	if err := t.epochEnd(0, 0, 0); err != nil {
		return err
	}
	if err := b.climb(-1); err != nil {
		return err
	}
	for epoch := 1; epoch <= t.Config.Epochs; epoch++ {
		for g, removed := range b.u.Removed() {
			copy(b.before[g], removed)
		}
		steps := []func(*data.Batch) (float64, error){t.lower, b.upper}
		if b.frozen {
			steps = steps[1:]
		}
		mean, err := t.epoch(epoch, steps...)
		if err != nil {
			return err
		}
		t.arrives(b.ratio(t.step-1), b.final.Ratio)
		if err := t.epochEnd(epoch, mean, b.changed()); err != nil {
			return err
		}
	}
	t.Journal.Trace.rankUnits(b.scores, b.u.Removed())
	return nil
}

// visit lists the variables beside those of the trainer. The removal and the masks follow
// from the scores.
func (b *UnitBiP) visit(s *slots) {
	s.flag("whole", &b.u.whole)
	s.doubles("power", b.power)
	for g := range b.scores {
		name := strconv.Itoa(g)
		s.doubles(named("score", name), b.scores[g])
		s.doubles(named("momentum", name), b.momenta[g])
		s.flags(named("before", name), b.before[g], func(i int, v bool) { b.before[g][i] = v })
	}
	if s.loading && s.err == nil {
		s.fail(b.climb(b.t.step - 1))
	}
}

// upper is the step of the scores on a batch of the second stream.
func (b *UnitBiP) upper(batch *data.Batch) (float64, error) {
	t := b.t
	loss, err := t.gradients(batch)
	if err != nil || !finite(loss) {
		return loss, err
	}
	lr := t.Journal.scale() * t.Config.MaskLR * t.maskCosine()
	gammaInv := 1 / t.Config.Gamma
	if b.frozen {
		gammaInv = 0
	}
	slopes := b.u.slopes(t, gammaInv)
	for g, s := range b.scores {
		mom := b.momenta[g]
		if !b.frozen {
			b.relative(g, slopes[g])
		}
		for i := range s {
			mom[i] = t.Config.Momentum*mom[i] + slopes[g][i]
			s[i] -= lr * mom[i]
		}
	}
	if t.Config.BothBatches && !b.frozen {
		t.descend()
	}
	return loss, b.climb(t.step)
}

// powerDecay is what remains of σ² after a step.
const powerDecay = 0.99

// relative turns the slopes of a group from d to (d − d̄)/σ.
func (b *UnitBiP) relative(group int, d []float64) {
	n := float64(len(d))
	mean, square := 0.0, 0.0
	for _, x := range d {
		mean += x / n
		square += x * x / n
	}
	b.power[group] = powerDecay*b.power[group] + (1-powerDecay)*square
	if b.power[group] == 0 {
		return
	}
	sigma := math.Sqrt(b.power[group] / (1 - math.Pow(powerDecay, float64(b.t.step+1))))
	for i := range d {
		d[i] = (d[i] - mean) / sigma
	}
}

// slopes is dℓ/dm of every unit with the gradients of the last step.
func (u *Units) slopes(t *Trainer, gammaInv float64) [][]float64 {
	out := make([][]float64, len(u.Groups.Groups))
	t.Pool.Run(len(out), func(g, _ int) {
		grp := &u.Groups.Groups[g]
		d := make([]float64, grp.Width)
		gated := u.gated(grp)
		for i := range grp.Members {
			m := &grp.Members[i]
			at, ok := u.layerOf[m.Value.Name]
			if !ok || !m.Weight || u.Structure.Kind == KindChannel && gated && m.Produces {
				continue
			}
			l := &u.Masks.Layers[at]
			grad := t.plan.Grad(l.Name)
			if grad == nil {
				continue
			}
			// What computes the channel counts where its own input is there; what reads it
			// counts also while it is masked.
			open := !m.Produces && gated
			for unit := range d {
				sum := 0.0
				for lo, hi := range m.Elements(unit) {
					theta, gate, mask := l.Theta[lo:hi], l.Gate[lo:hi], l.Mask[lo:hi]
					for k, g := range grad.F[lo:hi] {
						x := float64(g)
						if open || gate[k] != 0 {
							sum += float64(theta[k]) * x
						}
						if mask[k] != 0 {
							sum -= gammaInv * x * x
						}
					}
				}
				d[unit] += sum
			}
		}
		out[g] = d
	})
	return out
}

// changed is the fraction of units that moved since the epoch began.
func (b *UnitBiP) changed() float64 {
	n, all := 0, 0
	for g, removed := range b.u.Removed() {
		for i, gone := range removed {
			all++
			if gone != b.before[g][i] {
				n++
			}
		}
	}
	return float64(n) / float64(max(1, all))
}
