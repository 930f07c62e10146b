package prune

import "math"

func init() {
	// grasp: θ ⊙ Hg with g = ∇ℓ(θ) and H its derivative: what a weight adds to the
	// gradient's norm, of which as much as possible is to stay. With ε = 0.001·‖θ‖/‖g‖
	//
	//	Hg ≈ (∇ℓ(θ+εg) − ∇ℓ(θ−εg)) / 2ε
	//
	// over the masked weights and the same batches. Source: Wang et al., ICLR 2020, "Picking
	// Winning Tickets Before Training by Preserving Gradient Flow", equation 8 (which is
	// the negative, of which the largest go).
	registerMethod(Method{Name: "grasp", Gradients: true, Score: grasp})
}

// graspStep is ‖εg‖/‖θ‖: large enough for single precision, small enough that the third
// derivative does not count.
const graspStep = 0.001

func grasp(s *Saliency) ([][]float32, error) {
	t := s.Trainer
	before := t.State.Snapshot()
	defer t.State.Restore(before)
	g, err := t.meanGradient()
	if err != nil {
		return nil, err
	}
	var thetas, grads float64
	for i, l := range s.Masks.Layers {
		for k, theta := range l.Theta {
			thetas += float64(theta) * float64(theta)
			grads += float64(g[i][k]) * float64(g[i][k])
		}
	}
	if grads == 0 {
		return g, nil
	}
	eps := graspStep * math.Sqrt(thetas/grads)
	at := func(eps float64) ([][]float32, error) {
		t.State.Restore(before)
		for i, l := range s.Masks.Layers {
			for k, theta := range l.Theta {
				if l.Mask[k] != 0 {
					l.Z[k] = float32(float64(theta) + eps*float64(g[i][k]))
				}
			}
		}
		return t.meanGradient()
	}
	up, err := at(eps)
	if err != nil {
		return nil, err
	}
	down, err := at(-eps)
	if err != nil {
		return nil, err
	}
	for i, l := range s.Masks.Layers {
		for k, theta := range l.Theta {
			up[i][k] = float32(float64(theta) * (float64(up[i][k]) - float64(down[i][k])) / (2 * eps))
		}
	}
	return up, nil
}
