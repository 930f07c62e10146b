package prune

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// closedForm is the gradient by the mask as the training step computes it:
// θ⊙g − (1/γ)·m⊙g⊙g, taken from the kernel with momentum 0 and rate 1.
func closedForm(theta, g, m []float64, gamma float64) []float64 {
	f := func(v []float64) []float32 {
		out := make([]float32, len(v))
		for i, x := range v {
			out[i] = float32(x)
		}
		return out
	}
	s, mom := make([]float32, len(theta)), make([]float32, len(theta))
	kernel.BiPScore(s, mom, f(theta), f(g), f(m), 1, 0, float32(1/gamma))
	out := make([]float64, len(s))
	for i, x := range s {
		out[i] = -float64(x)
	}
	return out
}

// problem is a loss ℓ(z) with its gradient.
type problem func(z []float64) (loss float64, g []float64)

// solve returns θ*(m) = argmin ℓ(m⊙θ) + γ/2·‖θ‖² by gradient descent until the
// gradient vanishes.
func solve(t *testing.T, l problem, m []float64, gamma float64, start []float64) []float64 {
	t.Helper()
	theta := append([]float64(nil), start...)
	z := make([]float64, len(theta))
	rate := 0.5 / (gamma + 2)
	for step := 0; step < 400000; step++ {
		for i := range z {
			z[i] = m[i] * theta[i]
		}
		_, g := l(z)
		norm := 0.0
		for i := range theta {
			d := m[i]*g[i] + gamma*theta[i]
			norm += d * d
			theta[i] -= rate * d
		}
		if norm < 1e-26 {
			return theta
		}
	}
	t.Fatal("the lower level did not converge")
	return nil
}

// trueGradient differentiates ℓ(m⊙θ*(m)) by m, solving the lower level anew for
// every perturbed mask.
func trueGradient(t *testing.T, l problem, m []float64, gamma float64, theta []float64) []float64 {
	const h = 1e-4
	at := func(m []float64) float64 {
		th := solve(t, l, m, gamma, theta)
		z := make([]float64, len(m))
		for i := range z {
			z[i] = m[i] * th[i]
		}
		v, _ := l(z)
		return v
	}
	out := make([]float64, len(m))
	for i := range m {
		p := append([]float64(nil), m...)
		p[i] = m[i] + h
		up := at(p)
		p[i] = m[i] - h
		out[i] = (up - at(p)) / (2 * h)
	}
	return out
}

// TestClosedFormIsExactForLinearLoss: for ℓ = c·z the Hessian vanishes, and
// dℓ/dm = −(2/γ)·m⊙c⊙c.
func TestClosedFormIsExactForLinearLoss(t *testing.T) {
	c := []float64{0.7, -1.3, 0.2, 2.1, -0.4}
	linear := func(z []float64) (float64, []float64) {
		s := 0.0
		for i := range z {
			s += c[i] * z[i]
		}
		return s, c
	}
	for _, gamma := range []float64{0.5, 1, 10} {
		m := []float64{1, 0, 1, 1, 0.5}
		theta := solve(t, linear, m, gamma, make([]float64, len(c)))
		want := trueGradient(t, linear, m, gamma, theta)
		got := closedForm(theta, c, m, gamma)
		for i := range c {
			formula := -2 / gamma * m[i] * c[i] * c[i]
			if math.Abs(want[i]-formula) > 1e-6 {
				t.Errorf("γ=%v: solving the lower level gives %v at %d, the formula %v", gamma, want[i], i, formula)
			}
			if math.Abs(got[i]-formula) > 1e-5 {
				t.Errorf("γ=%v: the step's gradient is %v at %d, exact is %v", gamma, got[i], i, formula)
			}
		}
	}
}

// smallNetwork is cross-entropy of a tanh network, 3 inputs, 4 hidden, 3 classes,
// on 12 fixed samples; z holds both weight matrices.
func smallNetwork() (problem, int) {
	rng := rand.New(rand.NewPCG(2, 3))
	const n, in, hid, out = 12, 3, 4, 3
	x := make([]float64, n*in)
	label := make([]int, n)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	for i := range label {
		label[i] = rng.IntN(out)
	}
	size := in*hid + hid*out
	return func(z []float64) (float64, []float64) {
		w1, w2 := z[:in*hid], z[in*hid:]
		g := make([]float64, size)
		total := 0.0
		for s := 0; s < n; s++ {
			var h [hid]float64
			var y, p [out]float64
			for j := range h {
				for k := 0; k < in; k++ {
					h[j] += w1[j*in+k] * x[s*in+k]
				}
				h[j] = math.Tanh(h[j])
			}
			sum := 0.0
			for j := range y {
				for k := range h {
					y[j] += w2[j*hid+k] * h[k]
				}
				p[j] = math.Exp(y[j])
				sum += p[j]
			}
			total += (math.Log(sum) - y[label[s]]) / n
			var dh [hid]float64
			for j := range y {
				d := p[j] / sum
				if j == label[s] {
					d--
				}
				d /= n
				for k := range h {
					g[in*hid+j*hid+k] += d * h[k]
					dh[k] += d * w2[j*hid+k]
				}
			}
			for k := range h {
				for i := 0; i < in; i++ {
					g[k*in+i] += dh[k] * (1 - h[k]*h[k]) * x[s*in+i]
				}
			}
		}
		return total, g
	}, size
}

// masked returns m⊙θ.
func masked(m, theta []float64) []float64 {
	z := make([]float64, len(m))
	for i := range z {
		z[i] = m[i] * theta[i]
	}
	return z
}

// TestClosedFormDeviation measures, on a small network, how far the closed form,
// which neglects the Hessian, is from the gradient through the solved lower
// level: the direction stays right, the length is off by up to a half.
func TestClosedFormDeviation(t *testing.T) {
	l, size := smallNetwork()
	rng := rand.New(rand.NewPCG(8, 1))
	start, m := make([]float64, size), make([]float64, size)
	for i := range start {
		start[i] = rng.NormFloat64()
		if i%3 != 0 {
			m[i] = 1
		}
	}
	for _, gamma := range []float64{0.02, 0.03, 0.05} {
		theta := solve(t, l, m, gamma, start)
		want := trueGradient(t, l, m, gamma, theta)
		_, g := l(masked(m, theta))
		got := closedForm(theta, g, m, gamma)
		var diff, ref, dot, len2 float64
		for i := range want {
			diff += (got[i] - want[i]) * (got[i] - want[i])
			ref += want[i] * want[i]
			dot += got[i] * want[i]
			len2 += got[i] * got[i]
		}
		relative, cosine := math.Sqrt(diff/ref), dot/math.Sqrt(ref*len2)
		t.Logf("γ=%v: relative deviation %.3f, cosine %.3f", gamma, relative, cosine)
		if !(cosine > 0.9) || !(relative < 0.6) {
			t.Errorf("γ=%v: relative deviation %.3f, cosine %.3f from the true gradient", gamma, relative, cosine)
		}
	}
}

// TestStraightTerms checks ∇_m ℓ(m⊙θ) = θ⊙g and ∇_θ ℓ(m⊙θ) = m⊙g by finite
// differences.
func TestStraightTerms(t *testing.T) {
	l, size := smallNetwork()
	rng := rand.New(rand.NewPCG(4, 4))
	theta, m := make([]float64, size), make([]float64, size)
	for i := range theta {
		theta[i] = rng.NormFloat64()
		m[i] = float64(i % 2)
	}
	_, g := l(masked(m, theta))
	straight := closedForm(theta, g, m, math.Inf(1))
	const h = 1e-6
	slope := func(v []float64, i int) float64 {
		old := v[i]
		v[i] = old + h
		up, _ := l(masked(m, theta))
		v[i] = old - h
		down, _ := l(masked(m, theta))
		v[i] = old
		return (up - down) / (2 * h)
	}
	for i := range theta {
		if d := slope(m, i); math.Abs(d-straight[i]) > 1e-6 {
			t.Errorf("∂ℓ/∂m[%d] is %v, the step uses %v", i, d, straight[i])
		}
		if d := slope(theta, i); math.Abs(d-m[i]*g[i]) > 1e-6 {
			t.Errorf("∂ℓ/∂θ[%d] is %v, m⊙g gives %v", i, d, m[i]*g[i])
		}
	}
}
