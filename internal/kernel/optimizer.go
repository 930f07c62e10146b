package kernel

import "math"

// SGDMomentum makes one step of stochastic gradient descent with momentum and
// L2 weight decay, as PyTorch's SGD does:
//
//	d = grad·mask + weightDecay·theta
//	mom = momentum·mom + d
//	theta -= lr·mom
//
// grad is the gradient by the masked weights. mask holds zeros and ones, or is
// nil for all ones; where it is 0, theta stays as it is and mom becomes 0.
// All slices have the length of theta.
func SGDMomentum(theta, mom, grad, mask []float32, lr, momentum, weightDecay float32) {
	n := len(theta)
	if mask == nil {
		sgdDense(theta, mom[:n], grad[:n], lr, momentum, weightDecay)
		return
	}
	sgdMasked(theta, mom[:n], grad[:n], mask[:n], lr, momentum, weightDecay)
}

// BiPScore makes one step of the bi-level scores along the gradient by the
// mask (Zhang et al., NeurIPS 2022):
//
//	d = theta·grad − gammaInv·mask·grad²
//	mom = momentum·mom + d
//	s -= lr·mom
//
// grad is the gradient by the masked weights. All slices have the length of s.
func BiPScore(s, mom, theta, grad, mask []float32, lr, momentum, gammaInv float32) {
	n := len(s)
	bipScore(s, mom[:n], theta[:n], grad[:n], mask[:n], lr, momentum, gammaInv)
}

// MulMask computes z[i] = theta[i]·mask[i], with +0 wherever mask is 0.
func MulMask(z, theta, mask []float32) {
	n := len(z)
	mulMask(z, theta[:n], mask[:n])
}

// AddAbs computes y[i] = |a[i]| + b[i]. All slices have the length of y.
func AddAbs(y, a, b []float32) {
	n := len(y)
	addAbs(y, a[:n], b[:n])
}

func sgdDenseGo(theta, mom, grad []float32, lr, momentum, weightDecay float32) {
	mom, grad = mom[:len(theta)], grad[:len(theta)]
	for i, t := range theta {
		d := grad[i] + weightDecay*t
		m := momentum*mom[i] + d
		mom[i] = m
		theta[i] = t - lr*m
	}
}

func sgdMaskedGo(theta, mom, grad, mask []float32, lr, momentum, weightDecay float32) {
	mom, grad, mask = mom[:len(theta)], grad[:len(theta)], mask[:len(theta)]
	for i, t := range theta {
		if mask[i] == 0 {
			mom[i] = 0
			continue
		}
		d := grad[i]*mask[i] + weightDecay*t
		m := momentum*mom[i] + d
		mom[i] = m
		theta[i] = t - lr*m
	}
}

func bipScoreGo(s, mom, theta, grad, mask []float32, lr, momentum, gammaInv float32) {
	mom, theta, grad, mask = mom[:len(s)], theta[:len(s)], grad[:len(s)], mask[:len(s)]
	for i, v := range s {
		g := grad[i]
		d := theta[i]*g - gammaInv*mask[i]*g*g
		m := momentum*mom[i] + d
		mom[i] = m
		s[i] = v - lr*m
	}
}

func mulMaskGo(z, theta, mask []float32) {
	theta, mask = theta[:len(z)], mask[:len(z)]
	for i, m := range mask {
		v := float32(0)
		if m != 0 {
			v = theta[i] * m
		}
		z[i] = v
	}
}

func addAbsGo(y, a, b []float32) {
	a, b = a[:len(y)], b[:len(y)]
	for i, v := range a {
		y[i] = float32(math.Abs(float64(v))) + b[i]
	}
}
