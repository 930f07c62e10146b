package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of depthRowsArgs.
const (
	rowsX      = 0
	rowsW      = 8
	rowsY      = 16
	rowsBias   = 24
	rowsTap    = 32
	rowsTapRow = 40
	rowsStep   = 48
	rowsRow    = 56
	rowsYStep  = 64
	rowsYRow   = 72
	rowsN      = 80
	rowsRows   = 88
	rowsLanes  = 96
	rowsAdd    = 104
	rowsLo     = 112
	rowsHi     = 116
)

// Elements between the weights, or the sums, of two taps.
const depthRowsWidth = 16

func depthRows(c *build.Context) {
	for _, s := range []isa{avx512, avx2} {
		depthRowsTile(c, s)
		depthRowsGradTile(c, s)
	}
}

// scaled loads an element count and turns it into bytes.
func scaled(c *build.Context, args reg.GPPhysical, off int, to reg.GPPhysical) {
	c.MOVQ(operand.Mem{Base: args, Disp: off}, to)
	c.SHLQ(operand.Imm(2), to)
}

// depthRowsTile generates the 3×3 convolution of one vector of channels: four
// output pixels at a time, the weights in registers.
func depthRowsTile(c *build.Context, s isa) {
	name := "depthRows" + s.suffix
	c.Function(name)
	c.Attributes(4) // NOSPLIT
	c.Pragma("noescape")
	c.SignatureExpr("func(depthRows *byte)")
	c.Doc(fmt.Sprintf("%s handles %d channels of rows of output pixels.", name, s.lanes))
	args, x, y, tap, step, step3 := reg.RAX, reg.RBX, reg.RCX, reg.RDX, reg.RSI, reg.RDI
	yStep, yStep3, n, px, py, q := reg.R8, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13
	tapRow, yRow := reg.R14, reg.R15
	c.Load(c.Param("depthRows"), args)
	rows := c.AllocLocal(8)
	c.MOVQ(operand.Mem{Base: args, Disp: rowsLanes}, n)
	m := laneMasks(c, s, n, q, 1, s.vec(15))
	c.MOVQ(operand.Mem{Base: args, Disp: rowsW}, q)
	w := func(t int) reg.VecPhysical { return s.vec(t) }
	for t := range depthTaps {
		c.VMOVUPS(operand.Mem{Base: q, Disp: 4 * depthRowsWidth * t}, w(t))
	}
	bias, tmp := s.vec(13), s.vec(14)
	s.zero(c, bias)
	c.MOVQ(operand.Mem{Base: args, Disp: rowsBias}, q)
	c.TESTQ(q, q)
	c.JE(operand.LabelRef("nobias"))
	m.load(c, 0, operand.Mem{Base: q}, bias)
	c.Label("nobias")
	lo, hi := s.vec(30%16), s.vec(31%16)
	if s.lanes == 16 {
		lo, hi = s.vec(30), s.vec(31)
		c.VBROADCASTSS(operand.Mem{Base: args, Disp: rowsLo}, lo)
		c.VBROADCASTSS(operand.Mem{Base: args, Disp: rowsHi}, hi)
	}
	c.MOVQ(operand.Mem{Base: args, Disp: rowsX}, x)
	c.MOVQ(operand.Mem{Base: args, Disp: rowsY}, y)
	scaled(c, args, rowsTap, tap)
	scaled(c, args, rowsTapRow, tapRow)
	scaled(c, args, rowsStep, step)
	scaled(c, args, rowsYStep, yStep)
	c.LEAQ(operand.Mem{Base: step, Index: step, Scale: 2}, step3)
	c.LEAQ(operand.Mem{Base: yStep, Index: yStep, Scale: 2}, yStep3)
	c.MOVQ(operand.Mem{Base: args, Disp: rowsRows}, q)
	c.MOVQ(q, rows)
	scaled(c, args, rowsYRow, yRow)

	pixels := func(count int, prefix string, full bool) {
		acc := func(i int) reg.VecPhysical { return s.vec(9 + i) }
		at := func(base, one, three reg.GPPhysical, i int) operand.Mem {
			switch i {
			case 1:
				return operand.Mem{Base: base, Index: one, Scale: 1}
			case 2:
				return operand.Mem{Base: base, Index: one, Scale: 2}
			case 3:
				return operand.Mem{Base: base, Index: three, Scale: 1}
			}
			return operand.Mem{Base: base}
		}
		for i := range count {
			c.VMOVAPS(bias, acc(i))
		}
		c.CMPQ(operand.Mem{Base: args, Disp: rowsAdd}, operand.Imm(0))
		c.JE(operand.LabelRef(prefix + "write"))
		for i := range count {
			from := at(py, yStep, yStep3, i)
			if s.lanes == 16 {
				c.VADDPS(from, acc(i), m.k[0], acc(i))
			} else {
				m.load(c, 0, from, tmp)
				c.VADDPS(tmp, acc(i), acc(i))
			}
		}
		c.Label(prefix + "write")
		// The lines that the next row will write.
		c.LEAQ(operand.Mem{Base: py, Index: yRow, Scale: 1}, q)
		for i := range count {
			c.PREFETCHT0(at(q, yStep, yStep3, i))
		}
		c.MOVQ(px, q)
		for t := range depthTaps {
			for i := range count {
				c.VFMADD231PS(at(q, step, step3, i), w(t), acc(i))
			}
			switch t {
			case 2:
				c.LEAQ(operand.Mem{Base: px, Index: tapRow, Scale: 1}, q)
			case 5:
				c.LEAQ(operand.Mem{Base: px, Index: tapRow, Scale: 2}, q)
			default:
				c.ADDQ(tap, q)
			}
		}
		for i := range count {
			if s.lanes == 16 {
				c.VMAXPS(acc(i), lo, acc(i))
				c.VMINPS(acc(i), hi, acc(i))
			} else {
				c.VBROADCASTSS(operand.Mem{Base: args, Disp: rowsLo}, tmp)
				c.VMAXPS(acc(i), tmp, acc(i))
				c.VBROADCASTSS(operand.Mem{Base: args, Disp: rowsHi}, tmp)
				c.VMINPS(acc(i), tmp, acc(i))
			}
			if full {
				c.VMOVUPS(acc(i), at(py, yStep, yStep3, i))
			} else {
				m.store(c, 0, acc(i), at(py, yStep, yStep3, i))
			}
		}
		if count == 4 {
			c.LEAQ(operand.Mem{Base: px, Index: step, Scale: 4}, px)
			c.LEAQ(operand.Mem{Base: py, Index: yStep, Scale: 4}, py)
		} else {
			c.ADDQ(step, px)
			c.ADDQ(yStep, py)
		}
	}

	c.Label("rows")
	c.MOVQ(x, px)
	c.MOVQ(y, py)
	c.MOVQ(operand.Mem{Base: args, Disp: rowsN}, n)
	c.SUBQ(operand.Imm(4), n)
	c.JLT(operand.LabelRef("single"))
	if s.lanes == 8 {
		// Masked stores take many times as long as plain ones here.
		c.CMPQ(operand.Mem{Base: args, Disp: rowsLanes}, operand.Imm(8))
		c.JLT(operand.LabelRef("four"))
		c.Label("whole")
		pixels(4, "whole", true)
		c.SUBQ(operand.Imm(4), n)
		c.JGE(operand.LabelRef("whole"))
		c.JMP(operand.LabelRef("single"))
	}
	c.Label("four")
	pixels(4, "four", false)
	c.SUBQ(operand.Imm(4), n)
	c.JGE(operand.LabelRef("four"))
	c.Label("single")
	c.ADDQ(operand.Imm(4), n)
	c.JE(operand.LabelRef("rowdone"))
	c.Label("one")
	pixels(1, "one", false)
	c.DECQ(n)
	c.JNE(operand.LabelRef("one"))
	c.Label("rowdone")
	scaled(c, args, rowsRow, q)
	c.ADDQ(q, x)
	c.ADDQ(yRow, y)
	c.DECQ(rows)
	c.JNE(operand.LabelRef("rows"))
	c.VZEROUPPER()
	c.RET()
}

// Offsets of the fields of depthRowsGradArgs.
const (
	rowsGradX      = 0
	rowsGradDY     = 8
	rowsGradAcc    = 16
	rowsGradTap    = 24
	rowsGradTapRow = 32
	rowsGradStep   = 40
	rowsGradRow    = 48
	rowsGradYStep  = 56
	rowsGradYRow   = 64
	rowsGradN      = 72
	rowsGradRows   = 80
)

// depthRowsGradTile generates the gradient by weights of a 3×3 convolution of
// one vector of channels, the sums in registers.
func depthRowsGradTile(c *build.Context, s isa) {
	name := "depthRowsGrad" + s.suffix
	c.Function(name)
	c.Attributes(4) // NOSPLIT
	c.Pragma("noescape")
	c.SignatureExpr("func(depthRowsGrad *byte)")
	c.Doc(fmt.Sprintf("%s handles %d channels of rows of output pixels.", name, s.lanes))
	args, x, dy, tap, step := reg.RAX, reg.RBX, reg.RCX, reg.RDX, reg.RSI
	yStep, n, tapRow, rows, acc := reg.R8, reg.R10, reg.R14, reg.R15, reg.RDI
	p := []reg.GPPhysical{reg.R11, reg.R12, reg.R13}
	pd := reg.R9
	c.Load(c.Param("depthRowsGrad"), args)
	c.MOVQ(operand.Mem{Base: args, Disp: rowsGradX}, x)
	c.MOVQ(operand.Mem{Base: args, Disp: rowsGradDY}, dy)
	c.MOVQ(operand.Mem{Base: args, Disp: rowsGradAcc}, acc)
	c.MOVQ(operand.Mem{Base: args, Disp: rowsGradRows}, rows)
	scaled(c, args, rowsGradTap, tap)
	scaled(c, args, rowsGradTapRow, tapRow)
	scaled(c, args, rowsGradStep, step)
	scaled(c, args, rowsGradYStep, yStep)
	for t := range depthTaps {
		c.VMOVUPS(operand.Mem{Base: acc, Disp: 4 * depthRowsWidth * t}, s.vec(t))
	}
	d := s.vec(depthTaps)
	c.Label("rows")
	c.MOVQ(x, p[0])
	c.LEAQ(operand.Mem{Base: x, Index: tapRow, Scale: 1}, p[1])
	c.LEAQ(operand.Mem{Base: x, Index: tapRow, Scale: 2}, p[2])
	c.MOVQ(dy, pd)
	c.MOVQ(operand.Mem{Base: args, Disp: rowsGradN}, n)
	c.Label("pixels")
	c.VMOVUPS(operand.Mem{Base: pd}, d)
	for r := range 3 {
		c.VFMADD231PS(operand.Mem{Base: p[r]}, d, s.vec(3*r))
		c.VFMADD231PS(operand.Mem{Base: p[r], Index: tap, Scale: 1}, d, s.vec(3*r+1))
		c.VFMADD231PS(operand.Mem{Base: p[r], Index: tap, Scale: 2}, d, s.vec(3*r+2))
		c.ADDQ(step, p[r])
	}
	c.ADDQ(yStep, pd)
	c.DECQ(n)
	c.JNE(operand.LabelRef("pixels"))
	scaled(c, args, rowsGradRow, n)
	c.ADDQ(n, x)
	scaled(c, args, rowsGradYRow, n)
	c.ADDQ(n, dy)
	c.DECQ(rows)
	c.JNE(operand.LabelRef("rows"))
	for t := range depthTaps {
		c.VMOVUPS(s.vec(t), operand.Mem{Base: acc, Disp: 4 * depthRowsWidth * t})
	}
	c.VZEROUPPER()
	c.RET()
}
