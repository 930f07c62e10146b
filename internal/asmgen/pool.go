package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func pools(c *build.Context) {
	for _, s := range []isa{avx512, avx2} {
		maxPoolRow(c, s)
	}
}

func maxPoolRow(c *build.Context, s isa) {
	v := begin(c, s, "maxPoolRow", "func(y []float32, arg []int32, x []float32, taps, pixels []int32, n, c, step, pixelStep int)",
		"computes y[p,j] = max_t x[p·step+taps[t]+j] and arg[p,j] = pixels[t] + p·pixelStep of the first maximum; arg may be nil.")
	y, arg, x := v.base("y"), v.base("arg"), v.base("x")
	taps, pixels, count := v.base("taps"), v.base("pixels"), v.length("taps")
	n, channels := v.integer("n"), v.integer("c")
	first, step := v.reg(), v.reg()
	v.clear(first)
	pixelStep, _ := v.Param("pixelStep").Resolve()
	v.VPBROADCASTD(pixelStep.Addr, step)
	stepX, _ := v.Param("step").Resolve()
	hasArg, _ := v.Param("arg").Base().Resolve()
	t, p := v.GP64(), v.GP64()
	v.Label("pixel")
	v.TESTQ(n, n)
	v.JLE(operand.LabelRef("nopixels"))
	bodies := 0
	v.loop("", channels, 1, func(_ int, at func(reg.Register) operand.Mem) {
		bodies++
		label := func(s string) string { return fmt.Sprint(s, bodies) }
		best, place := v.reg(), v.reg()
		tap := func() (x0, pixel reg.Register) {
			v.MOVLQSX(operand.Mem{Base: taps, Index: t, Scale: 4}, p)
			v.LEAQ(operand.Mem{Base: x, Index: p, Scale: 4}, p)
			pixel = v.reg()
			v.VPBROADCASTD(operand.Mem{Base: pixels, Index: t, Scale: 4}, pixel)
			v.VPADDD(first, pixel, pixel)
			return v.load(at(p)), pixel
		}
		v.XORQ(t, t)
		value, pixel := tap()
		v.move(value, best)
		v.move(pixel, place)
		v.Label(label("tap"))
		v.INCQ(t)
		v.CMPQ(t, count)
		v.JGE(operand.LabelRef(label("last")))
		value, pixel = tap()
		v.larger(value, pixel, best, place)
		v.JMP(operand.LabelRef(label("tap")))
		v.Label(label("last"))
		v.store(best, at(y))
		v.CMPQ(hasArg.Addr, operand.Imm(0))
		v.JE(operand.LabelRef(label("noarg")))
		v.store(place, at(arg))
		v.Label(label("noarg"))
	})
	v.LEAQ(operand.Mem{Base: y, Index: channels, Scale: 4}, y)
	v.LEAQ(operand.Mem{Base: arg, Index: channels, Scale: 4}, arg)
	v.MOVQ(stepX.Addr, p)
	v.LEAQ(operand.Mem{Base: x, Index: p, Scale: 4}, x)
	v.VPADDD(step, first, first)
	v.DECQ(n)
	v.JMP(operand.LabelRef("pixel"))
	v.Label("nopixels")
	v.end()
}

// larger replaces best and place by value and pixel where value is larger, or NaN
// while best is none.
func (v *vectors) larger(value, pixel, best, place reg.Register) {
	if v.s.lanes == 16 {
		k, ordered := v.K(), v.K()
		v.VCMPPS(operand.U8(notLessEqual), best, value, k)
		v.VCMPPS(operand.U8(isOrdered), best, best, k, ordered)
		v.VMOVAPS(value, ordered, best)
		v.VMOVAPS(pixel, ordered, place)
		return
	}
	k, ordered := v.reg(), v.reg()
	v.VCMPPS(operand.U8(notLessEqual), best, value, k)
	v.VCMPPS(operand.U8(isOrdered), best, best, ordered)
	v.VANDPS(ordered, k, k)
	v.VBLENDVPS(k, value, best, best)
	v.VBLENDVPS(k, pixel, place, place)
}
