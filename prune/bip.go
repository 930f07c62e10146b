package prune

import (
	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/internal/kernel"
)

// BiP is bi-level pruning (Zhang et al., NeurIPS 2022, "Advancing Model Pruning via
// Bi-level Optimization", algorithm 1). Every iteration makes
//
//	lower: θ ← θ − α·(m⊙g + λθ)                 on a batch, mask fixed
//	upper: u ← u − β·(θ⊙g − (1/γ)·m⊙g⊙g)        on another batch
//	       m ← 1 at the k largest s = |θ| + u, else 0
//
// (N:M and blocks: at the N largest of every M, in the best blocks)
// with g = ∇_z ℓ(z) at z = m⊙θ, SGD with momentum in both, and both rates on a
// cosine to 0: two forward and backward passes. u starts at 0, so that the first mask is
// that of magnitude pruning, and scores are ordered by value: one below zero is an
// element that the loss wants gone. Masked weights are not updated and hold no momentum.
//
// Three things go beyond the paper. The score has the present |θ| in it, which the lower
// steps move, and not the one at the beginning. With Config.BothBatches the gradient of
// the upper batch also makes a lower step, after the score's, with the same α. And k falls over
// the first part of the run, Config.Ramp: of all weights the fraction
//
//	R − (R − R₀)·(1 − x)³,  x from 0 to 1,  R₀ = min(R, ½)
//
// is gone (Zhu and Gupta, 2017, "To prune, or not to prune"). N:M has its own k from the
// first step on.
//
// Frozen weights (hydra) make no lower step, γ is ∞, and k does not change.
type BiP struct {
	t *Trainer
	// shifts are u, scores s as they were at the last projection.
	shifts, scores [][]float32
	momenta        [][]float32
	to             projection
	before         [][]float32
	frozen         bool
	// rate and gammaInv are those of the step in progress.
	rate, gammaInv float32
	task           func(task, worker int)
}

func init() {
	registerMethod(Method{Name: "bip", Train: func(t *Trainer) error { return NewBiP(t).Run() }, Masked: func(epochs int) int { return max(1, epochs/5) }})
}

// NewBiP starts from the trainer's present weights with their magnitudes' mask.
func NewBiP(t *Trainer) *BiP {
	b := &BiP{t: t, to: t.Masks.projection(t.Config.Structure, t.Config.Ratio, t.Pool, value)}
	for _, l := range t.Masks.Layers {
		b.scores = append(b.scores, kernel.Floats(len(l.Theta)))
		b.shifts = append(b.shifts, kernel.Floats(len(l.Theta)))
		b.momenta = append(b.momenta, kernel.Floats(len(l.Theta)))
		b.before = append(b.before, kernel.Floats(len(l.Theta)))
	}
	b.task = b.climb
	b.score()
	b.project()
	return b
}

// score brings scores up to date with weights and shifts.
func (b *BiP) score() {
	for i, l := range b.t.Masks.Layers {
		b.t.chunks(len(l.Theta), func(lo, hi int) { b.scoreChunk(i, lo, hi) })
	}
}

func (b *BiP) scoreChunk(layer, lo, hi int) {
	kernel.AddAbs(b.scores[layer][lo:hi], b.t.Masks.Layers[layer].Theta[lo:hi], b.shifts[layer][lo:hi])
}

// ratio is the fraction that the upper step with that number, from 0, removes.
func (b *BiP) ratio(step int) float64 {
	t := b.t
	r := t.Config.Ratio
	x := 1.0
	if length := t.Config.Ramp * float64(t.steps*t.Config.Epochs); length > 0 {
		x = min(1, float64(step+1)/length)
	}
	first := min(r, rampStart)
	if x == 1 || first == r || b.frozen || !t.Config.Structure.Ramps() {
		return r
	}
	return r - (r-first)*(1-x)*(1-x)*(1-x)
}

// rampStart is the largest fraction that goes at once where k falls.
const rampStart = 0.5

// project moves the mask to the largest scores that the structure allows.
func (b *BiP) project() {
	b.to.project(b.scores, b.t.Masks.masks())
	for _, l := range b.t.Masks.Layers {
		b.t.chunks(len(l.Z), func(lo, hi int) { kernel.MulMask(l.Z[lo:hi], l.Theta[lo:hi], l.Mask[lo:hi]) })
	}
}

// Run trains weights and masks for the configured epochs.
func (b *BiP) Run() error {
	t := b.t
	defer t.Journal.hold("bip", true, b.visit)()
	if b.ratio(-1) < t.Config.Ratio {
		if err := t.measureGoal(); err != nil {
			return err
		}
	}
	if err := t.epochEnd(0, 0, 0); err != nil {
		return err
	}
	b.to.aim(t.Masks.Keep(b.ratio(-1)))
	b.project()
	for epoch := 1; epoch <= t.Config.Epochs; epoch++ {
		for i, l := range t.Masks.Layers {
			copy(b.before[i], l.Mask)
		}
		steps := []func(*data.Batch) (float64, error){t.lower, b.upper}
		if b.frozen {
			steps = steps[1:]
		}
		mean, err := t.epoch(epoch, steps...)
		if err != nil {
			return err
		}
		t.arrives(b.ratio(t.step-1), t.Config.Ratio)
		if err := t.epochEnd(epoch, mean, b.changed()); err != nil {
			return err
		}
	}
	t.Journal.Trace.rankWeights(b.scores)
	return nil
}

// visit lists the variables beside those of the trainer.
func (b *BiP) visit(s *slots) {
	for i, l := range b.t.Masks.Layers {
		s.floats(named("score", l.Name), b.shifts[i])
		s.floats(named("momentum", l.Name), b.momenta[i])
		s.mask(named("before", l.Name), b.before[i])
	}
	if s.loading && s.err == nil {
		b.score()
	}
}

// upper is the step of the scores on a batch of the second stream.
func (b *BiP) upper(batch *data.Batch) (float64, error) {
	t := b.t
	loss, err := t.gradients(batch)
	if err != nil || !finite(loss) {
		return loss, err
	}
	b.rate = float32(t.Journal.scale() * t.Config.MaskLR * t.cosine())
	b.gammaInv = float32(1 / t.Config.Gamma)
	if b.frozen {
		b.gammaInv = 0
	}
	t.sgd.rates(t.rates())
	t.Pool.Run(len(t.sgd.pieces), b.task)
	b.to.aim(t.Masks.Keep(b.ratio(t.step)))
	b.project()
	return loss, nil
}

// cached is the number of elements of which the seven slices of a step stay in a cache of
// the first level.
const cached = 1 << 10

// climb makes the step of the scores on a piece of the weights, a lower step where both
// batches make one, and brings the scores up to date. The masked weights of the layers
// follow with the projection.
func (b *BiP) climb(i, _ int) {
	t := b.t
	p := &t.sgd.pieces[i]
	both := t.Config.BothBatches && !b.frozen
	if p.layer < 0 {
		if both {
			t.sgd.update(i, 0)
		}
		return
	}
	u, mom := b.shifts[p.layer][p.at:], b.momenta[p.layer][p.at:]
	for lo := 0; lo < len(p.theta); lo += cached {
		hi := min(len(p.theta), lo+cached)
		q := p.slice(lo, hi)
		kernel.BiPScore(u[lo:hi], mom[lo:hi], q.theta, q.grad, q.mask, b.rate, float32(t.Config.Momentum), b.gammaInv)
		if both {
			t.sgd.descend(&q)
		}
		b.scoreChunk(q.layer, q.at, q.at+hi-lo)
	}
}

// changed is the fraction of mask elements that moved since the epoch began.
func (b *BiP) changed() float64 {
	n := 0
	for i, l := range b.t.Masks.Layers {
		for j, v := range l.Mask {
			if v != b.before[i][j] {
				n++
			}
		}
	}
	return float64(n) / float64(b.t.Masks.total)
}
