package prune

import (
	"math"
	"slices"
	"testing"
)

// TestTrace: losses are those of the steps, scores and masks are counted as they are.
func TestTrace(t *testing.T) {
	c := config()
	c.Ratio, c.Epochs = 0.5, 2
	tr := trainer(t, stripeNet(t), 2, c)
	trace := NewTrace(tr.Journal, tr.Masks, 2)
	var losses []float64
	sum := 0.0
	tr.Progress.Step = func(_, step, _ int, mean float64) {
		if step == 1 {
			sum = 0
		}
		losses = append(losses, mean*float64(step)-sum)
		sum = mean * float64(step)
	}
	var first [][]float32
	tr.Progress.Epoch = func(e Epoch) {
		if e.Epoch == 0 {
			for _, l := range tr.Masks.Layers {
				first = append(first, slices.Clone(l.Mask))
			}
		}
	}
	b := NewBiP(tr)
	if err := b.Run(); err != nil {
		t.Fatal(err)
	}
	got := trace.Losses()
	if len(got) != len(losses) {
		t.Fatalf("%d losses, want one for each of %d steps", len(got), len(losses))
	}
	for i, p := range got {
		if math.Abs(p.Loss-losses[i]) > 1e-9*math.Abs(losses[i]) {
			t.Errorf("loss %d is %v, want %v", i, p.Loss, losses[i])
		}
		if at := float64(i) / float64(tr.steps); math.Abs(p.Epoch-at) > 2.0/lossBins {
			t.Errorf("loss %d is at epoch %v, want %v", i, p.Epoch, at)
		}
	}
	kept, removed := 0, 0
	bins := trace.Scores()
	for _, s := range bins {
		kept, removed = kept+s.Kept, removed+s.Removed
	}
	if keep := tr.Masks.Keep(0.5); kept != keep || removed != tr.Masks.Total()-keep {
		t.Errorf("%d scores stayed and %d went, want %d and %d", kept, removed, keep, tr.Masks.Total()-keep)
	}
	for i, bin := range bins[1:] {
		n := 0
		for _, layer := range b.scores {
			for _, s := range layer {
				if float64(s) > bin.Low*(1+1e-9) && float64(s) <= bin.High*(1-1e-9) {
					n++
				}
			}
		}
		if n > bin.Kept+bin.Removed {
			t.Errorf("bin %d has %d scores, there are %d", i+1, bin.Kept+bin.Removed, n)
		}
	}
	changed := 0
	for i, m := range trace.Moved() {
		var want Moved
		for k, was := range first[i] {
			is := tr.Masks.Layers[i].Mask[k]
			switch {
			case was == 1 && is == 0:
				want.Gone++
			case was == 0 && is == 1:
				want.Returned++
			}
			want.Kept += int(was)
			want.Removed += 1 - int(was)
		}
		want.Name = tr.Masks.Layers[i].Name
		if m != want {
			t.Errorf("moved %+v, want %+v", m, want)
		}
		changed += m.Gone
	}
	if changed == 0 {
		t.Error("no mask moved, the test sees nothing")
	}
}
