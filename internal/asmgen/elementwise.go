package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func elementwise(c *build.Context) {
	for _, s := range []isa{avx512, avx2} {
		binary(c, s)
		unary(c, s)
		clipGrad(c, s)
		reductions(c, s)
	}
}

func binary(c *build.Context, s isa) {
	type op func(v *vectors, a, b reg.Register) reg.Register
	arith := func(f func(v *vectors) func(...operand.Op)) op {
		return func(v *vectors, a, b reg.Register) reg.Register {
			f(v)(b, a, a)
			return a
		}
	}
	extreme := func(f func(v *vectors) func(...operand.Op)) op {
		return func(v *vectors, a, b reg.Register) reg.Register {
			r := v.reg()
			f(v)(b, a, r)
			return v.choose(unordered, a, a, a, r)
		}
	}
	for _, e := range []struct {
		name, doc string
		f         op
	}{
		{"add", "computes dst[i] = a[i] + b[i].", arith(func(v *vectors) func(...operand.Op) { return v.VADDPS })},
		{"sub", "computes dst[i] = a[i] - b[i].", arith(func(v *vectors) func(...operand.Op) { return v.VSUBPS })},
		{"mul", "computes dst[i] = a[i] · b[i].", arith(func(v *vectors) func(...operand.Op) { return v.VMULPS })},
		{"div", "computes dst[i] = a[i] / b[i].", arith(func(v *vectors) func(...operand.Op) { return v.VDIVPS })},
		{"max", "computes dst[i] = max(a[i], b[i]).", extreme(func(v *vectors) func(...operand.Op) { return v.VMAXPS })},
		{"min", "computes dst[i] = min(a[i], b[i]).", extreme(func(v *vectors) func(...operand.Op) { return v.VMINPS })},
		{"addRelu", "computes dst[i] = max(a[i]+b[i], 0).", func(v *vectors, a, b reg.Register) reg.Register {
			z := v.zero()
			v.VADDPS(b, a, a)
			v.VMAXPS(a, z, a)
			return a
		}},
		{"reluGrad", "computes dst[i] = a[i] where b[i] > 0, else 0.", func(v *vectors, a, b reg.Register) reg.Register {
			return v.keep(greater, b, v.zero(), a)
		}},
	} {
		v := begin(c, s, e.name, "func(dst, a, b []float32)", e.doc)
		dst, a, b, n := v.base("dst"), v.base("a"), v.base("b"), v.length("dst")
		v.loop("", n, 4, func(_ int, at func(reg.Register) operand.Mem) {
			v.store(e.f(v, v.load(at(a)), v.load(at(b))), at(dst))
		})
		v.end()
	}
}

func clipGrad(c *build.Context, s isa) {
	v := begin(c, s, "clipGrad", "func(dst, dy, x []float32, lo, hi float32)", "computes dst[i] = dy[i] where lo ≤ x[i] ≤ hi, else 0.")
	dst, dy, x, n := v.base("dst"), v.base("dy"), v.base("x"), v.length("dst")
	lo, hi := v.scalar("lo"), v.scalar("hi")
	v.loop("", n, 4, func(_ int, at func(reg.Register) operand.Mem) {
		v.store(v.between(atLeast, atMost, v.load(at(x)), lo, hi, v.load(at(dy))), at(dst))
	})
	v.end()
}

func unary(c *build.Context, s isa) {
	type op func(v *vectors, d, a reg.Register, k []reg.Register) reg.Register
	for _, e := range []struct {
		name, signature, doc string
		scalars              []string
		old                  bool
		f                    op
	}{
		{"relu", "func(dst, a []float32)", "computes dst[i] = max(a[i], 0).", nil, false,
			func(v *vectors, _, a reg.Register, _ []reg.Register) reg.Register {
				v.VMAXPS(a, v.zero(), a)
				return a
			}},
		{"addScalar", "func(dst, a []float32, s float32)", "computes dst[i] = a[i] + s.", []string{"s"}, false,
			func(v *vectors, _, a reg.Register, k []reg.Register) reg.Register {
				v.VADDPS(k[0], a, a)
				return a
			}},
		{"scale", "func(dst, a []float32, s float32)", "computes dst[i] = a[i] · s.", []string{"s"}, false,
			func(v *vectors, _, a reg.Register, k []reg.Register) reg.Register {
				v.VMULPS(k[0], a, a)
				return a
			}},
		{"axpy", "func(dst, a []float32, s float32)", "computes dst[i] += s · a[i].", []string{"s"}, true,
			func(v *vectors, d, a reg.Register, k []reg.Register) reg.Register {
				v.VFMADD231PS(k[0], a, d)
				return d
			}},
		{"clip", "func(dst, a []float32, lo, hi float32)", "computes dst[i] = min(max(a[i], lo), hi).", []string{"lo", "hi"}, false,
			func(v *vectors, _, a reg.Register, k []reg.Register) reg.Register {
				v.VMAXPS(a, k[0], a)
				v.VMINPS(a, k[1], a)
				return a
			}},
	} {
		v := begin(c, s, e.name, e.signature, e.doc)
		dst, a, n := v.base("dst"), v.base("a"), v.length("dst")
		var k []reg.Register
		for _, name := range e.scalars {
			k = append(k, v.scalar(name))
		}
		v.loop("", n, 4, func(_ int, at func(reg.Register) operand.Mem) {
			var d reg.Register
			if e.old {
				d = v.load(at(dst))
			}
			v.store(e.f(v, d, v.load(at(a)), k), at(dst))
		})
		v.end()
	}
}

func reductions(c *build.Context, s isa) {
	for _, dot := range []bool{false, true} {
		name, sig, doc := "sum", "func(a []float32) float32", "returns Σ a[i]."
		if dot {
			name, sig, doc = "dot", "func(a, b []float32) float32", "returns Σ a[i]·b[i]."
		}
		v := begin(c, s, name, sig, doc)
		a, n := v.base("a"), v.length("a")
		var b reg.GPVirtual
		if dot {
			b = v.base("b")
		}
		const unroll = 4
		var acc [unroll]reg.Register
		for u := range acc {
			acc[u] = v.zero()
		}
		v.loop("", n, unroll, func(u int, at func(reg.Register) operand.Mem) {
			x := v.load(at(a))
			if dot {
				v.VFMADD231PS(v.load(at(b)), x, acc[u])
			} else {
				v.VADDPS(x, acc[u], acc[u])
			}
		})
		v.VADDPS(acc[2], acc[0], acc[0])
		v.VADDPS(acc[3], acc[1], acc[1])
		v.VADDPS(acc[1], acc[0], acc[0])
		v.Store(v.total(acc[0]), v.ReturnIndex(0))
		v.end()
	}
}
