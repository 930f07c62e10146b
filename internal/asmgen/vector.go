package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Predicates of VCMPPS.
const (
	unordered    = 0x03
	notEqual     = 0x04
	isOrdered    = 0x07
	less         = 0x11
	atMost       = 0x12
	notLessEqual = 0x16
	atLeast      = 0x1d
	greater      = 0x1e
)

// vectors emits vector code with virtual registers, alike for both
// instruction sets.
type vectors struct {
	*build.Context
	s isa
	// The mask of the present vector; both nil for a whole one.
	k reg.Register
	y reg.Register
}

// begin starts a function of the kernel package.
func begin(c *build.Context, s isa, name, signature, doc string) *vectors {
	c.Function(name + s.suffix)
	c.Attributes(4) // NOSPLIT
	c.Pragma("noescape")
	c.SignatureExpr(signature)
	c.Doc(name + s.suffix + " " + doc)
	return &vectors{Context: c, s: s}
}

// reg returns a fresh vector register.
func (v *vectors) reg() reg.Register {
	if v.s.lanes == 16 {
		return v.ZMM()
	}
	return v.YMM()
}

// zero returns a register of zeros.
func (v *vectors) zero() reg.Register {
	r := v.reg()
	v.clear(r)
	return r
}

func (v *vectors) clear(r reg.Register) {
	if v.s.lanes == 16 {
		v.VPXORD(r, r, r)
	} else {
		v.VXORPS(r, r, r)
	}
}

// scalar returns the parameter name, of four bytes, in all lanes.
func (v *vectors) scalar(name string) reg.Register {
	p, err := v.Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	r := v.reg()
	v.VBROADCASTSS(p.Addr, r)
	return r
}

// load reads a vector, with zeros in the lanes outside the mask.
func (v *vectors) load(from operand.Mem) reg.Register {
	r := v.reg()
	switch {
	case v.k != nil:
		v.VMOVUPS_Z(from, v.k, r)
	case v.y != nil:
		v.VMASKMOVPS(from, v.y, r)
	default:
		v.VMOVUPS(from, r)
	}
	return r
}

// store writes the lanes inside the mask.
func (v *vectors) store(r reg.Register, to operand.Mem) {
	switch {
	case v.k != nil:
		v.VMOVUPS(r, v.k, to)
	case v.y != nil:
		v.VMASKMOVPS(r, v.y, to)
	default:
		v.VMOVUPS(r, to)
	}
}

// setMask makes load and store work on the first n lanes; n is overwritten.
func (v *vectors) setMask(n reg.GPVirtual) {
	tmp := v.GP64()
	if v.s.lanes == 16 {
		k := v.K()
		v.MOVQ(operand.I32(-1), tmp)
		v.BZHIQ(n, tmp, tmp)
		v.KMOVW(tmp.As32(), k)
		v.k = k
		return
	}
	y := v.YMM()
	v.LEAQ(maskTable(v.Context), tmp)
	v.NEGQ(n)
	v.VMOVUPS(operand.Mem{Base: tmp, Index: n, Scale: 4, Disp: 64}, y)
	v.y = y
}

func (v *vectors) noMask() { v.k, v.y = nil, nil }

// keep returns r where a (predicate) b holds, 0 elsewhere.
func (v *vectors) keep(predicate uint8, a, b, r reg.Register) reg.Register {
	out := v.reg()
	if v.s.lanes == 16 {
		k := v.K()
		v.VCMPPS(operand.U8(predicate), b, a, k)
		v.VMOVAPS_Z(r, k, out)
		return out
	}
	v.VCMPPS(operand.U8(predicate), b, a, out)
	v.VANDPS(r, out, out)
	return out
}

// choose returns x where a (predicate) b holds, y elsewhere; y is overwritten.
func (v *vectors) choose(predicate uint8, a, b, x, y reg.Register) reg.Register {
	if v.s.lanes == 16 {
		k := v.K()
		v.VCMPPS(operand.U8(predicate), b, a, k)
		v.VMOVAPS(x, k, y)
		return y
	}
	m := v.reg()
	v.VCMPPS(operand.U8(predicate), b, a, m)
	v.VBLENDVPS(m, x, y, y)
	return y
}

// total adds the lanes of r in a fixed tree and returns them in lane 0.
func (v *vectors) total(r reg.Register) reg.VecVirtual {
	y, h := v.YMM(), v.YMM()
	if v.s.lanes == 16 {
		v.VEXTRACTF64X4(operand.U8(1), r, h)
		v.VEXTRACTF64X4(operand.U8(0), r, y)
		v.VADDPS(h, y, y)
	} else {
		v.VMOVAPS(r, y)
	}
	x := v.XMM()
	v.VEXTRACTF128(operand.U8(1), y, x)
	low := v.XMM()
	v.VEXTRACTF128(operand.U8(0), y, low)
	v.VADDPS(x, low, low)
	v.VPERMILPS(operand.U8(0x4e), low, x)
	v.VADDPS(x, low, low)
	v.VPERMILPS(operand.U8(0xb1), low, x)
	v.VADDPS(x, low, low)
	return low
}

// loop runs body over the elements [0,n) of equally long slices: unroll
// vectors at a time, then one, then a masked rest. body gets the position in
// the unrolled group and addresses elements through at.
func (v *vectors) loop(prefix string, n reg.GPVirtual, unroll int, body func(u int, at func(base reg.Register) operand.Mem)) {
	label := func(s string) string { return prefix + s }
	i := v.GP64()
	end := v.GP64()
	v.XORQ(i, i)
	at := func(u int) func(base reg.Register) operand.Mem {
		return func(base reg.Register) operand.Mem {
			return operand.Mem{Base: base, Index: i, Scale: 4, Disp: 4 * v.s.lanes * u}
		}
	}
	v.MOVQ(n, end)
	v.ANDQ(operand.I32(-unroll*v.s.lanes), end)
	v.JE(operand.LabelRef(label("one")))
	v.Label(label("many"))
	for u := range unroll {
		body(u, at(u))
	}
	v.ADDQ(operand.I32(unroll*v.s.lanes), i)
	v.CMPQ(i, end)
	v.JLT(operand.LabelRef(label("many")))
	v.Label(label("one"))
	v.MOVQ(n, end)
	v.ANDQ(operand.I32(-v.s.lanes), end)
	v.CMPQ(i, end)
	v.JGE(operand.LabelRef(label("rest")))
	v.Label(label("onemore"))
	body(0, at(0))
	v.ADDQ(operand.I32(v.s.lanes), i)
	v.CMPQ(i, end)
	v.JLT(operand.LabelRef(label("onemore")))
	v.Label(label("rest"))
	v.MOVQ(n, end)
	v.SUBQ(i, end)
	v.JE(operand.LabelRef(label("done")))
	v.setMask(end)
	body(0, at(0))
	v.noMask()
	v.Label(label("done"))
}

func (v *vectors) end() {
	v.VZEROUPPER()
	v.RET()
}

func (v *vectors) base(name string) reg.GPVirtual {
	r := v.GP64()
	v.Load(v.Param(name).Base(), r)
	return r
}

func (v *vectors) length(name string) reg.GPVirtual {
	r := v.GP64()
	v.Load(v.Param(name).Len(), r)
	return r
}

func (v *vectors) integer(name string) reg.GPVirtual {
	r := v.GP64()
	v.Load(v.Param(name), r)
	return r
}
