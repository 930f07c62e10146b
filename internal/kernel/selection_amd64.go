//go:build !purego

package kernel

func countKeys(v []float32, near []uint8, flip, toggle, keep, lo, hi, width uint32) int {
	switch active {
	case variantAVX512:
		return countKeysAVX512(v, near, flip, toggle, keep, lo, hi, width)
	case variantAVX2:
		return countKeysAVX2(v, near, flip, toggle, keep, lo, hi, width)
	}
	return countKeysGo(v, near, flip, toggle, keep, lo, hi, width)
}

func markKeys(m, v []float32, flip, toggle, keep, threshold uint32) int {
	switch active {
	case variantAVX512:
		return markKeysAVX512(m, v, flip, toggle, keep, threshold)
	case variantAVX2:
		return markKeysAVX2(m, v, flip, toggle, keep, threshold)
	}
	return markKeysGo(m, v, flip, toggle, keep, threshold)
}
