package kernel

import "unsafe"

const (
	cacheLine = 64
	hugePage  = 2 << 20
)

// Floats returns n zeroed elements that start on a cache line. From 4 MiB on
// they start on a huge page, and the operating system is asked for huge pages
// where it gives them only on request: activations are walked once a pass, and
// with small pages every other miss would be one of the address translation.
func Floats(n int) []float32 {
	align := cacheLine
	if 4*n >= 2*hugePage {
		align = hugePage
	}
	b := make([]float32, n+align/4)
	skip := 0
	if r := int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % uintptr(align)); r != 0 {
		skip = (align - r) / 4
	}
	b = b[skip : skip+n : skip+n]
	if align == hugePage {
		whole := 4 * n / hugePage * hugePage
		wantHugePages(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(b))), whole))
	}
	return b
}
