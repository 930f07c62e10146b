package prune

import "sort"

func init() {
	// lamp: the squared norm of a unit over the sum of those of its group that are not
	// smaller. Source: Lee et al. 2021, "Layer-adaptive Sparsity for the
	// Magnitude-based Pruning", on units in place of weights.
	register(Importance{Name: "lamp", Score: func(s *Scoring) ([][]float64, string) {
		scores := s.norms(square, func(x float64) float64 { return x })
		for _, v := range scores {
			order := make([]int, len(v))
			for i := range order {
				order[i] = i
			}
			sort.SliceStable(order, func(a, b int) bool { return v[order[a]] > v[order[b]] })
			sum := 0.0
			for _, u := range order {
				if sum += v[u]; sum > 0 {
					v[u] /= sum
				}
			}
		}
		return scores, "no parameters to measure"
	}})
}
