package prune

func init() {
	// snip: |θ ⊙ g| with g = ∇ℓ(θ), mean over batches: the size of the first-order change
	// of the loss when a weight goes. Source: Lee et al., ICLR 2019, "SNIP: Single-shot
	// Network Pruning based on Connection Sensitivity", equation 5.
	registerMethod(Method{Name: "snip", Gradients: true, Score: snip})
}

func snip(s *Saliency) ([][]float32, error) {
	t := s.Trainer
	before := t.State.Snapshot()
	defer t.State.Restore(before)
	g, err := t.meanGradient()
	if err != nil {
		return nil, err
	}
	for i, l := range s.Masks.Layers {
		for k, theta := range l.Theta {
			v := theta * g[i][k]
			g[i][k] = max(v, -v)
		}
	}
	return g, nil
}
