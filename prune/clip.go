package prune

import "math"

// clip scales the gradients g of the plan's last step to
//
//	g·min(1, c·‖θ‖/‖g‖)
//
// with the norms over all that is trained, masked weights taken as zeros, and c that of
// [Config.Clip]. What is not finite stays as it is.
// Source: Brock et al., "High-Performance Large-Scale Image Recognition Without Normalization",
// section 4.1, there for every filter by itself.
func (t *Trainer) clip() {
	weights, gradients := 0.0, 0.0
	for _, name := range t.plan.Trained() {
		weights += sumSquares(t.State.Tensor(name).F)
		gradients += sumSquares(t.plan.Grad(name).F)
	}
	bound := t.Config.Clip * math.Sqrt(weights)
	if norm := math.Sqrt(gradients); norm > bound && bound > 0 && !math.IsInf(norm, 0) {
		for _, name := range t.plan.Trained() {
			g := t.plan.Grad(name).F
			for i, x := range g {
				g[i] = float32(float64(x) * (bound / norm))
			}
		}
	}
}

// sumSquares is Σx², in double precision.
func sumSquares(x []float32) float64 {
	s := 0.0
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return s
}
