//go:build !amd64 || purego

package kernel

func countKeys(v []float32, near []uint8, flip, toggle, keep, lo, hi, width uint32) int {
	return countKeysGo(v, near, flip, toggle, keep, lo, hi, width)
}

func markKeys(m, v []float32, flip, toggle, keep, threshold uint32) int {
	return markKeysGo(m, v, flip, toggle, keep, threshold)
}
