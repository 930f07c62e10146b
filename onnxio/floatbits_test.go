package onnxio

import (
	"math"
	"testing"
)

func TestSmallFloatsRoundTrip(t *testing.T) {
	for _, dt := range []int32{Float16, Bfloat16} {
		s := smallFloats[dt]
		for b := range uint32(1 << 16) {
			v := s.decode(b)
			got, ok := s.encode(v)
			if v == v && (got != b || !ok) || v != v && s.decode(got) == s.decode(got) {
				t.Fatalf("%s: %#x is %g, encoded %#x", TypeName(dt), b, v, got)
			}
		}
	}
}

func TestSmallFloatValues(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		dt   int32
		bits uint32
		want float32
	}{
		{Float16, 0x3c00, 1}, {Float16, 0x0001, 0x1p-24}, {Float16, 0x7bff, 65504}, {Float16, 0xfc00, -inf},
		{Bfloat16, 0x3fc0, 1.5}, {Bfloat16, 0x0001, 0x1p-133}, {Bfloat16, 0x7fc0, nan},
		{Float8E4M3FN, 0x7e, 448}, {Float8E4M3FN, 0x7f, nan}, {Float8E4M3FN, 0x01, 0x1p-9}, {Float8E4M3FN, 0xb8, -1},
		{Float8E4M3FNUZ, 0x7f, 240}, {Float8E4M3FNUZ, 0x80, nan}, {Float8E4M3FNUZ, 0x40, 1},
		{Float8E5M2, 0x7b, 57344}, {Float8E5M2, 0x7c, inf}, {Float8E5M2, 0x7d, nan}, {Float8E5M2, 0x01, 0x1p-16},
		{Float8E5M2FNUZ, 0x7f, 57344}, {Float8E5M2FNUZ, 0x80, nan}, {Float8E5M2FNUZ, 0x01, 0x1p-17},
		{Float4E2M1, 7, 6}, {Float4E2M1, 1, 0.5}, {Float4E2M1, 0xa, -1},
	} {
		got := smallFloats[c.dt].decode(c.bits)
		if got != c.want && !(got != got && c.want != c.want) {
			t.Errorf("%s %#x is %g, want %g", TypeName(c.dt), c.bits, got, c.want)
		}
	}
	if decodeE8M0(127) != 1 || decodeE8M0(0) != 0x1p-127 || decodeE8M0(255) == decodeE8M0(255) {
		t.Error("float8e8m0")
	}
}

// Rounding is to the nearest, ties to even, as the exhaustive search over all values has it.
func TestEncodeRoundsToNearestEven(t *testing.T) {
	s := smallFloats[Float16]
	for b := range uint32(0x7bff) {
		lo, hi := s.decode(b), s.decode(b+1)
		mid := (lo + hi) / 2
		even := b + b&1
		for _, c := range []struct {
			v    float32
			want uint32
		}{{mid, even}, {math.Nextafter32(mid, lo), b}, {math.Nextafter32(mid, hi), b + 1}} {
			if got, _ := s.encode(c.v); got != c.want {
				t.Fatalf("%g encoded %#x, want %#x", c.v, got, c.want)
			}
		}
	}
}
