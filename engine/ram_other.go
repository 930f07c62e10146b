//go:build !linux

package engine

// memoryLimit is what a plan may need, in bytes, where the machine's memory is not
// known.
func memoryLimit() int { return 1 << 36 }

// FreeMemory is what the system has left for this process, in bytes; false where that is
// not known.
func FreeMemory() (int64, bool) { return 0, false }

// UsedMemory is the memory of this process that is in RAM now, and the most that was, in
// bytes; false where that is not known.
func UsedMemory() (now, peak int64, ok bool) { return 0, 0, false }
