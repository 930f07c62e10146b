package kernel

import (
	"encoding/binary"
	"unsafe"
)

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

// AsFloats returns the elements of p, little-endian float32, without a copy; nil where the
// machine has another byte order, or p does not begin at a multiple of 4.
func AsFloats(p []byte) []float32 {
	at := unsafe.SliceData(p)
	if len(p) < 4 || uintptr(unsafe.Pointer(at))%4 != 0 || binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(at)), len(p)/4)
}
