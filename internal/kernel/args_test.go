//go:build !purego && amd64

package kernel

import (
	"testing"
	"unsafe"
)

// TestArgs holds the argument structures against the offsets that the
// generator in internal/asmgen knows.
func TestArgs(t *testing.T) {
	var a tileArgs
	var g gradArgs
	var d depthGradArgs
	for _, f := range []struct {
		name      string
		got, want uintptr
	}{
		{"tileArgs.x", unsafe.Offsetof(a.x), 0},
		{"tileArgs.zero", unsafe.Offsetof(a.zero), 8},
		{"tileArgs.in", unsafe.Offsetof(a.in), 16},
		{"tileArgs.out", unsafe.Offsetof(a.out), 24},
		{"tileArgs.w", unsafe.Offsetof(a.w), 32},
		{"tileArgs.y", unsafe.Offsetof(a.y), 40},
		{"tileArgs.res", unsafe.Offsetof(a.res), 48},
		{"tileArgs.bias", unsafe.Offsetof(a.bias), 56},
		{"tileArgs.pitch", unsafe.Offsetof(a.pitch), 64},
		{"tileArgs.taps", unsafe.Offsetof(a.taps), 72},
		{"tileArgs.cin", unsafe.Offsetof(a.cin), 80},
		{"tileArgs.n", unsafe.Offsetof(a.n), 88},
		{"tileArgs.lanes", unsafe.Offsetof(a.lanes), 96},
		{"tileArgs.lo", unsafe.Offsetof(a.lo), 112},
		{"tileArgs.hi", unsafe.Offsetof(a.hi), 116},
		{"tileArgs.rows", unsafe.Offsetof(a.rows), 120},
		{"gradArgs.x", unsafe.Offsetof(g.x), 0},
		{"gradArgs.dy", unsafe.Offsetof(g.dy), 8},
		{"gradArgs.pairs", unsafe.Offsetof(g.pairs), 16},
		{"gradArgs.acc", unsafe.Offsetof(g.acc), 24},
		{"gradArgs.n", unsafe.Offsetof(g.n), 32},
		{"gradArgs.lanes", unsafe.Offsetof(g.lanes), 40},
		{"depthGradArgs.x", unsafe.Offsetof(d.x), 0},
		{"depthGradArgs.zero", unsafe.Offsetof(d.zero), 8},
		{"depthGradArgs.in", unsafe.Offsetof(d.in), 16},
		{"depthGradArgs.out", unsafe.Offsetof(d.out), 24},
		{"depthGradArgs.dy", unsafe.Offsetof(d.dy), 32},
		{"depthGradArgs.acc", unsafe.Offsetof(d.acc), 40},
		{"depthGradArgs.n", unsafe.Offsetof(d.n), 48},
		{"depthGradArgs.lanes", unsafe.Offsetof(d.lanes), 56},
	} {
		if f.got != f.want {
			t.Errorf("%s lies at %d, the assembly expects %d", f.name, f.got, f.want)
		}
	}
}
