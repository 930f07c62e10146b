package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func optimizers(c *build.Context) {
	for _, s := range []isa{avx512, avx2} {
		sgd(c, s, false)
		sgd(c, s, true)
		bip(c, s)
		mulMask(c, s)
		addAbs(c, s)
	}
}

func sgd(c *build.Context, s isa, masked bool) {
	name, sig := "sgdDense", "func(theta, mom, grad []float32, lr, momentum, weightDecay float32)"
	if masked {
		name, sig = "sgdMasked", "func(theta, mom, grad, mask []float32, lr, momentum, weightDecay float32)"
	}
	v := begin(c, s, name, sig, "makes one step of stochastic gradient descent.")
	theta, mom, grad, n := v.base("theta"), v.base("mom"), v.base("grad"), v.length("theta")
	var mask reg.GPVirtual
	if masked {
		mask = v.base("mask")
	}
	lr, momentum, decay, zero := v.scalar("lr"), v.scalar("momentum"), v.scalar("weightDecay"), v.zero()
	v.loop("", n, 2, func(_ int, at func(reg.Register) operand.Mem) {
		g, t, m := v.load(at(grad)), v.load(at(theta)), v.load(at(mom))
		var k reg.Register
		if masked {
			k = v.load(at(mask))
			v.VMULPS(k, g, g)
		}
		v.VFMADD231PS(decay, t, g)
		v.VFMADD213PS(g, momentum, m)
		if masked {
			m = v.keep(notEqual, k, zero, m)
		}
		v.store(m, at(mom))
		v.VFNMADD231PS(lr, m, t)
		v.store(t, at(theta))
	})
	v.end()
}

func bip(c *build.Context, s isa) {
	v := begin(c, s, "bipScore", "func(s, mom, theta, grad, mask []float32, lr, momentum, gammaInv float32)",
		"makes one step of the bi-level scores.")
	sc, mom, theta, grad, mask, n := v.base("s"), v.base("mom"), v.base("theta"), v.base("grad"), v.base("mask"), v.length("s")
	lr, momentum, gamma := v.scalar("lr"), v.scalar("momentum"), v.scalar("gammaInv")
	v.loop("", n, 2, func(_ int, at func(reg.Register) operand.Mem) {
		g, t, m, k := v.load(at(grad)), v.load(at(theta)), v.load(at(mom)), v.load(at(mask))
		v.VMULPS(gamma, k, k)
		v.VMULPS(g, k, k)
		v.VSUBPS(k, t, t)
		v.VMULPS(g, t, t)
		v.VFMADD213PS(t, momentum, m)
		v.store(m, at(mom))
		o := v.load(at(sc))
		v.VFNMADD231PS(lr, m, o)
		v.store(o, at(sc))
	})
	v.end()
}

func mulMask(c *build.Context, s isa) {
	v := begin(c, s, "mulMask", "func(z, theta, mask []float32)", "computes z[i] = theta[i]·mask[i], with +0 wherever mask is 0.")
	z, theta, mask, n := v.base("z"), v.base("theta"), v.base("mask"), v.length("z")
	zero := v.zero()
	v.loop("", n, 4, func(_ int, at func(reg.Register) operand.Mem) {
		k, t := v.load(at(mask)), v.load(at(theta))
		v.VMULPS(k, t, t)
		v.store(v.keep(notEqual, k, zero, t), at(z))
	})
	v.end()
}

func addAbs(c *build.Context, s isa) {
	v := begin(c, s, "addAbs", "func(y, a, b []float32)", "computes y[i] = |a[i]| + b[i].")
	y, a, b, n := v.base("y"), v.base("a"), v.base("b"), v.length("y")
	abs := v.reg()
	if s.lanes == 16 {
		v.VPTERNLOGD(operand.U8(0xff), abs, abs, abs)
	} else {
		v.VPCMPEQD(abs, abs, abs)
	}
	v.VPSRLD(operand.U8(1), abs, abs)
	v.loop("", n, 4, func(_ int, at func(reg.Register) operand.Mem) {
		x, z := v.load(at(a)), v.load(at(b))
		v.VANDPS(abs, x, x)
		v.VADDPS(z, x, x)
		v.store(x, at(y))
	})
	v.end()
}
