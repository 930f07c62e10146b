package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of gradArgs.
const (
	gradX     = 0
	gradDY    = 8
	gradPairs = 16
	gradAcc   = 24
	gradN     = 32
	gradLanes = 40
)

// Offsets of the fields of depthGradArgs.
const (
	depthX     = 0
	depthZero  = 8
	depthIn    = 16
	depthOut   = 24
	depthDY    = 32
	depthAcc   = 40
	depthN     = 48
	depthLanes = 56
)

const depthTaps = 9

func grads(c *build.Context) {
	gradTile(c, avx512, 32, 8, 2)
	gradTile(c, avx512, 16, 16, 1)
	gradTile(c, avx2, 32, 4, 2)
	gradTile(c, avx2, 16, 4, 2)
	wholeGradTile(c, 32, 4, 3)
	wholeGradTile(c, 32, 8, 1)
	depthGradTile(c, avx512, 32, 2)
	depthGradTile(c, avx512, 16, 1)
	depthGradTile(c, avx2, 32, 1)
	depthGradTile(c, avx2, 16, 1)
}

// gradTile generates the weight-gradient tile of rows input channels times
// vectors vectors of output channels; sums have rows of width.
func gradTile(c *build.Context, s isa, width, rows, vectors int) {
	name := fmt.Sprintf("grad%d%s", width, s.suffix)
	c.Function(name)
	c.Attributes(4) // NOSPLIT
	c.Pragma("noescape")
	c.SignatureExpr("func(grad *byte)")
	c.Doc(fmt.Sprintf("%s handles %d input and %d output channels; the sums have rows of %d.", name, rows, vectors*s.lanes, width))
	args := reg.RAX
	c.Load(c.Param("grad"), args)
	x, dy, pairs, acc, n := reg.RBX, reg.RCX, reg.RDX, reg.RSI, reg.RDI
	xo, do := []reg.GPPhysical{reg.R8, reg.R9}, []reg.GPPhysical{reg.R10, reg.R11}
	c.MOVQ(operand.Mem{Base: args, Disp: gradLanes}, reg.R8)
	m := laneMasks(c, s, reg.R8, reg.R9, vectors, s.vec(14%len(ymm)), s.vec(15))
	c.MOVQ(operand.Mem{Base: args, Disp: gradX}, x)
	c.MOVQ(operand.Mem{Base: args, Disp: gradDY}, dy)
	c.MOVQ(operand.Mem{Base: args, Disp: gradPairs}, pairs)
	c.MOVQ(operand.Mem{Base: args, Disp: gradAcc}, acc)
	c.MOVQ(operand.Mem{Base: args, Disp: gradN}, n)
	sum := func(r, v int) reg.VecPhysical { return s.vec(r*vectors + v) }
	eachSum := func(f func(m operand.Mem, v reg.VecPhysical)) {
		for r := range rows {
			for v := range vectors {
				f(operand.Mem{Base: acc, Disp: 4 * (r*width + v*s.lanes)}, sum(r, v))
			}
		}
	}
	eachSum(func(m operand.Mem, v reg.VecPhysical) { c.VMOVUPS(m, v) })
	free := rows * vectors
	step := func(u int) {
		c.MOVLQSX(operand.Mem{Base: pairs, Disp: 8 * u}, xo[u])
		c.MOVLQSX(operand.Mem{Base: pairs, Disp: 8*u + 4}, do[u])
		var d []reg.VecPhysical
		for v := range vectors {
			d = append(d, s.vec(free+v))
			m.load(c, v, operand.Mem{Base: dy, Index: do[u], Scale: 4, Disp: 4 * v * s.lanes}, d[v])
		}
		for r := range rows {
			from := operand.Mem{Base: x, Index: xo[u], Scale: 4, Disp: 4 * r}
			if vectors == 1 {
				c.VFMADD231PS_BCST(from, d[0], sum(r, 0))
				continue
			}
			b := s.vec(free + vectors + r%4)
			c.VBROADCASTSS(from, b)
			for v := range vectors {
				c.VFMADD231PS(d[v], b, sum(r, v))
			}
		}
	}
	c.SUBQ(operand.Imm(2), n)
	c.JLT(operand.LabelRef("single"))
	c.Label("two")
	step(0)
	step(1)
	c.ADDQ(operand.Imm(16), pairs)
	c.SUBQ(operand.Imm(2), n)
	c.JGE(operand.LabelRef("two"))
	c.Label("single")
	c.ADDQ(operand.Imm(2), n)
	c.JE(operand.LabelRef("done"))
	step(0)
	c.Label("done")
	eachSum(func(m operand.Mem, v reg.VecPhysical) { c.VMOVUPS(v, m) })
	c.VZEROUPPER()
	c.RET()
}

// wholeGradTile generates an AVX2 tile whose lanes are all valid: without masks
// there are registers for twelve sums, enough to hide the latency of an FMA.
func wholeGradTile(c *build.Context, width, rows, vectors int) {
	s := avx2
	name := fmt.Sprintf("gradWhole%dx%d%s", rows, vectors, s.suffix)
	c.Function(name)
	c.Attributes(4) // NOSPLIT
	c.Pragma("noescape")
	c.SignatureExpr("func(grad *byte)")
	c.Doc(fmt.Sprintf("%s handles %d input and %d output channels, all valid; the sums have rows of %d.", name, rows, vectors*s.lanes, width))
	args, x, dy, pairs, acc, n, xo, do := reg.RAX, reg.RBX, reg.RCX, reg.RDX, reg.RSI, reg.RDI, reg.R8, reg.R9
	c.Load(c.Param("grad"), args)
	for _, f := range []struct {
		off int
		r   reg.GPPhysical
	}{{gradX, x}, {gradDY, dy}, {gradPairs, pairs}, {gradAcc, acc}, {gradN, n}} {
		c.MOVQ(operand.Mem{Base: args, Disp: f.off}, f.r)
	}
	eachSum := func(f func(m operand.Mem, v reg.VecPhysical)) {
		for r := range rows {
			for v := range vectors {
				f(operand.Mem{Base: acc, Disp: 4 * (r*width + v*s.lanes)}, s.vec(r*vectors+v))
			}
		}
	}
	eachSum(func(m operand.Mem, v reg.VecPhysical) { c.VMOVUPS(m, v) })
	free := rows * vectors
	b := free + vectors
	c.Label("pixels")
	c.MOVLQSX(operand.Mem{Base: pairs}, xo)
	c.MOVLQSX(operand.Mem{Base: pairs, Disp: 4}, do)
	for v := range vectors {
		c.VMOVUPS(operand.Mem{Base: dy, Index: do, Scale: 4, Disp: 4 * v * s.lanes}, s.vec(free+v))
	}
	for r := range rows {
		t := s.vec(b + r%(16-b))
		c.VBROADCASTSS(operand.Mem{Base: x, Index: xo, Scale: 4, Disp: 4 * r}, t)
		for v := range vectors {
			c.VFMADD231PS(s.vec(free+v), t, s.vec(r*vectors+v))
		}
	}
	c.ADDQ(operand.Imm(8), pairs)
	c.DECQ(n)
	c.JNE(operand.LabelRef("pixels"))
	eachSum(func(m operand.Mem, v reg.VecPhysical) { c.VMOVUPS(v, m) })
	c.VZEROUPPER()
	c.RET()
}

// depthGradTile generates the weight-gradient tile of a depthwise convolution.
func depthGradTile(c *build.Context, s isa, width, vectors int) {
	name := fmt.Sprintf("depthGrad%d%s", width, s.suffix)
	c.Function(name)
	c.Attributes(4) // NOSPLIT
	c.Pragma("noescape")
	c.SignatureExpr("func(depthGrad *byte)")
	c.Doc(fmt.Sprintf("%s handles %d channels; the sums have rows of %d.", name, vectors*s.lanes, width))
	args, x, zero, in, out, dy, acc, n := reg.RAX, reg.RBX, reg.RCX, reg.RDX, reg.RSI, reg.RDI, reg.R8, reg.R9
	d := reg.R10
	ptr := []reg.GPPhysical{reg.R11, reg.R12, reg.R13, reg.R14}
	c.Load(c.Param("depthGrad"), args)
	c.MOVQ(operand.Mem{Base: args, Disp: depthLanes}, reg.R8)
	m := laneMasks(c, s, reg.R8, reg.R9, vectors, s.vec(14), s.vec(15))
	for _, f := range []struct {
		off int
		r   reg.GPPhysical
	}{{depthX, x}, {depthZero, zero}, {depthIn, in}, {depthOut, out}, {depthDY, dy}, {depthAcc, acc}, {depthN, n}} {
		c.MOVQ(operand.Mem{Base: args, Disp: f.off}, f.r)
	}
	sum := func(t, v int) reg.VecPhysical { return s.vec(t*vectors + v) }
	for t := range depthTaps {
		for v := range vectors {
			c.VMOVUPS(operand.Mem{Base: acc, Disp: 4 * (t*width + v*s.lanes)}, sum(t, v))
		}
	}
	free := depthTaps * vectors
	c.Label("pixels")
	c.MOVLQSX(operand.Mem{Base: out}, d)
	for v := range vectors {
		m.load(c, v, operand.Mem{Base: dy, Index: d, Scale: 4, Disp: 4 * v * s.lanes}, s.vec(free+v))
	}
	for t := range depthTaps {
		p := ptr[t%len(ptr)]
		c.MOVLQSX(operand.Mem{Base: in, Disp: 4 * t}, p)
		c.TESTQ(p, p)
		c.LEAQ(operand.Mem{Base: x, Index: p, Scale: 4}, p)
		c.CMOVQLT(zero, p)
		for v := range vectors {
			from := operand.Mem{Base: p, Disp: 4 * v * s.lanes}
			if s.lanes == 16 {
				c.VFMADD231PS(from, s.vec(free+v), m.k[v], sum(t, v))
				continue
			}
			b := s.vec(free + vectors + t%3)
			m.load(c, v, from, b)
			c.VFMADD231PS(b, s.vec(free+v), sum(t, v))
		}
	}
	c.ADDQ(operand.Imm(4), out)
	c.ADDQ(operand.Imm(4*depthTaps), in)
	c.DECQ(n)
	c.JNE(operand.LabelRef("pixels"))
	for t := range depthTaps {
		for v := range vectors {
			c.VMOVUPS(sum(t, v), operand.Mem{Base: acc, Disp: 4 * (t*width + v*s.lanes)})
		}
	}
	c.VZEROUPPER()
	c.RET()
}
