package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
)

func memory(c *build.Context) {
	c.Function("prefetchLines")
	c.Attributes(4) // NOSPLIT
	c.Pragma("noescape")
	c.SignatureExpr("func(p *float32, lines int)")
	c.Doc("prefetchLines asks for lines cache lines from p on.")
	p, n := c.Load(c.Param("p"), c.GP64()), c.Load(c.Param("lines"), c.GP64())
	c.TESTQ(n, n)
	c.JLE(operand.LabelRef("done"))
	c.Label("line")
	c.PREFETCHT0(operand.Mem{Base: p})
	c.ADDQ(operand.Imm(64), p)
	c.DECQ(n)
	c.JNE(operand.LabelRef("line"))
	c.Label("done")
	c.RET()
}
