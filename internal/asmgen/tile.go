package main

import (
	"fmt"
	"math/bits"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of tileArgs.
const (
	tileX     = 0
	tileZero  = 8
	tileIn    = 16
	tileOut   = 24
	tileW     = 32
	tileY     = 40
	tileRes   = 48
	tileBias  = 56
	tilePitch = 64
	tileTaps  = 72
	tileCin   = 80
	tileN     = 88
	tileLanes = 96
	tileLo    = 112
	tileHi    = 116
	tileRows  = 120
)

func tiles(c *build.Context) {
	for _, t := range []tile{
		{isa: avx512, width: 32, pixels: 8, vectors: 2},
		{isa: avx512, width: 16, pixels: 12, vectors: 1},
		{isa: avx2, width: 32, pixels: 6, vectors: 2},
		{isa: avx2, width: 16, pixels: 6, vectors: 2},
		{isa: avx512, width: 32, pixels: 8, vectors: 2, depth: true},
		{isa: avx512, width: 16, pixels: 12, vectors: 1, depth: true},
		{isa: avx2, width: 32, pixels: 4, vectors: 2, depth: true},
		{isa: avx2, width: 16, pixels: 4, vectors: 2, depth: true},
	} {
		t.generate(c)
	}
}

// tile is one variant of the convolution tile: pixels output pixels times
// vectors vectors of output channels in registers, over weights packed with
// width channels per row.
type tile struct {
	isa
	width, pixels, vectors int
	depth                  bool

	c     *build.Context
	acc   []reg.VecPhysical
	w     []reg.VecPhysical
	spare []reg.VecPhysical
	ptr   []reg.GPPhysical
	wp, k reg.GPPhysical
	x     reg.GPPhysical
	local map[string]operand.Mem
}

func (t tile) generate(c *build.Context) {
	t.c = c
	name := "tile"
	if t.depth {
		name = "depthTile"
	}
	name = fmt.Sprintf("%s%d%s", name, t.width, t.suffix)
	c.Function(name)
	c.Attributes(4) // NOSPLIT
	c.Pragma("noescape")
	c.SignatureExpr("func(tile *byte)")
	c.Doc(fmt.Sprintf("%s handles %d pixels of %d channels at a time; the weights have rows of %d.", name, t.pixels, t.vectors*t.lanes, t.width))
	n := t.pixels * t.vectors
	for i := range n {
		t.acc = append(t.acc, t.vec(i))
	}
	for i := range t.vectors {
		t.w = append(t.w, t.vec(n+i))
	}
	last := 16
	if t.lanes == 16 {
		last = 24
	}
	for i := n + t.vectors; i < last; i++ {
		t.spare = append(t.spare, t.vec(i))
	}
	t.ptr = []reg.GPPhysical{reg.RAX, reg.RBX, reg.RDX, reg.RSI, reg.RDI, reg.R8, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13, reg.R14}[:t.pixels]
	t.wp, t.k, t.x = reg.R15, reg.RCX, reg.RBP
	t.local = map[string]operand.Mem{}
	for _, l := range []string{"in", "out", "n", "inTap", "taps", "zero", "pitch", "cin", "cin4", "args", "row", "w"} {
		t.local[l] = c.AllocLocal(8)
	}
	t.body()
}

func (t *tile) field(off int) operand.Mem { return operand.Mem{Base: t.wp, Disp: off} }

func (t *tile) body() {
	c := t.c
	c.Load(c.Param("tile"), t.wp)
	c.MOVQ(t.wp, t.local["args"])
	for _, f := range []struct {
		name string
		off  int
	}{{"in", tileIn}, {"out", tileOut}, {"n", tileN}, {"zero", tileZero}, {"pitch", tilePitch}, {"cin", tileCin}, {"w", tileW}} {
		c.MOVQ(t.field(f.off), t.k)
		switch f.name {
		case "pitch":
			c.SHLQ(operand.Imm(2), t.k)
		case "cin":
			c.MOVQ(t.k, t.ptr[0])
			c.ANDQ(operand.I8(-4), t.ptr[0])
			c.MOVQ(t.ptr[0], t.local["cin4"])
		}
		c.MOVQ(t.k, t.local[f.name])
	}
	var m masks
	if t.lanes == 16 {
		c.MOVQ(t.field(tileLanes), t.ptr[0])
		m = laneMasks(c, t.isa, t.ptr[0], t.ptr[1], t.vectors)
		c.VBROADCASTSS(t.field(tileLo), t.vec(30))
		c.VBROADCASTSS(t.field(tileHi), t.vec(31))
	}

	c.Label("pixels")
	c.MOVQ(t.local["args"], t.wp)
	t.start(m)
	c.MOVQ(t.field(tileTaps), t.k)
	c.TESTQ(t.k, t.k)
	c.JE(operand.LabelRef("write"))
	c.MOVQ(t.k, t.local["taps"])
	c.MOVQ(t.local["in"], t.k)
	c.MOVQ(t.k, t.local["inTap"])
	c.MOVQ(t.field(tileRows), t.k)
	c.MOVQ(t.k, t.local["row"])
	c.MOVQ(t.field(tileX), t.x)
	if t.depth && t.lanes == 8 {
		m = t.vectorMasks()
	}

	c.Label("taps")
	c.MOVQ(t.local["inTap"], t.k)
	for i, p := range t.ptr {
		c.MOVLQSX(operand.Mem{Base: t.k, Disp: 4 * i}, p)
		c.TESTQ(p, p)
		c.LEAQ(operand.Mem{Base: t.x, Index: p, Scale: 4}, p)
		c.CMOVQLT(t.local["zero"], p)
	}
	c.MOVQ(t.local["pitch"], t.k)
	c.ADDQ(t.k, t.local["inTap"])
	c.MOVQ(t.local["row"], t.k)
	c.ADDQ(operand.Imm(4), t.local["row"])
	c.MOVLQSX(operand.Mem{Base: t.k}, t.wp)
	c.SHLQ(operand.U8(bits.TrailingZeros(uint(4*t.width))), t.wp)
	c.ADDQ(t.local["w"], t.wp)
	if t.depth {
		t.depthStep(m)
	} else {
		t.channels()
	}
	c.DECQ(t.local["taps"])
	c.JNE(operand.LabelRef("taps"))

	c.Label("write")
	t.write(m)
	c.ADDQ(operand.I32(4*t.pixels), t.local["in"])
	c.ADDQ(operand.I32(4*t.pixels), t.local["out"])
	c.SUBQ(operand.I32(t.pixels), t.local["n"])
	c.JGT(operand.LabelRef("pixels"))
	c.VZEROUPPER()
	c.RET()
}

// vectorMasks loads the AVX2 masks into the last two vector registers.
func (t *tile) vectorMasks() masks {
	t.c.MOVQ(t.field(tileLanes), t.ptr[0])
	return laneMasks(t.c, t.isa, t.ptr[0], t.ptr[1], t.vectors, t.vec(14), t.vec(15))
}

// start sets the accumulators to the bias.
func (t *tile) start(m masks) {
	c := t.c
	if t.lanes == 8 {
		m = t.vectorMasks()
	}
	// The lines that the tile will write.
	c.MOVQ(t.local["out"], t.k)
	c.MOVQ(t.field(tileY), t.x)
	for i := range t.pixels {
		c.MOVLQSX(operand.Mem{Base: t.k, Disp: 4 * i}, t.ptr[0])
		c.PREFETCHT0(operand.Mem{Base: t.x, Index: t.ptr[0], Scale: 4})
		if t.vectors*t.lanes > 16 {
			c.PREFETCHT0(operand.Mem{Base: t.x, Index: t.ptr[0], Scale: 4, Disp: 64})
		}
	}
	for v := range t.vectors {
		t.zero(c, t.acc[v])
	}
	c.MOVQ(t.field(tileBias), t.ptr[0])
	c.TESTQ(t.ptr[0], t.ptr[0])
	c.JE(operand.LabelRef("nobias"))
	for v := range t.vectors {
		m.load(c, v, operand.Mem{Base: t.ptr[0], Disp: 4 * t.lanes * v}, t.acc[v])
	}
	c.Label("nobias")
	for i := t.vectors; i < len(t.acc); i++ {
		c.VMOVAPS(t.acc[i%t.vectors], t.acc[i])
	}
}

// channels adds the products of one tap.
func (t *tile) channels() {
	c := t.c
	const unroll = 4
	c.XORL(t.k.As32(), t.k.As32())
	c.CMPQ(t.local["cin4"], operand.Imm(0))
	c.JE(operand.LabelRef("single"))
	c.Label("four")
	for u := range unroll {
		t.step(u)
	}
	c.ADDQ(operand.I32(unroll*4*t.width), t.wp)
	c.ADDQ(operand.Imm(unroll), t.k)
	c.CMPQ(t.k, t.local["cin4"])
	c.JLT(operand.LabelRef("four"))
	c.Label("single")
	c.CMPQ(t.k, t.local["cin"])
	c.JGE(operand.LabelRef("tapdone"))
	t.step(0)
	c.ADDQ(operand.I32(4*t.width), t.wp)
	c.INCQ(t.k)
	c.JMP(operand.LabelRef("single"))
	c.Label("tapdone")
}

// step multiplies input channel k+u of every pixel.
func (t *tile) step(u int) {
	c := t.c
	for v := range t.vectors {
		c.VMOVUPS(operand.Mem{Base: t.wp, Disp: 4*t.width*u + 4*t.lanes*v}, t.w[v])
	}
	for i, p := range t.ptr {
		x := operand.Mem{Base: p, Index: t.k, Scale: 4, Disp: 4 * u}
		if t.vectors == 1 {
			c.VFMADD231PS_BCST(x, t.w[0], t.acc[i])
			continue
		}
		b := t.spare[i%len(t.spare)]
		c.VBROADCASTSS(x, b)
		for v := range t.vectors {
			c.VFMADD231PS(t.w[v], b, t.acc[i*t.vectors+v])
		}
	}
}

// depthStep adds the products of one tap of a depthwise convolution.
func (t *tile) depthStep(m masks) {
	c := t.c
	for v := range t.vectors {
		c.VMOVUPS(operand.Mem{Base: t.wp, Disp: 4 * t.lanes * v}, t.w[v])
	}
	for i, p := range t.ptr {
		for v := range t.vectors {
			x := operand.Mem{Base: p, Disp: 4 * t.lanes * v}
			if t.lanes == 16 {
				c.VFMADD231PS(x, t.w[v], m.k[v], t.acc[i*t.vectors+v])
				continue
			}
			b := t.spare[v]
			m.load(c, v, x, b)
			c.VFMADD231PS(t.w[v], b, t.acc[i*t.vectors+v])
		}
	}
}

// write adds the residual, clips and stores. Masked stores of AVX2 take many
// times as long as plain ones, so a tile whose lanes are all valid has a way of
// its own there.
func (t *tile) write(m masks) {
	c := t.c
	y, res := t.ptr[0], t.ptr[1]
	c.MOVQ(t.local["args"], t.wp)
	if t.lanes == 8 {
		m = t.vectorMasks()
	}
	c.MOVQ(t.field(tileY), y)
	c.MOVQ(t.field(tileRes), res)
	c.MOVQ(t.local["out"], t.k)
	if t.lanes == 16 {
		t.writePixels("", m, m.store)
		return
	}
	c.CMPQ(t.field(tileLanes), operand.Imm(uint64(t.vectors*t.lanes)))
	c.JLT(operand.LabelRef("partial"))
	t.writePixels("full", m, func(c *build.Context, v int, from reg.VecPhysical, to operand.Mem) { c.VMOVUPS(from, to) })
	c.JMP(operand.LabelRef("written"))
	c.Label("partial")
	t.writePixels("", m, m.store)
	c.Label("written")
}

func (t *tile) writePixels(prefix string, m masks, store func(c *build.Context, v int, from reg.VecPhysical, to operand.Mem)) {
	c := t.c
	y, res, off := t.ptr[0], t.ptr[1], t.ptr[2]
	for i := range t.pixels {
		skip, plain := fmt.Sprintf("%sskip%d", prefix, i), fmt.Sprintf("%splain%d", prefix, i)
		c.MOVLQSX(operand.Mem{Base: t.k, Disp: 4 * i}, off)
		c.TESTQ(off, off)
		c.JLT(operand.LabelRef(skip))
		c.TESTQ(res, res)
		c.JE(operand.LabelRef(plain))
		acc := t.acc[i*t.vectors:][:t.vectors]
		for v, a := range acc {
			from := operand.Mem{Base: res, Index: off, Scale: 4, Disp: 4 * t.lanes * v}
			if t.lanes == 16 {
				c.VADDPS(from, a, m.k[v], a)
			} else {
				m.load(c, v, from, t.w[0])
				c.VADDPS(t.w[0], a, a)
			}
		}
		c.Label(plain)
		for v, a := range acc {
			if t.lanes == 16 {
				c.VMAXPS(a, t.vec(30), a)
				c.VMINPS(a, t.vec(31), a)
			} else {
				c.VBROADCASTSS(t.field(tileLo), t.w[0])
				c.VMAXPS(a, t.w[0], a)
				c.VBROADCASTSS(t.field(tileHi), t.w[0])
				c.VMINPS(a, t.w[0], a)
			}
			store(c, v, a, operand.Mem{Base: y, Index: off, Scale: 4, Disp: 4 * t.lanes * v})
		}
		c.Label(skip)
	}
}
