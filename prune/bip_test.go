package prune

import (
	"math"
	"testing"

	"github.com/onnxprune/onnxprune/data"
)

// TestRamp: the fraction removed rises along the cubic from a half to the ratio, which
// every mask of the last epochs has; no epoch before them is the best.
func TestRamp(t *testing.T) {
	c := config()
	c.Epochs, c.Ramp, c.BothBatches = 5, 0.5, true
	tr := trainer(t, stripeNet(t), 2, c)
	b := NewBiP(tr)
	length := 0.5 * float64(tr.steps*c.Epochs)
	for _, step := range []int{-1, 0, 3, int(length) - 2, int(length) - 1, int(length), 5*tr.steps - 1} {
		want := c.Ratio
		if x := float64(step+1) / length; x < 1 {
			want = c.Ratio - (c.Ratio-0.5)*math.Pow(1-x, 3)
		}
		if got := b.ratio(step); math.Abs(got-want) > 1e-12 {
			t.Errorf("step %d removes %g, wants %g", step, got, want)
		}
	}
	zeros := map[int]int{}
	tr.Progress.Epoch = func(e Epoch) { zeros[e.Epoch] = tr.Masks.Zeros() }
	if err := b.Run(); err != nil {
		t.Fatal(err)
	}
	want := tr.Masks.Total() - tr.Masks.Keep(c.Ratio)
	for _, e := range tr.History {
		rises := e.Epoch == 1 || e.Epoch == 2
		if rises != (e.Ratio > 0.5 && e.Ratio < c.Ratio) || rises != (zeros[e.Epoch] < want) || !rises && (e.Ratio != 0 || zeros[e.Epoch] != want) {
			t.Errorf("epoch %d: %d of %d zeros, ratio %g", e.Epoch, zeros[e.Epoch], want, e.Ratio)
		}
		if rises {
			if got := tr.Masks.Total() - tr.Masks.Keep(e.Ratio); got != zeros[e.Epoch] {
				t.Errorf("epoch %d has %d zeros, its ratio %g makes %d", e.Epoch, zeros[e.Epoch], e.Ratio, got)
			}
		}
	}
	best, err := tr.Best()
	if err != nil {
		t.Fatal(err)
	}
	if best == 1 || best == 2 || tr.Masks.Zeros() != want {
		t.Errorf("epoch %d is exported, with %d of %d zeros", best, tr.Masks.Zeros(), want)
	}
}

// TestRampOfOneEpoch: the shortest run ends at its ratio, and what has none to rise keeps
// its own from the first step on.
func TestRampOfOneEpoch(t *testing.T) {
	for _, ramp := range []float64{0, 0.4, 1} {
		c := config()
		c.Epochs, c.Ramp = 1, ramp
		tr := trainer(t, stripeNet(t), 1, c)
		b := NewBiP(tr)
		if err := b.Run(); err != nil {
			t.Fatal(err)
		}
		if e := tr.History[1]; e.Ratio != 0 || tr.Masks.Zeros() != tr.Masks.Total()-tr.Masks.Keep(c.Ratio) {
			t.Errorf("ramp %g: %d zeros, ratio %g", ramp, tr.Masks.Zeros(), e.Ratio)
		}
		b.frozen = true
		if r := b.ratio(-1); r != c.Ratio {
			t.Errorf("with weights frozen %g goes at first", r)
		}
		b.frozen, tr.Config.Structure = false, Structure{Kind: KindNM, N: 2, M: 4}
		if r := b.ratio(-1); r != c.Ratio {
			t.Errorf("of N:M %g goes at first", r)
		}
	}
}

// TestUpperStep: scores are |θ| plus the sum of the upper steps, with θ as the lower steps
// have left it; the upper batch moves weights with BothBatches only.
func TestUpperStep(t *testing.T) {
	for _, both := range []bool{false, true} {
		c := config()
		c.BothBatches, c.Momentum, c.Gamma = both, 0, 2
		tr := trainer(t, stripeNet(t), 1, c)
		b := NewBiP(tr)
		stream, err := tr.Train.Batches(data.BatchOptions{Size: c.Batch, DropLast: true, Augment: data.AugmentNone})
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		if _, err := tr.pass(stream, tr.lower); err != nil {
			t.Fatal(err)
		}
		l := &tr.Masks.Layers[0]
		theta, mask := append([]float32(nil), l.Theta...), append([]float32(nil), l.Mask...)
		if _, err := tr.pass(stream, b.upper); err != nil {
			t.Fatal(err)
		}
		g, moved := tr.plan.Grad(l.Name).F, false
		for i, th := range theta {
			moved = moved || th != l.Theta[i]
			u := -c.MaskLR * (float64(th)*float64(g[i]) - float64(mask[i]*g[i]*g[i])/c.Gamma)
			want := math.Abs(float64(l.Theta[i])) + u
			if math.Abs(float64(b.scores[0][i])-want) > 1e-6 {
				t.Fatalf("both batches %v: the score of %d is %g, wants %g", both, i, b.scores[0][i], want)
			}
		}
		if moved != both {
			t.Errorf("both batches %v: weights moved: %v", both, moved)
		}
	}
}
