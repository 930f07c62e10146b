//go:build !linux

package engine

// memoryLimit is what a plan may need, in bytes, where the machine's memory is not
// known.
func memoryLimit() int { return 1 << 36 }
