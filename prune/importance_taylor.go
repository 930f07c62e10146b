package prune

func init() {
	// taylor: (Σ θ⊙g)² over the slices of a unit, the square of the first-order change
	// of the loss when it goes, mean over batches. Source: Molchanov et al. 2019,
	// "Importance Estimation for Neural Network Pruning".
	register(Importance{Name: "taylor", Gradients: true, Score: func(s *Scoring) ([][]float64, string) {
		out := make([][]float64, len(s.Taylor))
		for g := range out {
			out[g] = append([]float64(nil), s.Taylor[g]...)
		}
		return out, ""
	}})
}
