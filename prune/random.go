package prune

import (
	"math/rand/v2"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

func init() {
	// random: scores drawn evenly from [0,1), the baseline that every method must beat.
	// They depend on the seed and the number of the layer only.
	registerMethod(Method{Name: "random", Importance: "random", Score: func(s *Saliency) ([][]float32, error) {
		scores := make([][]float32, len(s.Masks.Layers))
		for i, l := range s.Masks.Layers {
			rng := rand.New(rand.NewPCG(s.Seed, uint64(i)))
			scores[i] = kernel.Floats(len(l.Mask))
			for k := range scores[i] {
				scores[i][k] = rng.Float32()
			}
		}
		return scores, nil
	}})
}
