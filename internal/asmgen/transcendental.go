package main

import (
	"math"
	"strconv"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Predicates of VCMPPS for magnitudes.
const greaterEqual = 0x1d

func transcendentals(c *build.Context) {
	k := constants{c, map[uint32]operand.Mem{}}
	for _, s := range []isa{avx512, avx2} {
		for _, f := range []struct {
			name, doc string
			f         func(v *vectors, k constants, x reg.Register) reg.Register
		}{
			{"exp", "computes dst[i] = exp(a[i]).", exp},
			{"sigmoid", "computes dst[i] = 1 / (1 + exp(-a[i])).", sigmoid},
			{"tanh", "computes dst[i] = tanh(a[i]).", tanh},
			{"erf", "computes dst[i] = erf(a[i]).", erf},
		} {
			v := begin(c, s, f.name, "func(dst, a []float32)", f.doc)
			dst, a, n := v.base("dst"), v.base("a"), v.length("dst")
			v.loop("", n, 1, func(_ int, at func(reg.Register) operand.Mem) {
				v.store(f.f(v, k, v.load(at(a))), at(dst))
			})
			v.end()
		}
	}
}

// constants holds vectors of equal words in read-only memory.
type constants struct {
	c     *build.Context
	known map[uint32]operand.Mem
}

func (k constants) word(w uint32) operand.Mem {
	if m, ok := k.known[w]; ok {
		return m
	}
	m := k.c.StaticGlobal("c" + strconv.FormatUint(uint64(w), 16))
	for range 16 {
		k.c.AppendDatum(operand.U32(w))
	}
	k.c.DataAttributes(8 | 16) // RODATA, NOPTR
	k.known[w] = m
	return m
}

func (k constants) float(f float32) operand.Mem { return k.word(math.Float32bits(f)) }

func (v *vectors) constant(m operand.Mem) reg.Register {
	r := v.reg()
	v.VMOVUPS(m, r)
	return r
}

// horner returns the polynomial in x with the coefficients, highest first.
func (v *vectors) horner(k constants, x reg.Register, coefficients ...float32) reg.Register {
	p := v.constant(k.float(coefficients[0]))
	for _, c := range coefficients[1:] {
		v.VFMADD213PS(k.float(c), x, p)
	}
	return p
}

// exp returns 2ⁿ·exp(r) with n = round(x/ln 2) and r = x − n·ln 2; the
// polynomial is that of Cephes' expf. x is overwritten.
func exp(v *vectors, k constants, x reg.Register) reg.Register {
	v.VMAXPS(x, v.constant(k.float(-104)), x)
	v.VMINPS(x, v.constant(k.float(89)), x)
	n, f := v.reg(), v.reg()
	v.VMULPS(k.float(math.Log2E), x, f)
	v.VCVTPS2DQ(f, n)
	v.VCVTDQ2PS(n, f)
	v.VFNMADD231PS(k.float(0.693359375), f, x)
	v.VFNMADD231PS(k.float(-2.12194440e-4), f, x)
	p := v.horner(k, x, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
	v.VMULPS(x, x, f)
	v.VFMADD213PS(x, f, p)
	v.VADDPS(k.float(1), p, p)
	// 2ⁿ in two factors, so that neither overflows where the result does not.
	h := v.reg()
	v.VPSRAD(operand.U8(1), n, h)
	v.VPSUBD(h, n, n)
	for _, e := range []reg.Register{h, n} {
		v.VPADDD(k.word(127), e, e)
		v.VPSLLD(operand.U8(23), e, e)
		v.VMULPS(e, p, p)
	}
	return p
}

const signBit = 1 << 31

// sigmoid uses exp(-|x|), which cannot overflow.
func sigmoid(v *vectors, k constants, x reg.Register) reg.Register {
	a := v.reg()
	v.VORPS(k.word(signBit), x, a)
	e := exp(v, k, a)
	d, s := v.reg(), v.constant(k.float(1))
	v.VADDPS(e, s, d)
	v.VDIVPS(d, s, s)
	v.VMULPS(s, e, e)
	return v.choose(greaterEqual, x, v.zero(), s, e)
}

// tanh is an odd polynomial for small x (Cephes' tanhf), 1 − 2/(exp(2|x|)+1)
// with the sign of x for others.
func tanh(v *vectors, k constants, x reg.Register) reg.Register {
	a, z, sign := v.reg(), v.reg(), v.reg()
	v.VMULPS(x, x, z)
	small := v.horner(k, z, -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
	v.VMULPS(z, small, small)
	v.VFMADD213PS(x, x, small)
	v.VANDPS(k.word(signBit), x, sign)
	v.VANDPS(k.word(signBit-1), x, a)
	v.VADDPS(a, a, z)
	e := exp(v, k, z)
	one := v.constant(k.float(1))
	v.VADDPS(one, e, e)
	two := v.constant(k.float(2))
	v.VDIVPS(e, two, two)
	v.VSUBPS(two, one, one)
	v.VORPS(sign, one, one)
	return v.choose(greater, a, v.constant(k.float(0.625)), one, small)
}

// erf is an odd polynomial for small x, 1 − exp(p(|x|)) with the sign of x for
// others; minimax coefficients by N. Juffa.
func erf(v *vectors, k constants, x reg.Register) reg.Register {
	a, s, sign := v.reg(), v.reg(), v.reg()
	v.VMULPS(x, x, s)
	small := v.horner(k, s, -5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1)
	v.VFMADD213PS(x, x, small)
	v.VANDPS(k.word(signBit), x, sign)
	v.VANDPS(k.word(signBit-1), x, a)
	v.VMINPS(a, v.constant(k.float(6)), a)
	v.VMULPS(a, a, s)
	r := v.horner(k, a, -1.72853470e-5, 3.83197126e-4)
	u := v.horner(k, a, -3.88396438e-3, 2.42546219e-2)
	v.VFMADD213PS(u, s, r)
	for _, c := range []float32{-1.06777877e-1, -6.34846687e-1, -1.28717512e-1} {
		v.VFMADD213PS(k.float(c), a, r)
	}
	v.VFMSUB213PS(a, a, r)
	e := exp(v, k, r)
	one := v.constant(k.float(1))
	v.VSUBPS(e, one, one)
	v.VORPS(sign, one, one)
	return v.choose(greater, a, v.constant(k.float(0.927734375)), one, small)
}
