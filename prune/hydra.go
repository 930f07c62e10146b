package prune

func init() {
	// hydra: scores are trained with the weights frozen,
	//
	//	s ← s − β·θ⊙g      on every batch, with g = ∇_z ℓ(z) at z = m⊙θ
	//	m ← 1 at the k largest s, else 0
	//
	// for half of the epochs, rounded up, and the weights for the rest, with the mask
	// fixed. Scores start at |θ| and all weights are ranked together, as in [BiP], where the
	// paper scales by layer and ranks within layers. Source: Sehwag et al., NeurIPS 2020,
	// "HYDRA: Pruning Adversarially Robust Neural Networks".
	registerMethod(Method{Name: "hydra", Train: hydra, Masked: hydraEpochs, Frozen: true})
}

// hydraEpochs is how many of n epochs train scores.
func hydraEpochs(n int) int { return (n + 1) / 2 }

func hydra(t *Trainer) error {
	b := NewBiP(t)
	b.frozen = true
	all := t.Config.Epochs
	t.begin(hydraEpochs(all))
	if err := b.Run(); err != nil {
		return err
	}
	if rest := all - hydraEpochs(all); rest > 0 {
		t.rewind()
		return t.phase(rest)
	}
	return nil
}
