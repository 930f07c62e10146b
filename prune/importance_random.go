package prune

import "math/rand/v2"

func init() {
	// random: the baseline that every importance must beat. A group's scores depend on
	// the seed and its number only.
	register(Importance{Name: "random", Score: func(s *Scoring) ([][]float64, string) {
		return s.each(func(g int) []float64 {
			rng := rand.New(rand.NewPCG(s.Seed, uint64(g)))
			v := make([]float64, s.Units.Groups.Groups[g].Width)
			for u := range v {
				v[u] = rng.Float64()
			}
			return v
		}), ""
	}})
}
