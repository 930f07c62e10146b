//go:build !purego

package kernel

func vecExp(dst, a []float32) {
	switch active {
	case variantAVX512:
		expAVX512(dst, a)
	case variantAVX2:
		expAVX2(dst, a)
	default:
		expGo(dst, a)
	}
}

func vecSigmoid(dst, a []float32) {
	switch active {
	case variantAVX512:
		sigmoidAVX512(dst, a)
	case variantAVX2:
		sigmoidAVX2(dst, a)
	default:
		sigmoidGo(dst, a)
	}
}

func vecTanh(dst, a []float32) {
	switch active {
	case variantAVX512:
		tanhAVX512(dst, a)
	case variantAVX2:
		tanhAVX2(dst, a)
	default:
		tanhGo(dst, a)
	}
}

func vecErf(dst, a []float32) {
	switch active {
	case variantAVX512:
		erfAVX512(dst, a)
	case variantAVX2:
		erfAVX2(dst, a)
	default:
		erfGo(dst, a)
	}
}
