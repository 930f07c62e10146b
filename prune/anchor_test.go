package prune

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestAnchor: a step adds α·(θ − θ₀) to the gradient of unmasked weights in place of weight decay, and what has no mask
// keeps weight decay.
func TestAnchor(t *testing.T) {
	c := config()
	c.Anchor = 0.25
	tr := trainer(t, stripeNet(t), 1, c)
	rng := rand.New(rand.NewPCG(1, 2))
	masked := map[string]bool{}
	want := map[string][]float64{}
	const lr, decay = 0.125, 0.5
	for i := range tr.Masks.Layers {
		l := &tr.Masks.Layers[i]
		masked[l.Name] = true
		g := tr.plan.Grad(l.Name).F
		for j, start := range l.Theta {
			l.Mask[j] = float32(rng.IntN(2))
			l.Theta[j] += float32(rng.NormFloat64())
			g[j] = float32(rng.NormFloat64())
			next := float64(l.Theta[j])
			if l.Mask[j] == 1 {
				next -= lr * (float64(g[j]) + c.Anchor*(next-float64(start)))
			}
			want[l.Name] = append(want[l.Name], next)
		}
	}
	others := 0
	for _, name := range tr.plan.Trained() {
		if masked[name] {
			continue
		}
		others++
		g := tr.plan.Grad(name).F
		for j, v := range tr.State.Tensor(name).F {
			g[j] = float32(rng.NormFloat64())
			want[name] = append(want[name], float64(v)-lr*(float64(g[j])+decay*float64(v)))
		}
	}
	if others == 0 {
		t.Fatal("everything has a mask")
	}
	tr.sgd.Step(lr, 0.9, decay)
	for i := range tr.Masks.Layers {
		l := &tr.Masks.Layers[i]
		for j, v := range l.Theta {
			if math.Abs(float64(v)-want[l.Name][j]) > 1e-5 {
				t.Fatalf("%s: element %d is %g, want %g", l.Name, j, v, want[l.Name][j])
			}
		}
	}
	for _, name := range tr.plan.Trained() {
		for j, v := range tr.State.Tensor(name).F {
			if !masked[name] && math.Abs(float64(v)-want[name][j]) > 1e-5 {
				t.Fatalf("%s: element %d is %g, want %g", name, j, v, want[name][j])
			}
		}
	}
}

// TestAnchorHolds: weights end nearer to where they began.
func TestAnchorHolds(t *testing.T) {
	distance := func(anchor float64) float64 {
		c := config()
		c.Anchor = anchor
		tr := trainer(t, stripeNet(t), 2, c)
		var start [][]float32
		for _, l := range tr.Masks.Layers {
			start = append(start, append([]float32(nil), l.Theta...))
		}
		if err := NewBiP(tr).Run(); err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for i, l := range tr.Masks.Layers {
			for j, v := range l.Theta {
				d := float64(v - start[i][j])
				sum += d * d
			}
		}
		return math.Sqrt(sum)
	}
	free, held := distance(0), distance(2)
	if !(held < free/2) {
		t.Errorf("the weights moved by %g with an anchor and by %g without", held, free)
	}
}
