package onnxio

import "math"

// smallFloat describes a binary floating-point format of at most 16 bits with a sign:
// value = (−1)^s · 2^(e−bias) · (1 + m/2^mant), for e = 0 (−1)^s · 2^(1−bias) · m/2^mant.
type smallFloat struct {
	exp, mant int
	bias      int
	inf       bool // the largest exponent means infinity (m = 0) or NaN, as in IEEE 754
	nanOnes   bool // all ones below the sign is NaN
	nanZero   bool // the pattern of −0 is NaN, and there is no −0
}

var smallFloats = map[int32]smallFloat{
	Float16:        {exp: 5, mant: 10, bias: 15, inf: true},
	Bfloat16:       {exp: 8, mant: 7, bias: 127, inf: true},
	Float8E4M3FN:   {exp: 4, mant: 3, bias: 7, nanOnes: true},
	Float8E4M3FNUZ: {exp: 4, mant: 3, bias: 8, nanZero: true},
	Float8E5M2:     {exp: 5, mant: 2, bias: 15, inf: true},
	Float8E5M2FNUZ: {exp: 5, mant: 2, bias: 16, nanZero: true},
	Float4E2M1:     {exp: 2, mant: 1, bias: 1},
}

// decode returns the value of a bit pattern, which float32 holds exactly.
func (s smallFloat) decode(bits uint32) float32 {
	sign := bits >> (s.exp + s.mant) & 1
	e := int(bits >> s.mant & (1<<s.exp - 1))
	m := bits & (1<<s.mant - 1)
	switch {
	case s.nanZero && sign == 1 && e == 0 && m == 0,
		s.nanOnes && e == 1<<s.exp-1 && m == 1<<s.mant-1:
		return float32(math.NaN())
	case s.inf && e == 1<<s.exp-1:
		return math.Float32frombits(sign<<31 | 0xff<<23 | m<<(23-s.mant))
	}
	frac, power := float64(m), e-s.bias-s.mant
	if e == 0 {
		power++
	} else {
		frac += float64(uint32(1) << s.mant)
	}
	v := float32(math.Ldexp(frac, power))
	if sign == 1 {
		return float32(math.Copysign(float64(v), -1))
	}
	return v
}

// encode rounds v to the nearest bit pattern, ties to even, for the IEEE-like formats (inf true). A finite value too
// large for the format is not ok.
func (s smallFloat) encode(v float32) (bits uint32, ok bool) {
	b := math.Float32bits(v)
	sign, abs := b>>31<<(s.exp+s.mant), b&0x7fffffff
	inf := uint32(1<<s.exp-1) << s.mant
	switch {
	case abs > 0xff<<23:
		return sign | inf | 1<<(s.mant-1), true
	case abs == 0xff<<23:
		return sign | inf, true
	case abs == 0:
		return sign, true
	}
	// units of the smallest step at v's magnitude, rounded to even
	x := math.Abs(float64(v))
	_, e := math.Frexp(x)
	e = max(e-1, 1-s.bias)
	n := uint32(math.RoundToEven(math.Ldexp(x, s.mant-e)))
	bits = uint32(e+s.bias-1)<<s.mant + n
	return sign | bits, bits < inf
}

// decodeE8M0 returns 2^(bits−127), NaN for 255.
func decodeE8M0(bits uint32) float32 {
	if bits == 255 {
		return float32(math.NaN())
	}
	return float32(math.Ldexp(1, int(bits)-127))
}
