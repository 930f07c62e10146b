package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// isa is one vector instruction set.
type isa struct {
	suffix string
	lanes  int
}

var (
	avx512 = isa{"AVX512", 16}
	avx2   = isa{"AVX2", 8}
)

// vec returns the physical vector register number i.
func (s isa) vec(i int) reg.VecPhysical {
	if s.lanes == 16 {
		return zmm[i]
	}
	return ymm[i]
}

var zmm = []reg.VecPhysical{
	reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
	reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
	reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
	reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
}

var ymm = []reg.VecPhysical{
	reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7,
	reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15,
}

// zero clears v.
func (s isa) zero(c *build.Context, v reg.VecPhysical) {
	if s.lanes == 16 {
		c.VPXORD(v, v, v)
	} else {
		c.VXORPS(v, v, v)
	}
}

// masks is the vector masks for the valid lanes of a block: opmask registers
// or, in AVX2, vectors.
type masks struct {
	s isa
	k []reg.OpmaskPhysical
	y []reg.VecPhysical
}

// laneMasks sets the masks for lanes (a register, overwritten) valid lanes.
// tmp is another free register, y the vector registers that AVX2 may keep.
func laneMasks(c *build.Context, s isa, lanes, tmp reg.GPPhysical, vectors int, y ...reg.VecPhysical) masks {
	if s.lanes == 16 {
		m := masks{s: s, k: []reg.OpmaskPhysical{reg.K1, reg.K2}[:vectors]}
		c.MOVQ(operand.I32(-1), tmp)
		c.BZHIQ(lanes, tmp, tmp)
		c.KMOVW(tmp.As32(), m.k[0])
		if vectors > 1 {
			c.SHRQ(operand.Imm(16), tmp)
			c.KMOVW(tmp.As32(), m.k[1])
		}
		return m
	}
	m := masks{s: s, y: y[:vectors]}
	table := maskTable(c)
	c.NEGQ(lanes)
	c.LEAQ(table, tmp)
	for v := range vectors {
		c.VMOVUPS(operand.Mem{Base: tmp, Index: lanes, Scale: 4, Disp: 64 + 32*v}, m.y[v])
	}
	return m
}

var maskTables = map[*build.Context]operand.Mem{}

// maskTable is 16 words of ones followed by 16 words of zeros.
func maskTable(c *build.Context) operand.Mem {
	if m, ok := maskTables[c]; ok {
		return m
	}
	name := "lanes" + string(rune('a'+len(maskTables)))
	m := c.StaticGlobal(name)
	for i := range 32 {
		v := uint32(0)
		if i < 16 {
			v = ^v
		}
		c.AppendDatum(operand.U32(v))
	}
	c.DataAttributes(8 | 16) // RODATA, NOPTR
	maskTables[c] = m
	return m
}

// load reads vector v of a block, with zeros in the invalid lanes.
func (m masks) load(c *build.Context, v int, from operand.Mem, to reg.VecPhysical) {
	if m.s.lanes == 16 {
		c.VMOVUPS_Z(from, m.k[v], to)
	} else {
		c.VMASKMOVPS(from, m.y[v], to)
	}
}

// store writes the valid lanes of vector v of a block.
func (m masks) store(c *build.Context, v int, from reg.VecPhysical, to operand.Mem) {
	if m.s.lanes == 16 {
		c.VMOVUPS(from, m.k[v], to)
	} else {
		c.VMASKMOVPS(from, m.y[v], to)
	}
}
