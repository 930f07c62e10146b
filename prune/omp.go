package prune

import (
	"github.com/onnxprune/onnxprune/internal/kernel"
)

func init() {
	registerMethod(Method{Name: "omp", Importance: TrainedImportance, Score: func(s *Saliency) ([][]float32, error) {
		return magnitudes(s.Masks), nil
	}})
}

// magnitudes are |θ|.
func magnitudes(m *Masks) [][]float32 {
	scores := make([][]float32, len(m.Layers))
	for i, l := range m.Layers {
		scores[i] = kernel.Floats(len(l.Theta))
		for k, theta := range l.Theta {
			scores[i][k] = max(theta, -theta)
		}
	}
	return scores
}

// OMP is one-shot magnitude pruning: of all masked weights together the k with the
// largest |w| stay. Weights of equal magnitude stay in file order. With N:M or blocks
// it is the same choice within every group of M, or of blocks by their mean |w|.
// Source: Han et al. 2015, "Learning both Weights and Connections for Efficient
// Neural Networks".
func OMP(m *Masks, s Structure, ratio float64, pool *kernel.Pool) {
	scores := make([][]float32, len(m.Layers))
	for i, l := range m.Layers {
		scores[i] = l.Theta
	}
	m.projection(s, ratio, pool, magnitude).project(scores, m.masks())
	m.Apply()
}

func (m *Masks) selector(pool *kernel.Pool, order order) *Selector {
	var lengths []int
	for _, l := range m.Layers {
		lengths = append(lengths, len(l.Mask))
	}
	return NewSelector(pool, lengths, order)
}

func (m *Masks) masks() [][]float32 {
	ms := make([][]float32, len(m.Layers))
	for i, l := range m.Layers {
		ms[i] = l.Mask
	}
	return ms
}
