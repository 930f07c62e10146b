package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Predicates of VPCMPUD.
const (
	atMostU  = 2
	equalU   = 0
	greaterU = 6
)

const keyParams = "flip, toggle, keep uint32"

func selections(c *build.Context) {
	for _, s := range []isa{avx512, avx2} {
		countKeys(c, s)
		markKeys(c, s)
	}
}

// keys maps floats to the integers of a KeyOrder. AVX2 compares signed: there, keys and
// what they are compared with have their highest bit inverted.
type keys struct {
	*vectors
	flip, toggle, keep, sign reg.Register
}

func beginKeys(c *build.Context, s isa, name, signature, doc string) *keys {
	k := &keys{vectors: begin(c, s, name, signature, doc)}
	k.flip, k.toggle, k.keep = k.scalar("flip"), k.scalar("toggle"), k.scalar("keep")
	if s.lanes == 8 {
		k.sign = k.YMM()
		k.VPCMPEQD(k.sign, k.sign, k.sign)
		k.VPSLLD(operand.U8(31), k.sign, k.sign)
	}
	return k
}

func (k *keys) xor(a, b, to reg.Register) {
	if k.s.lanes == 16 {
		k.VPXORD(a, b, to)
	} else {
		k.VPXOR(a, b, to)
	}
}

func (k *keys) and(a, b, to reg.Register) {
	if k.s.lanes == 16 {
		k.VPANDD(a, b, to)
	} else {
		k.VPAND(a, b, to)
	}
}

// of replaces the bits in r by their keys.
func (k *keys) of(r reg.Register) {
	sign := k.reg()
	k.VPSRAD(operand.U8(31), r, sign)
	k.and(k.flip, sign, sign)
	k.xor(sign, r, r)
	k.xor(k.toggle, r, r)
	k.and(k.keep, r, r)
}

// sixteen calls body for every sixteen elements: twice eight lanes in AVX2.
func (k *keys) sixteen(n reg.GPVirtual, body func(i reg.GPVirtual, at func(base reg.Register, half int) operand.Mem)) {
	i := k.GP64()
	k.XORQ(i, i)
	k.ANDQ(operand.I32(-16), n)
	k.JE(operand.LabelRef("done"))
	k.Label("block")
	body(i, func(base reg.Register, half int) operand.Mem {
		return operand.Mem{Base: base, Index: i, Scale: 4, Disp: 32 * half}
	})
	k.ADDQ(operand.Imm(16), i)
	k.CMPQ(i, n)
	k.JLT(operand.LabelRef("block"))
	k.Label("done")
}

func (k *keys) result(n reg.Register) {
	k.Store(n, k.ReturnIndex(0))
	k.end()
}

func countKeys(c *build.Context, s isa) {
	k := beginKeys(c, s, "countKeys", "func(v []float32, near []uint8, "+keyParams+", lo, hi, width uint32) int",
		"marks the keys from lo to lo+width and counts those above hi, in whole blocks of sixteen.")
	v, near, n := k.base("v"), k.base("near"), k.length("v")
	lo, hi, width := k.scalar("lo"), k.scalar("hi"), k.scalar("width")
	above, at8 := k.GP64(), k.GP64()
	k.XORQ(above, above)
	if s.lanes == 8 {
		k.xor(k.sign, hi, hi)
		k.xor(k.sign, width, width)
	}
	k.sixteen(n, func(i reg.GPVirtual, at func(reg.Register, int) operand.Mem) {
		k.MOVQ(i, at8)
		k.SHRQ(operand.Imm(3), at8)
		for half := range 16 / s.lanes {
			key := k.load(at(v, half))
			k.of(key)
			d := k.reg()
			k.VPSUBD(lo, key, d)
			bits := k.GP32()
			if s.lanes == 16 {
				m := k.K()
				k.VPCMPUD(operand.U8(greaterU), hi, key, m)
				k.KMOVW(m, bits)
				k.POPCNTL(bits, bits)
				k.ADDQ(bits.As64(), above)
				m, bits = k.K(), k.GP32()
				k.VPCMPUD(operand.U8(atMostU), width, d, m)
				k.KMOVW(m, bits)
				k.MOVW(bits.As16(), operand.Mem{Base: near, Index: at8, Scale: 1})
				continue
			}
			k.xor(k.sign, key, key)
			k.xor(k.sign, d, d)
			k.VPCMPGTD(hi, key, key)
			k.VMOVMSKPS(key, bits)
			k.POPCNTL(bits, bits)
			k.ADDQ(bits.As64(), above)
			bits = k.GP32()
			k.VPCMPGTD(width, d, d)
			k.VMOVMSKPS(d, bits)
			k.NOTL(bits)
			k.MOVB(bits.As8(), operand.Mem{Base: near, Index: at8, Scale: 1, Disp: half})
		}
	})
	k.result(above)
}

func markKeys(c *build.Context, s isa) {
	k := beginKeys(c, s, "markKeys", "func(m, v []float32, "+keyParams+", threshold uint32) int",
		"sets m to 1 where the key is above the threshold, else to 0, and counts the keys equal to it, in whole blocks of sixteen.")
	m, v, n := k.base("m"), k.base("v"), k.length("v")
	threshold, one := k.scalar("threshold"), k.reg()
	ones := k.GP32()
	k.MOVL(operand.U32(0x3f800000), ones)
	x := k.XMM()
	k.VMOVD(ones, x)
	k.VPBROADCASTD(x, one)
	equal := k.GP64()
	k.XORQ(equal, equal)
	if s.lanes == 8 {
		k.xor(k.sign, threshold, threshold)
	}
	k.sixteen(n, func(i reg.GPVirtual, at func(reg.Register, int) operand.Mem) {
		for half := range 16 / s.lanes {
			key := k.load(at(v, half))
			k.of(key)
			bits := k.GP32()
			if s.lanes == 16 {
				p, out := k.K(), k.reg()
				k.VPCMPUD(operand.U8(greaterU), threshold, key, p)
				k.VMOVAPS_Z(one, p, out)
				k.store(out, at(m, half))
				p = k.K()
				k.VPCMPUD(operand.U8(equalU), threshold, key, p)
				k.KMOVW(p, bits)
			} else {
				k.xor(k.sign, key, key)
				out := k.reg()
				k.VPCMPGTD(threshold, key, out)
				k.and(one, out, out)
				k.store(out, at(m, half))
				k.VPCMPEQD(threshold, key, key)
				k.VMOVMSKPS(key, bits)
			}
			k.POPCNTL(bits, bits)
			k.ADDQ(bits.As64(), equal)
		}
	})
	k.result(equal)
}
