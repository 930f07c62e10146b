package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

var lengths = []int{1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 129, 257, 1000}

// special scatters NaN, infinities and zeros of both signs.
func special(r *rand.Rand, n int) []float32 {
	v := randoms(r, n)
	odd := []float32{float32(math.NaN()), inf32, -inf32, 0, float32(math.Copysign(0, -1)), 1e-40, 3e38}
	for i := range v {
		if r.IntN(3) == 0 {
			v[i] = odd[r.IntN(len(odd))]
		}
	}
	return v
}

// equal allows for a fused multiply-add; NaN equals NaN.
func equal(a, b, tolerance float32) bool {
	if a != a || b != b {
		return a != a && b != b
	}
	return a == b || math.Abs(float64(a)-float64(b)) <= float64(tolerance)
}

func TestElementwise(t *testing.T) {
	clip := func(v, lo, hi float32) float32 {
		if v < lo {
			v = lo
		}
		if v > hi {
			v = hi
		}
		return v
	}
	gate := func(v, y float32) float32 {
		if y > 0 {
			return v
		}
		return 0
	}
	for _, op := range []struct {
		name string
		f    func(dst, a, b []float32)
		want func(d, a, b float32) float32
		tol  float32
	}{
		{"Add", Add, func(_, a, b float32) float32 { return a + b }, 0},
		{"Sub", Sub, func(_, a, b float32) float32 { return a - b }, 0},
		{"Mul", Mul, func(_, a, b float32) float32 { return a * b }, 0},
		{"Div", Div, func(_, a, b float32) float32 { return a / b }, 0},
		{"Max", Max, func(_, a, b float32) float32 { return max(a, b) }, 0},
		{"Min", Min, func(_, a, b float32) float32 { return min(a, b) }, 0},
		{"AddRelu", AddRelu, func(_, a, b float32) float32 { return clip(a+b, 0, inf32) }, 0},
		{"ReluGrad", ReluGrad, func(_, a, b float32) float32 { return gate(a, b) }, 0},
		{"Relu", func(d, a, _ []float32) { Relu(d, a) }, func(_, a, _ float32) float32 { return clip(a, 0, inf32) }, 0},
		{"AddScalar", func(d, a, _ []float32) { AddScalar(d, a, 1.5) }, func(_, a, _ float32) float32 { return a + 1.5 }, 0},
		{"Scale", func(d, a, _ []float32) { Scale(d, a, -3) }, func(_, a, _ float32) float32 { return a * -3 }, 0},
		{"Axpy", func(d, a, _ []float32) { Axpy(d, a, 0.5) }, func(d, a, _ float32) float32 { return d + 0.5*a }, 1e-6},
		{"Clip", func(d, a, _ []float32) { Clip(d, a, -0.5, 0.25) }, func(_, a, _ float32) float32 { return clip(a, -0.5, 0.25) }, 0},
		{"Fill", func(d, _, _ []float32) { Fill(d, 7) }, func(_, _, _ float32) float32 { return 7 }, 0},
		{"AddAbs", AddAbs, func(_, a, b float32) float32 { return max(a, -a) + b }, 0},
		{"MulMask", func(d, a, b []float32) { Relu(d, b); MulMask(d, a, d) }, func(_, a, b float32) float32 {
			if m := clip(b, 0, inf32); m != 0 {
				return a * m
			}
			return 0
		}, 0},
	} {
		t.Run(op.name, func(t *testing.T) {
			eachVariant(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(7, 8))
				for i, n := range lengths {
					a, b := special(r, n), special(r, n)
					d := newGuarded(n, i)
					copy(d.v, special(r, n))
					old := append([]float32(nil), d.v...)
					op.f(d.v, a, b)
					for i, v := range d.v {
						if w := op.want(old[i], a[i], b[i]); !equal(v, w, op.tol) {
							t.Fatalf("n=%d i=%d: f(%v, %v, %v) = %v, want %v", n, i, old[i], a[i], b[i], v, w)
						}
					}
					d.check(t, op.name)
					if op.name == "Axpy" || op.name == "MulMask" {
						continue
					}
					want := append([]float32(nil), d.v...)
					op.f(a, a, b)
					for i, v := range a {
						if !equal(v, want[i], 0) {
							t.Fatalf("n=%d i=%d: in place %v, else %v", n, i, v, want[i])
						}
					}
				}
			})
		})
	}
}

func TestReductions(t *testing.T) {
	eachVariant(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(9, 10))
		for _, n := range append([]int{0}, lengths...) {
			a, b := randoms(r, n+1)[:n], randoms(r, n+1)[:n]
			var sum, dot, sq, mag, magDot float64
			for i := range a {
				sum += float64(a[i])
				mag += math.Abs(float64(a[i]))
				dot += float64(a[i]) * float64(b[i])
				magDot += math.Abs(float64(a[i]) * float64(b[i]))
				sq += float64(a[i]) * float64(a[i])
			}
			compare(t, fmt.Sprintf("n=%d", n), []float32{Sum(a), Dot(a, b), SumSquares(a)}, []float64{sum, dot, sq}, []float64{mag, magDot, sq})
			if n > 0 {
				a[n-1] = float32(math.NaN())
				if v := Sum(a); v == v {
					t.Fatalf("n=%d: a NaN was lost", n)
				}
			}
		}
	})
}

func TestTranscendental(t *testing.T) {
	for _, op := range []struct {
		name string
		f    func(dst, a []float32)
		want func(float64) float64
	}{
		{"Exp", Exp, math.Exp},
		{"Sigmoid", Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }},
		{"Tanh", Tanh, math.Tanh},
		{"Erf", Erf, math.Erf},
	} {
		t.Run(op.name, func(t *testing.T) {
			eachVariant(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(11, 12))
				for i, n := range lengths {
					a := special(r, n)
					for i := range a {
						if i%2 == 0 {
							a[i] = float32(r.Float64()*240 - 120)
						}
						if i%7 == 0 {
							a[i] = float32(r.NormFloat64() * 1e-3)
						}
					}
					d := newGuarded(n, i)
					op.f(d.v, a)
					for i, v := range d.v {
						w := op.want(float64(a[i]))
						f := float32(w)
						if !equal(v, f, 4*float32(math.Nextafter32(float32(math.Abs(w)), inf32)-float32(math.Abs(w)))) {
							t.Fatalf("n=%d: f(%v) = %v, want %v", n, a[i], v, f)
						}
					}
					d.check(t, op.name)
				}
			})
		})
	}
}

func TestOptimizer(t *testing.T) {
	eachVariant(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(13, 14))
		for i, n := range lengths {
			theta, mom, grad := newGuarded(n, i), newGuarded(n, i+1), randoms(r, n)
			mask := make([]float32, n)
			for i := range mask {
				mask[i] = float32(r.IntN(2))
				theta.v[i], mom.v[i] = float32(r.NormFloat64()), float32(r.NormFloat64())
			}
			const lr, momentum, decay = 0.1, 0.9, 0.01
			for _, masked := range []bool{false, true} {
				m := []float32(nil)
				if masked {
					m = mask
				}
				t0, m0 := append([]float32(nil), theta.v...), append([]float32(nil), mom.v...)
				SGDMomentum(theta.v, mom.v, grad, m, lr, momentum, decay)
				for i := range n {
					wantM := momentum*m0[i] + grad[i] + decay*t0[i]
					want := t0[i] - lr*wantM
					if masked && mask[i] == 0 {
						want, wantM = t0[i], 0
					}
					if !equal(theta.v[i], want, 1e-6) || !equal(mom.v[i], wantM, 1e-6) || (wantM == 0 && theta.v[i] != t0[i]) {
						t.Fatalf("n=%d i=%d masked=%v: theta %v, momentum %v, want %v, %v", n, i, masked, theta.v[i], mom.v[i], want, wantM)
					}
				}
			}
			s, sm := newGuarded(n, i), newGuarded(n, i+3)
			copy(s.v, randoms(r, n))
			copy(sm.v, randoms(r, n))
			s0, m0 := append([]float32(nil), s.v...), append([]float32(nil), sm.v...)
			BiPScore(s.v, sm.v, theta.v, grad, mask, lr, momentum, 0.5)
			for i := range n {
				g := grad[i]
				wantM := momentum*m0[i] + theta.v[i]*g - 0.5*mask[i]*g*g
				if want := s0[i] - lr*wantM; !equal(s.v[i], want, 2e-6) || !equal(sm.v[i], wantM, 4e-6) {
					t.Fatalf("n=%d i=%d: score %v, momentum %v, want %v, %v", n, i, s.v[i], sm.v[i], want, wantM)
				}
			}
			for name, g := range map[string]guarded{"theta": theta, "momentum": mom, "score": s, "score momentum": sm} {
				g.check(t, name)
			}
		}
	})
}
