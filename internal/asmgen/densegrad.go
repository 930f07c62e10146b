package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of denseGradArgs.
const (
	denseGradX        = 0
	denseGradDY       = 8
	denseGradAcc      = 16
	denseGradC        = 24
	denseGradPitch    = 32
	denseGradO        = 40
	denseGradDYPitch  = 48
	denseGradN        = 56
	denseGradRows     = 64
	denseGradChannels = 72
)

func denseGrads(c *build.Context) {
	denseGradTile(c, avx512, []int{8, 4, 3, 2, 1})
	denseGradTile(c, avx2, []int{4, 3, 2, 1})
}

// denseGradTile generates the gradient by weights of three neighbouring taps, of
// one vector of output channels and as many input channels at a time as groups
// says: every input that is broadcast serves three taps, whose sums are in
// registers.
func denseGradTile(c *build.Context, s isa, groups []int) {
	name := "denseGrad" + s.suffix
	c.Function(name)
	c.Attributes(4) // NOSPLIT
	c.Pragma("noescape")
	c.SignatureExpr("func(denseGrad *byte)")
	c.Doc(fmt.Sprintf("%s handles %d output channels.", name, s.lanes))
	args, x, dy, acc, left := reg.RAX, reg.RBX, reg.RCX, reg.RDI, reg.RDX
	step, back, rows, n := reg.RSI, reg.R8, reg.R9, reg.R10
	px, pd, rowX, rowD, yStep := reg.R11, reg.R12, reg.R13, reg.R14, reg.R15
	c.Load(c.Param("denseGrad"), args)
	c.MOVQ(operand.Mem{Base: args, Disp: denseGradX}, x)
	c.MOVQ(operand.Mem{Base: args, Disp: denseGradDY}, dy)
	c.MOVQ(operand.Mem{Base: args, Disp: denseGradAcc}, acc)
	c.MOVQ(operand.Mem{Base: args, Disp: denseGradChannels}, left)
	scaled(c, args, denseGradC, step)
	scaled(c, args, denseGradO, yStep)
	c.MOVQ(yStep, back)
	c.NEGQ(back)
	for _, g := range groups {
		label := func(l string) operand.LabelRef { return operand.LabelRef(fmt.Sprintf("%s%d", l, g)) }
		sum := func(k, kx int) reg.VecPhysical { return s.vec(3*k + kx) }
		d, t := func(kx int) reg.VecPhysical { return s.vec(3*g + kx) }, s.vec(3*g+3)
		each := func(f func(v reg.VecPhysical, m operand.Mem)) {
			for k := range g {
				for kx := range 3 {
					f(sum(k, kx), operand.Mem{Base: acc, Disp: 4 * depthRowsWidth * (3*k + kx)})
				}
			}
		}
		c.Label(string(label("group")))
		c.CMPQ(left, operand.Imm(uint64(g)))
		c.JLT(label("less"))
		each(func(v reg.VecPhysical, m operand.Mem) { c.VMOVUPS(m, v) })
		c.MOVQ(x, rowX)
		c.MOVQ(dy, rowD)
		c.MOVQ(operand.Mem{Base: args, Disp: denseGradRows}, rows)
		c.Label(string(label("rows")))
		c.MOVQ(rowX, px)
		c.MOVQ(rowD, pd)
		c.MOVQ(operand.Mem{Base: args, Disp: denseGradN}, n)
		c.Label(string(label("pixels")))
		c.VMOVUPS(operand.Mem{Base: pd}, d(0))
		c.VMOVUPS(operand.Mem{Base: pd, Index: back, Scale: 1}, d(1))
		c.VMOVUPS(operand.Mem{Base: pd, Index: back, Scale: 2}, d(2))
		for k := range g {
			c.VBROADCASTSS(operand.Mem{Base: px, Disp: 4 * k}, t)
			for kx := range 3 {
				c.VFMADD231PS(d(kx), t, sum(k, kx))
			}
		}
		c.ADDQ(step, px)
		c.ADDQ(yStep, pd)
		c.DECQ(n)
		c.JNE(label("pixels"))
		scaled(c, args, denseGradPitch, n)
		c.ADDQ(n, rowX)
		scaled(c, args, denseGradDYPitch, n)
		c.ADDQ(n, rowD)
		c.DECQ(rows)
		c.JNE(label("rows"))
		each(func(v reg.VecPhysical, m operand.Mem) { c.VMOVUPS(v, m) })
		c.ADDQ(operand.Imm(uint64(4*g)), x)
		c.ADDQ(operand.I32(int32(4*depthRowsWidth*3*g)), acc)
		c.SUBQ(operand.Imm(uint64(g)), left)
		c.JMP(label("group"))
		c.Label(string(label("less")))
	}
	c.VZEROUPPER()
	c.RET()
}
