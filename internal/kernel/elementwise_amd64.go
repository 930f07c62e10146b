//go:build !purego

package kernel

func vecAdd(dst, a, b []float32) {
	switch active {
	case variantAVX512:
		addAVX512(dst, a, b)
	case variantAVX2:
		addAVX2(dst, a, b)
	default:
		addGo(dst, a, b)
	}
}

func vecSub(dst, a, b []float32) {
	switch active {
	case variantAVX512:
		subAVX512(dst, a, b)
	case variantAVX2:
		subAVX2(dst, a, b)
	default:
		subGo(dst, a, b)
	}
}

func vecMul(dst, a, b []float32) {
	switch active {
	case variantAVX512:
		mulAVX512(dst, a, b)
	case variantAVX2:
		mulAVX2(dst, a, b)
	default:
		mulGo(dst, a, b)
	}
}

func vecDiv(dst, a, b []float32) {
	switch active {
	case variantAVX512:
		divAVX512(dst, a, b)
	case variantAVX2:
		divAVX2(dst, a, b)
	default:
		divGo(dst, a, b)
	}
}

func vecMax(dst, a, b []float32) {
	switch active {
	case variantAVX512:
		maxAVX512(dst, a, b)
	case variantAVX2:
		maxAVX2(dst, a, b)
	default:
		maxGo(dst, a, b)
	}
}

func vecMin(dst, a, b []float32) {
	switch active {
	case variantAVX512:
		minAVX512(dst, a, b)
	case variantAVX2:
		minAVX2(dst, a, b)
	default:
		minGo(dst, a, b)
	}
}

func vecAddRelu(dst, a, b []float32) {
	switch active {
	case variantAVX512:
		addReluAVX512(dst, a, b)
	case variantAVX2:
		addReluAVX2(dst, a, b)
	default:
		addReluGo(dst, a, b)
	}
}

func vecReluGrad(dst, a, b []float32) {
	switch active {
	case variantAVX512:
		reluGradAVX512(dst, a, b)
	case variantAVX2:
		reluGradAVX2(dst, a, b)
	default:
		reluGradGo(dst, a, b)
	}
}

func vecRelu(dst, a []float32) {
	switch active {
	case variantAVX512:
		reluAVX512(dst, a)
	case variantAVX2:
		reluAVX2(dst, a)
	default:
		reluGo(dst, a)
	}
}

func vecAddScalar(dst, a []float32, s float32) {
	switch active {
	case variantAVX512:
		addScalarAVX512(dst, a, s)
	case variantAVX2:
		addScalarAVX2(dst, a, s)
	default:
		addScalarGo(dst, a, s)
	}
}

func vecScale(dst, a []float32, s float32) {
	switch active {
	case variantAVX512:
		scaleAVX512(dst, a, s)
	case variantAVX2:
		scaleAVX2(dst, a, s)
	default:
		scaleGo(dst, a, s)
	}
}

func vecAxpy(dst, a []float32, s float32) {
	switch active {
	case variantAVX512:
		axpyAVX512(dst, a, s)
	case variantAVX2:
		axpyAVX2(dst, a, s)
	default:
		axpyGo(dst, a, s)
	}
}

func vecClip(dst, a []float32, lo, hi float32) {
	switch active {
	case variantAVX512:
		clipAVX512(dst, a, lo, hi)
	case variantAVX2:
		clipAVX2(dst, a, lo, hi)
	default:
		clipGo(dst, a, lo, hi)
	}
}

func vecSum(a []float32) float32 {
	switch active {
	case variantAVX512:
		return sumAVX512(a)
	case variantAVX2:
		return sumAVX2(a)
	}
	return sumGo(a)
}

func vecDot(a, b []float32) float32 {
	switch active {
	case variantAVX512:
		return dotAVX512(a, b)
	case variantAVX2:
		return dotAVX2(a, b)
	}
	return dotGo(a, b)
}

func vecClipGrad(dst, dy, x []float32, lo, hi float32) {
	switch active {
	case variantAVX512:
		clipGradAVX512(dst, dy, x, lo, hi)
	case variantAVX2:
		clipGradAVX2(dst, dy, x, lo, hi)
	default:
		clipGradGo(dst, dy, x, lo, hi)
	}
}
