package prune

import "math"

func init() {
	// l1: Σ|w| over the slices of a unit. Source: Li et al. 2017, "Pruning Filters for
	// Efficient ConvNets".
	register(Importance{Name: "l1", Score: func(s *Scoring) ([][]float64, string) {
		return s.norms(math.Abs, func(x float64) float64 { return x }), "no parameters to measure"
	}})
	// l2: √Σw². Source: He et al. 2018, "Soft Filter Pruning for Accelerating Deep
	// Convolutional Neural Networks".
	register(Importance{Name: "l2", Score: func(s *Scoring) ([][]float64, string) {
		return s.norms(square, math.Sqrt), "no parameters to measure"
	}})
}

func square(x float64) float64 { return x * x }

// norms is the mean, over the weights that a group has slices in, of outer(Σ inner(w))
// of a unit relative to the mean of that weight's units: slices of different size and
// scale count the same, and so do layers.
func (s *Scoring) norms(inner, outer func(float64) float64) [][]float64 {
	return s.each(func(g int) []float64 {
		members := s.slices(g)
		if len(members) == 0 {
			return nil
		}
		total := make([]float64, s.Units.Groups.Groups[g].Width)
		for _, m := range members {
			w := s.values(m)
			part := make([]float64, len(total))
			for u := range part {
				for lo, hi := range m.Elements(u) {
					for _, x := range w[lo:hi] {
						part[u] += inner(float64(x))
					}
				}
				part[u] = outer(part[u])
			}
			for u, x := range relative(part) {
				total[u] += x
			}
		}
		return relative(total)
	})
}
