package prune

import (
	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/internal/kernel"
)

// BiP is bi-level pruning (Zhang et al., NeurIPS 2022, "Advancing Model Pruning via
// Bi-level Optimization", algorithm 1). Every iteration makes
//
//	lower: θ ← θ − α·(m⊙g + λθ)                 on a batch, mask fixed
//	upper: s ← s − β·(θ⊙g − (1/γ)·m⊙g⊙g)        on another batch
//	       m ← 1 at the k largest s, else 0
//
// (N:M and blocks: at the N largest of every M, in the best blocks)
// with g = ∇_z ℓ(z) at z = m⊙θ, SGD with momentum in both, and both rates on a
// cosine to 0: two forward and backward passes. Scores start at |θ|, so that the
// first mask is that of magnitude pruning, and are ordered by value: a score
// below zero is an element that the loss wants gone. Masked weights are not
// updated and hold no momentum.
//
// Frozen weights (hydra) make no lower step, and γ is ∞.
type BiP struct {
	t       *Trainer
	scores  [][]float32
	momenta [][]float32
	to      projection
	before  [][]float32
	frozen  bool
}

func init() {
	registerMethod(Method{Name: "bip", Train: func(t *Trainer) error { return NewBiP(t).Run() }, Masked: func(epochs int) int { return max(1, epochs/5) }})
}

// NewBiP starts from the trainer's present weights with their magnitudes' mask.
func NewBiP(t *Trainer) *BiP {
	b := &BiP{t: t, to: t.Masks.projection(t.Config.Structure, t.Config.Ratio, t.Pool, value)}
	for _, l := range t.Masks.Layers {
		s := kernel.Floats(len(l.Theta))
		for i, v := range l.Theta {
			s[i] = max(v, -v)
		}
		b.scores = append(b.scores, s)
		b.momenta = append(b.momenta, kernel.Floats(len(l.Theta)))
		b.before = append(b.before, kernel.Floats(len(l.Theta)))
	}
	b.project()
	return b
}

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
	if err := t.epochEnd(0, 0, 0); err != nil {
		return err
	}
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
		if err := t.epochEnd(epoch, mean, b.changed()); err != nil {
			return err
		}
	}
	return nil
}

// visit lists the variables beside those of the trainer.
func (b *BiP) visit(s *slots) {
	for i, l := range b.t.Masks.Layers {
		s.floats(named("score", l.Name), b.scores[i])
		s.floats(named("momentum", l.Name), b.momenta[i])
		s.mask(named("before", l.Name), b.before[i])
	}
}

// upper is the step of the scores on a batch of the second stream.
func (b *BiP) upper(batch *data.Batch) (float64, error) {
	t := b.t
	loss, err := t.gradients(batch)
	if err != nil || !finite(loss) {
		return loss, err
	}
	lr := float32(t.Journal.scale() * t.Config.MaskLR * t.cosine())
	gammaInv := float32(1 / t.Config.Gamma)
	if b.frozen {
		gammaInv = 0
	}
	for i, l := range t.Masks.Layers {
		grad := t.plan.Grad(l.Name)
		if grad == nil {
			continue
		}
		g, s, mom := grad.F, b.scores[i], b.momenta[i]
		t.chunks(len(s), func(lo, hi int) {
			kernel.BiPScore(s[lo:hi], mom[lo:hi], l.Theta[lo:hi], g[lo:hi], l.Mask[lo:hi], lr, float32(t.Config.Momentum), gammaInv)
		})
	}
	b.project()
	return loss, nil
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
