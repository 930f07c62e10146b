package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func norms(c *build.Context) {
	for _, s := range []isa{avx512, avx2} {
		columnSums(c, s)
		columnMoments(c, s)
		for _, m := range []normMask{"", "Y", "X"} {
			normGradSums(c, s, m)
			normGradApply(c, s, m)
		}
		normApply(c, s, false)
		normApply(c, s, true)
	}
}

// columns runs over the columns of a [rows,c] matrix in blocks of vectors and,
// inside a block, over the rows. start and finish see the block as u vectors
// whose element i lies at(base,u); row sees the same for the present row.
func (v *vectors) columns(vecs int, start, row, finish func(u int, at func(base reg.Register) operand.Mem)) {
	rows, c := v.integer("rows"), v.integer("c")
	j, left, stride, off := v.GP64(), v.GP64(), v.GP64(), v.GP64()
	v.XORQ(j, j)
	v.MOVQ(c, stride)
	v.SHLQ(operand.Imm(2), stride)
	column := func(u int) func(reg.Register) operand.Mem {
		return func(base reg.Register) operand.Mem {
			return operand.Mem{Base: base, Index: j, Scale: 4, Disp: 4 * v.s.lanes * u}
		}
	}
	element := func(u int) func(reg.Register) operand.Mem {
		return func(base reg.Register) operand.Mem {
			return operand.Mem{Base: base, Index: off, Scale: 1, Disp: 4 * v.s.lanes * u}
		}
	}
	block := func(name string, n int) {
		for u := range n {
			start(u, column(u))
		}
		v.MOVQ(j, off)
		v.SHLQ(operand.Imm(2), off)
		v.MOVQ(rows, left)
		v.Label(name + "row")
		for u := range n {
			row(u, element(u))
		}
		v.ADDQ(stride, off)
		v.DECQ(left)
		v.JNE(operand.LabelRef(name + "row"))
		for u := range n {
			finish(u, column(u))
		}
	}
	v.TESTQ(rows, rows)
	v.JE(operand.LabelRef("done"))
	v.Label("wide")
	v.MOVQ(c, left)
	v.SUBQ(j, left)
	v.CMPQ(left, operand.I32(vecs*v.s.lanes))
	v.JLT(operand.LabelRef("narrow"))
	block("wide", vecs)
	v.ADDQ(operand.I32(vecs*v.s.lanes), j)
	v.JMP(operand.LabelRef("wide"))
	v.Label("narrow")
	v.MOVQ(c, left)
	v.SUBQ(j, left)
	v.JLE(operand.LabelRef("done"))
	lanes := v.GP64()
	v.MOVQ(operand.U32(uint32(v.s.lanes)), lanes)
	v.CMPQ(left, lanes)
	v.CMOVQGT(lanes, left)
	v.setMask(left)
	block("narrow", 1)
	v.noMask()
	v.ADDQ(operand.I32(v.s.lanes), j)
	v.JMP(operand.LabelRef("narrow"))
	v.Label("done")
}

func columnSums(c *build.Context, s isa) {
	v := begin(c, s, "columnSums", "func(sum, x []float32, rows, c int)", "computes sum[j] = Σ_i x[i,j].")
	sum, x := v.base("sum"), v.base("x")
	acc := v.regs(4)
	type addr = func(reg.Register) operand.Mem
	v.columns(4,
		func(u int, _ addr) { v.clear(acc[u]) },
		func(u int, at addr) { v.VADDPS(v.load(at(x)), acc[u], acc[u]) },
		func(u int, at addr) { v.store(acc[u], at(sum)) })
	v.end()
}

func (v *vectors) regs(n int) []reg.Register {
	r := make([]reg.Register, n)
	for i := range r {
		r[i] = v.reg()
	}
	return r
}

func columnMoments(c *build.Context, s isa) {
	v := begin(c, s, "columnMoments", "func(s1, s2, x, mean []float32, rows, c int)",
		"computes s1[j] = Σ_i (x[i,j]−mean[j]) and s2[j] the same squared.")
	s1, s2, x, mean := v.base("s1"), v.base("s2"), v.base("x"), v.base("mean")
	n := 4
	a1, a2, m := v.regs(n), v.regs(n), v.regs(n)
	type addr = func(reg.Register) operand.Mem
	v.columns(n,
		func(u int, at addr) {
			v.clear(a1[u])
			v.clear(a2[u])
			v.move(v.load(at(mean)), m[u])
		},
		func(u int, at addr) {
			d := v.load(at(x))
			v.VSUBPS(m[u], d, d)
			v.VADDPS(d, a1[u], a1[u])
			v.VFMADD231PS(d, d, a2[u])
		},
		func(u int, at addr) {
			v.store(a1[u], at(s1))
			v.store(a2[u], at(s2))
		})
	v.end()
}

func (v *vectors) move(from, to reg.Register) { v.VMOVAPS(from, to) }

// normMask says what tells a gradient where to pass the activation: nothing
// (it passes everywhere), the output y, or x·scale + shift.
type normMask string

// between returns g where q (above) lo and q (below) hi, two predicates, hold and 0
// elsewhere.
func (v *vectors) between(above, below uint8, q, lo, hi, g reg.Register) reg.Register {
	out := v.reg()
	if v.s.lanes == 16 {
		k, inside := v.K(), v.K()
		v.VCMPPS(operand.U8(above), lo, q, k)
		v.VCMPPS(operand.U8(below), hi, q, k, inside)
		v.VMOVAPS_Z(g, inside, out)
		return out
	}
	k := v.reg()
	v.VCMPPS(operand.U8(above), lo, q, out)
	v.VCMPPS(operand.U8(below), hi, q, k)
	v.VANDPS(k, out, out)
	v.VANDPS(g, out, out)
	return out
}

func normGradSums(c *build.Context, s isa, m normMask) {
	v := begin(c, s, "normGradSums"+string(m), "func(s1, s2, dy, x, mean, y, scale, shift []float32, rows, c int, lo, hi float32)",
		"computes s1[j] = Σ_i dy'[i,j] and s2[j] = Σ_i dy'[i,j]·(x[i,j]−mean[j]).")
	s1, s2, dy, x, mean := v.base("s1"), v.base("s2"), v.base("dy"), v.base("x"), v.base("mean")
	var y, scale, shift reg.GPVirtual
	var lo, hi reg.Register
	if m != "" {
		lo, hi = v.scalar("lo"), v.scalar("hi")
	}
	switch m {
	case "Y":
		y = v.base("y")
	case "X":
		scale, shift = v.base("scale"), v.base("shift")
	}
	n := 4
	if s.lanes == 8 {
		n = 2
	}
	a1, a2, mu, sc, sh := v.regs(n), v.regs(n), v.regs(n), v.regs(n), v.regs(n)
	type addr = func(reg.Register) operand.Mem
	v.columns(n,
		func(u int, at addr) {
			v.clear(a1[u])
			v.clear(a2[u])
			v.move(v.load(at(mean)), mu[u])
			if m == "X" {
				v.move(v.load(at(scale)), sc[u])
				v.move(v.load(at(shift)), sh[u])
			}
		},
		func(u int, at addr) {
			g, d := v.load(at(dy)), v.load(at(x))
			switch m {
			case "Y":
				g = v.between(greater, less, v.load(at(y)), lo, hi, g)
			case "X":
				q := v.reg()
				v.move(sh[u], q)
				v.VFMADD231PS(sc[u], d, q)
				g = v.between(greater, less, q, lo, hi, g)
			}
			v.VSUBPS(mu[u], d, d)
			v.VADDPS(g, a1[u], a1[u])
			v.VFMADD231PS(d, g, a2[u])
		},
		func(u int, at addr) {
			v.store(a1[u], at(s1))
			v.store(a2[u], at(s2))
		})
	v.end()
}

// eachRow runs body over every vector of a [rows,c] matrix, row by row. The
// pointers in step are moved from row to row; the others stay.
func (v *vectors) eachRow(unroll int, step []reg.GPVirtual, body func(label string, at func(base reg.Register) operand.Mem)) {
	rows, c := v.integer("rows"), v.integer("c")
	stride := v.GP64()
	v.MOVQ(c, stride)
	v.SHLQ(operand.Imm(2), stride)
	v.Label("row")
	v.TESTQ(rows, rows)
	v.JLE(operand.LabelRef("norows"))
	count := 0
	v.loop("", c, unroll, func(_ int, at func(reg.Register) operand.Mem) {
		count++
		body(fmt.Sprint("v", count), at)
	})
	for _, p := range step {
		v.ADDQ(stride, p)
	}
	v.DECQ(rows)
	v.JMP(operand.LabelRef("row"))
	v.Label("norows")
}

func normApply(c *build.Context, s isa, residual bool) {
	name, sig := "normApply", "func(y, x, scale, shift []float32, rows, c int, lo, hi float32)"
	if residual {
		name, sig = "normApplyRes", "func(y, x, res, scale, shift []float32, rows, c int, lo, hi float32)"
	}
	v := begin(c, s, name, sig, "computes y = min(max(x·scale + shift + res, lo), hi).")
	y, x, scale, shift, lo := v.base("y"), v.base("x"), v.base("scale"), v.base("shift"), v.scalar("lo")
	hi := v.scalar("hi")
	step := []reg.GPVirtual{y, x}
	var res reg.GPVirtual
	if residual {
		res = v.base("res")
		step = append(step, res)
	}
	v.eachRow(4, step, func(_ string, at func(reg.Register) operand.Mem) {
		a, b := v.load(at(x)), v.load(at(shift))
		v.VFMADD231PS(v.load(at(scale)), a, b)
		if residual {
			v.VADDPS(v.load(at(res)), b, b)
		}
		v.VMAXPS(b, lo, b)
		v.VMINPS(b, hi, b)
		v.store(b, at(y))
	})
	v.end()
}

func normGradApply(c *build.Context, s isa, m normMask) {
	v := begin(c, s, "normGradApply"+string(m), "func(dx, dres, dy, x, y, scale, shift, a, b, d []float32, rows, c, addDx, addRes int, lo, hi float32)",
		"computes dx = a·dy' + b·x + d and dres = dy'; dres may be nil.")
	dx, dres, dy, x := v.base("dx"), v.base("dres"), v.base("dy"), v.base("x")
	a, b, d := v.base("a"), v.base("b"), v.base("d")
	step := []reg.GPVirtual{dx, dres, dy, x}
	var y, scale, shift reg.GPVirtual
	var lo, hi reg.Register
	if m != "" {
		lo, hi = v.scalar("lo"), v.scalar("hi")
	}
	switch m {
	case "Y":
		y = v.base("y")
		step = append(step, y)
	case "X":
		scale, shift = v.base("scale"), v.base("shift")
	}
	addDx, _ := v.Param("addDx").Resolve()
	addRes, _ := v.Param("addRes").Resolve()
	hasRes, _ := v.Param("dres").Base().Resolve()
	v.eachRow(2, step, func(label string, at func(reg.Register) operand.Mem) {
		g, o, in := v.load(at(dy)), v.load(at(d)), v.load(at(x))
		skip := func(cond operand.Mem, name string, f func()) {
			v.CMPQ(cond, operand.Imm(0))
			v.JE(operand.LabelRef(label + name))
			f()
			v.Label(label + name)
		}
		switch m {
		case "Y":
			g = v.between(greater, less, v.load(at(y)), lo, hi, g)
		case "X":
			q := v.load(at(shift))
			v.VFMADD231PS(v.load(at(scale)), in, q)
			g = v.between(greater, less, q, lo, hi, g)
		}
		v.VFMADD231PS(v.load(at(b)), in, o)
		v.VFMADD231PS(v.load(at(a)), g, o)
		skip(addDx.Addr, "dx", func() { v.VADDPS(v.load(at(dx)), o, o) })
		v.store(o, at(dx))
		skip(hasRes.Addr, "res", func() {
			skip(addRes.Addr, "add", func() { v.VADDPS(v.load(at(dres)), g, g) })
			v.store(g, at(dres))
		})
	})
	v.end()
}
