//go:build !amd64 || purego

package kernel

// maxPoolRow computes the maxima of a row of n pixels with equal taps.
func maxPoolRow(y []float32, arg []int32, x []float32, taps, pixels []int32, n, c, step, pixelStep int) {
	maxPoolRowGo(y, arg, x, taps, pixels, n, c, step, pixelStep)
}
