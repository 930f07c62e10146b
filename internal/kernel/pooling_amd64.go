//go:build !purego

package kernel

// maxPoolRow computes the maxima of a row of n pixels with equal taps.
func maxPoolRow(y []float32, arg []int32, x []float32, taps, pixels []int32, n, c, step, pixelStep int) {
	switch active {
	case variantAVX512:
		maxPoolRowAVX512(y, arg, x, taps, pixels, n, c, step, pixelStep)
	case variantAVX2:
		maxPoolRowAVX2(y, arg, x, taps, pixels, n, c, step, pixelStep)
	default:
		maxPoolRowGo(y, arg, x, taps, pixels, n, c, step, pixelStep)
	}
}
