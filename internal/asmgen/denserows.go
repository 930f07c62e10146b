package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of denseRowsArgs.
const (
	denseX     = 0
	denseW     = 8
	denseY     = 16
	denseC     = 24
	densePitch = 32
	denseCin   = 40
	denseYStep = 48
	denseYRow  = 56
	denseN     = 64
	denseRowsN = 72
	denseLanes = 80
	denseAdd   = 88
)

func denseRows(c *build.Context) {
	denseRowsTile(c, avx512, []int{16, 8, 4, 1})
	denseRowsTile(c, avx2, []int{8, 4, 1})
}

// denseRowsTile generates the 3×3 convolution of stride 1 of one vector of output
// channels, over runs of pixels of the given lengths: every input that is
// broadcast serves the three outputs that see it.
func denseRowsTile(c *build.Context, s isa, lengths []int) {
	name := "denseRows" + s.suffix
	c.Function(name)
	c.Attributes(4) // NOSPLIT
	c.Pragma("noescape")
	c.SignatureExpr("func(denseRows *byte)")
	c.Doc(fmt.Sprintf("%s handles %d output channels of rows of pixels.", name, s.lanes))
	args, step, step3, px, py, w, k, ky := reg.RAX, reg.RSI, reg.RDI, reg.R14, reg.R13, reg.R12, reg.RCX, reg.RBX
	n, row := reg.R15, reg.RDX
	bases := []reg.GPPhysical{reg.R8, reg.R9, reg.R10, reg.R11}
	offsets := []int{0, 5, 7, 10}
	rows, x, y := c.AllocLocal(8), c.AllocLocal(8), c.AllocLocal(8)
	c.Load(c.Param("denseRows"), args)
	c.MOVQ(operand.Mem{Base: args, Disp: denseLanes}, n)
	m := laneMasks(c, s, n, k, 1, s.vec(15))
	scaled(c, args, denseC, step)
	c.LEAQ(operand.Mem{Base: step, Index: step, Scale: 2}, step3)
	for _, f := range []struct {
		off int
		to  operand.Mem
	}{{denseX, x}, {denseY, y}, {denseRowsN, rows}} {
		c.MOVQ(operand.Mem{Base: args, Disp: f.off}, k)
		c.MOVQ(k, f.to)
	}

	// at is the address of pixel q of the run, channel u further on.
	at := func(q, u int) operand.Mem {
		for i, b := range bases {
			o := operand.Mem{Base: b, Disp: 4 * u}
			switch q - offsets[i] {
			case 0:
				return o
			case 1, 2, 4, 8:
				o.Index, o.Scale = step, uint8(q-offsets[i])
				return o
			case 3, 6, 12:
				o.Index, o.Scale = step3, uint8((q-offsets[i])/3)
				return o
			}
		}
		panic("no address")
	}
	run := func(pixels int) {
		label := func(l string) string { return fmt.Sprintf("%s%d", l, pixels) }
		acc := func(i int) reg.VecPhysical { return s.vec(i) }
		wv := func(kx int) reg.VecPhysical { return s.vec(pixels + kx) }
		spare := 4
		if s.lanes == 8 {
			spare = 1
		}
		c.Label(label("run"))
		// Bytes between output pixels, for as long as sums are loaded.
		c.MOVQ(operand.Mem{Base: args, Disp: denseYStep}, k)
		c.SHLQ(operand.Imm(2), k)
		for i := range pixels {
			s.zero(c, acc(i))
		}
		c.CMPQ(operand.Mem{Base: args, Disp: denseAdd}, operand.Imm(0))
		c.JE(operand.LabelRef(label("start")))
		c.MOVQ(py, ky)
		for i := range pixels {
			m.load(c, 0, operand.Mem{Base: ky}, acc(i))
			if i+1 < pixels {
				c.ADDQ(k, ky)
			}
		}
		c.Label(label("start"))
		c.MOVQ(operand.Mem{Base: args, Disp: denseW}, w)
		c.MOVQ(px, row)
		c.MOVQ(operand.U32(3), ky)
		c.Label(label("ky"))
		for i, b := range bases {
			switch o := offsets[i]; {
			case o == 0:
				c.MOVQ(row, b)
			case o > pixels+1:
			case o == 5:
				c.LEAQ(operand.Mem{Base: row, Index: step, Scale: 4}, b)
				c.ADDQ(step, b)
			case o == 7:
				c.LEAQ(operand.Mem{Base: row, Index: step, Scale: 4}, b)
				c.ADDQ(step3, b)
			default:
				c.LEAQ(operand.Mem{Base: bases[2], Index: step3, Scale: 1}, b)
			}
		}
		move := func(by int) {
			for i, b := range bases {
				if offsets[i] <= pixels+1 {
					c.ADDQ(operand.Imm(uint64(4*by)), b)
				}
			}
			c.ADDQ(operand.I32(int32(4*3*depthRowsWidth*by)), w)
		}
		channel := func(u int) {
			for kx := range 3 {
				c.VMOVUPS(operand.Mem{Base: w, Disp: 4 * depthRowsWidth * (3*u + kx)}, wv(kx))
			}
			for q := range pixels + 2 {
				t := s.vec(pixels + 3 + q%spare)
				c.VBROADCASTSS(at(q, u), t)
				for kx := range 3 {
					if p := q - kx; p >= 0 && p < pixels {
						c.VFMADD231PS(wv(kx), t, acc(p))
					}
				}
			}
		}
		c.MOVQ(operand.Mem{Base: args, Disp: denseCin}, k)
		c.SUBQ(operand.Imm(2), k)
		c.JLT(operand.LabelRef(label("odd")))
		c.Label(label("two"))
		channel(0)
		channel(1)
		move(2)
		c.SUBQ(operand.Imm(2), k)
		c.JGE(operand.LabelRef(label("two")))
		c.Label(label("odd"))
		c.ADDQ(operand.Imm(2), k)
		c.JE(operand.LabelRef(label("next")))
		channel(0)
		move(1)
		c.Label(label("next"))
		scaled(c, args, densePitch, k)
		c.ADDQ(k, row)
		c.DECQ(ky)
		c.JNE(operand.LabelRef(label("ky")))
		scaled(c, args, denseYStep, k)
		store := func(whole bool) {
			for i := range pixels {
				if whole {
					c.VMOVUPS(acc(i), operand.Mem{Base: py})
				} else {
					m.store(c, 0, acc(i), operand.Mem{Base: py})
				}
				c.ADDQ(k, py)
			}
		}
		if s.lanes == 8 {
			// Masked stores take many times as long as plain ones here.
			c.CMPQ(operand.Mem{Base: args, Disp: denseLanes}, operand.Imm(8))
			c.JLT(operand.LabelRef(label("part")))
			store(true)
			c.JMP(operand.LabelRef(label("stored")))
			c.Label(label("part"))
		}
		store(false)
		c.Label(label("stored"))
		c.IMUL3Q(operand.I32(int32(pixels)), step, k)
		c.ADDQ(k, px)
		c.SUBQ(operand.Imm(uint64(pixels)), n)
	}

	c.Label("rows")
	c.MOVQ(x, px)
	c.MOVQ(y, py)
	c.MOVQ(operand.Mem{Base: args, Disp: denseN}, n)
	for _, p := range lengths {
		c.Label(fmt.Sprintf("length%d", p))
		c.CMPQ(n, operand.Imm(uint64(p)))
		c.JLT(operand.LabelRef(fmt.Sprintf("less%d", p)))
		run(p)
		c.JMP(operand.LabelRef(fmt.Sprintf("length%d", p)))
		c.Label(fmt.Sprintf("less%d", p))
	}
	scaled(c, args, densePitch, k)
	c.ADDQ(k, x)
	scaled(c, args, denseYRow, k)
	c.ADDQ(k, y)
	c.DECQ(rows)
	c.JNE(operand.LabelRef("rows"))
	c.VZEROUPPER()
	c.RET()
}
