//go:build !purego

package kernel

func sgdDense(theta, mom, grad []float32, lr, momentum, weightDecay float32) {
	switch active {
	case variantAVX512:
		sgdDenseAVX512(theta, mom, grad, lr, momentum, weightDecay)
	case variantAVX2:
		sgdDenseAVX2(theta, mom, grad, lr, momentum, weightDecay)
	default:
		sgdDenseGo(theta, mom, grad, lr, momentum, weightDecay)
	}
}

func sgdMasked(theta, mom, grad, mask []float32, lr, momentum, weightDecay float32) {
	switch active {
	case variantAVX512:
		sgdMaskedAVX512(theta, mom, grad, mask, lr, momentum, weightDecay)
	case variantAVX2:
		sgdMaskedAVX2(theta, mom, grad, mask, lr, momentum, weightDecay)
	default:
		sgdMaskedGo(theta, mom, grad, mask, lr, momentum, weightDecay)
	}
}

func bipScore(s, mom, theta, grad, mask []float32, lr, momentum, gammaInv float32) {
	switch active {
	case variantAVX512:
		bipScoreAVX512(s, mom, theta, grad, mask, lr, momentum, gammaInv)
	case variantAVX2:
		bipScoreAVX2(s, mom, theta, grad, mask, lr, momentum, gammaInv)
	default:
		bipScoreGo(s, mom, theta, grad, mask, lr, momentum, gammaInv)
	}
}

func mulMask(z, theta, mask []float32) {
	switch active {
	case variantAVX512:
		mulMaskAVX512(z, theta, mask)
	case variantAVX2:
		mulMaskAVX2(z, theta, mask)
	default:
		mulMaskGo(z, theta, mask)
	}
}

func addAbs(y, a, b []float32) {
	switch active {
	case variantAVX512:
		addAbsAVX512(y, a, b)
	case variantAVX2:
		addAbsAVX2(y, a, b)
	default:
		addAbsGo(y, a, b)
	}
}
