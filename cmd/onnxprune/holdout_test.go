package main

import (
	"encoding/json"
	"path/filepath"
	"testing"
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
			run(model, "trained.onnx", "--ratio", ratio, "--data", few, "--lr", lr, "--quiet")
			if got := top1("trained.onnx"); got < bare-0.01 {
				t.Errorf("ratio %s, learning rate %s: top-1 %v, without training %v", ratio, lr, got, bare)
			}
		}
		// The high rate does ruin it, where nothing is held out.
		run(model, "last.onnx", "--ratio", ratio, "--data", few, "--lr", "2", "--quiet", "--hold-out", "0")
		if got := top1("last.onnx"); got > bare-0.01 {
			t.Errorf("ratio %s: the last epoch has top-1 %v, without training %v: the rate of this test does no harm", ratio, got, bare)
		}
	}
}
