package main

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/onnxprune/onnxprune/sweep"
)

// TestSmallData trains on a hundred samples with a rate that ruins the model, and with the
// default one: what is written is no worse than what pruning without training gives.
func TestSmallData(t *testing.T) {
	root, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	model, glyphs := filepath.Join(root, "models", "glyphs_resnet_bn.onnx"), filepath.Join(root, "data", "glyphs")
	few := sample(t, filepath.Join(glyphs, "train"), 100)
	dir := t.TempDir()
	run := func(args ...string) []byte {
		t.Helper()
		cmd, out := program(dir, args...)
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return out.Bytes()
	}
	top1 := func(file string) float64 {
		t.Helper()
		var score struct{ Top1 float64 }
		if err := json.Unmarshal(run("eval", file, "--data", filepath.Join(glyphs, "test"), "--json"), &score); err != nil {
			t.Fatal(err)
		}
		return score.Top1
	}
	for _, ratio := range []string{"0.3", "0.6"} {
		run(model, "untrained.onnx", "--ratio", ratio, "--quiet")
		bare := top1("untrained.onnx")
		for _, lr := range []string{"0.05", "2"} {
			for _, more := range [][]string{{}, {"--anchor", "0"}} {
				run(append([]string{model, "trained.onnx", "--ratio", ratio, "--data", few, "--lr", lr, "--quiet"}, more...)...)
				if got := top1("trained.onnx"); got < bare-0.01 {
					t.Errorf("ratio %s, learning rate %s%v: top-1 %v, without training %v", ratio, lr, more, got, bare)
				}
			}
		}
		// The high rate does ruin it, where nothing is held out and nothing holds the weights.
		run(model, "last.onnx", "--ratio", ratio, "--data", few, "--lr", "2", "--quiet", "--hold-out", "0", "--anchor", "0")
		if got := top1("last.onnx"); got > bare-0.01 {
			t.Errorf("ratio %s: the last epoch has top-1 %v, without training %v: the rate of this test does no harm", ratio, got, bare)
		}
	}
}

// TestPull: the anchor's default falls with samples and ratio, is off where samples are many, and lets no step
// overshoot.
func TestPull(t *testing.T) {
	for _, c := range []struct {
		ratio   float64
		samples int
		lr      float64
		want    float64
	}{
		{0.8, 100, 0.05, 0.4}, {0.8, 400, 0.05, 0.1}, {0.3, 400, 0.05, 0.35}, {0.95, 1999, 0.05, 0.005}, {1.0 / 3, 777, 0.05, 0.17},
		{0.8, 2000, 0.05, 0}, {0.3, 1, 0.05, 2}, {0.8, 100, 2, 0.05},
	} {
		if got := pull(c.ratio, c.samples, c.lr, 0.9); got != c.want {
			t.Errorf("ratio %g, %d samples: %g, want %g", c.ratio, c.samples, got, c.want)
		}
	}
}

// TestSweepHasNoPull: cells of a sweep differ in nothing but what they are compared by.
func TestSweepHasNoPull(t *testing.T) {
	given := 0.25
	for _, c := range []struct {
		anchor *float64
		want   float64
	}{{nil, 0}, {&given, 0.25}} {
		s := &sweepCmd{Data: "train", training: training{Epochs: 1, Gamma: 1, GivenAnchor: c.anchor}, lossFlags: lossFlags{Loss: "auto", Temperature: 4}, renormFlag: renormFlag{Rebn: "auto"}}
		p, err := s.recipe(sweep.Cell{Method: "bip", Structure: "weight", Ratio: 0.8, Seed: 1, Rewind: sweep.NoRewind}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if p.GivenAnchor == nil || *p.GivenAnchor != c.want {
			t.Errorf("the cell's anchor is %v, want %g", p.GivenAnchor, c.want)
		}
	}
}
