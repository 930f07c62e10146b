//go:build !amd64 || purego

package kernel

func sgdDense(theta, mom, grad []float32, lr, momentum, weightDecay float32) {
	sgdDenseGo(theta, mom, grad, lr, momentum, weightDecay)
}

func sgdMasked(theta, mom, grad, mask []float32, lr, momentum, weightDecay float32) {
	sgdMaskedGo(theta, mom, grad, mask, lr, momentum, weightDecay)
}

func bipScore(s, mom, theta, grad, mask []float32, lr, momentum, gammaInv float32) {
	bipScoreGo(s, mom, theta, grad, mask, lr, momentum, gammaInv)
}

func mulMask(z, theta, mask []float32) { mulMaskGo(z, theta, mask) }

func addAbs(y, a, b []float32) { addAbsGo(y, a, b) }
