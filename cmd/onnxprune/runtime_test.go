package main

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/ortjudge"
	"github.com/onnxprune/onnxprune/onnxio"
)

// command runs the program in this process and returns what it printed.
func command(t *testing.T, args ...string) string {
	t.Helper()
	old := os.Stdout
	out, err := os.CreateTemp(t.TempDir(), "stdout")
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout = out
	code := run(args)
	os.Stdout = old
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	if code != 0 {
		t.Fatalf("onnxprune %s: exit %d\n%s", strings.Join(args, " "), code, text)
	}
	return string(text)
}

func modelFiles(t *testing.T, patterns ...string) []string {
	t.Helper()
	var paths []string
	for _, p := range patterns {
		found, err := filepath.Glob(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 {
			t.Logf("%s: no model there, not tested", p)
		}
		paths = append(paths, found...)
	}
	return paths
}

// TestPrunedInRuntime prunes every model there is by magnitude, in both forms of
// masks: exactly the share asked for is gone, and ONNX Runtime loads what it loaded
// before and computes what our engine computes.
func TestPrunedInRuntime(t *testing.T) {
	ortjudge.Require(t)
	for _, path := range modelFiles(t, "../../testdata/models/*.onnx", "../../../shared/models/*.onnx", "../../../shared/zoo/*.onnx") {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		t.Run(name, func(t *testing.T) {
			g, err := load(path)
			if err != nil {
				t.Fatal(err)
			}
			total := 0
			for _, w := range g.Weights() {
				total += w.Value.Init.Size()
			}
			if total == 0 {
				t.Skipf("%s has no weight that is an initializer", name)
			}
			before := ortjudge.Load(t, path)
			for _, form := range []string{"fold", "node"} {
				out := filepath.Join(t.TempDir(), form+".onnx")
				command(t, path, out, "--ratio", "0.8", "--masks", form, "--quiet")
				zeros := 0
				pruned, err := load(out)
				if err != nil {
					t.Fatal(err)
				}
				for _, w := range pruned.Weights() {
					for i, v := range w.Value.Init.F {
						if v == 0 || w.Value.Mask != nil && !w.Value.Mask.Keep[i] {
							zeros++
						}
					}
				}
				had := 0
				for _, w := range g.Weights() {
					for _, v := range w.Value.Init.F {
						if v == 0 {
							had++
						}
					}
				}
				if want := max(had, int(math.Round(0.8*float64(total)))); zeros != want {
					t.Errorf("%s: %d of %d weights are zero, want %d", form, zeros, total, want)
				}
				if before != nil {
					continue // not a model for ONNX Runtime
				}
				if err := ortjudge.Load(t, out); err != nil {
					t.Errorf("%s: ONNX Runtime does not load the pruned model: %v", form, err)
					continue
				}
				compareWithRuntime(t, out)
			}
		})
	}
}

// forms are ways of writing a model besides those of TestPrunedInRuntime.
var forms = []struct {
	name string
	args []string
}{
	{"filter", []string{"--structure", "filter", "--ratio", "0.3", "--round", "1", "--best-effort"}},
	{"filter, macs", []string{"--structure", "filter", "--of", "macs", "--ratio", "0.3", "--per-layer", "--best-effort"}},
	{"channel", []string{"--structure", "channel", "--ratio", "0.3", "--round", "1", "--best-effort", "--importance", "random"}},
	{"filter, zeros", []string{"--structure", "filter", "--ratio", "0.3", "--round", "1", "--best-effort", "--keep-shapes"}},
	{"2:4", []string{"--structure", "2:4"}},
	{"2:4, node", []string{"--structure", "2:4", "--masks", "node"}},
	{"block", []string{"--structure", "block:2x2", "--ratio", "0.5"}},
	{"block, node", []string{"--structure", "block:2x2", "--ratio", "0.5", "--masks", "node"}},
	{"random", []string{"--method", "random", "--ratio", "0.5"}},
	{"synflow, node", []string{"--method", "synflow", "--ratio", "0.5", "--masks", "node"}},
}

// unwritten are the forms that a model has not, with what the error says.
var unwritten = map[string]string{
	"tiny_if/synflow, node": "the condition depends on data", // it runs the model
}

// TestWrittenInRuntime prunes the project's own models in every form of writing them, and loads
// and runs what was written in ONNX Runtime.
func TestWrittenInRuntime(t *testing.T) {
	ortjudge.Require(t)
	cases, passed, excluded := 0, 0, 0
	for _, path := range modelFiles(t, "../../testdata/models/*.onnx") {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		if ortjudge.Load(t, path) != nil {
			continue
		}
		for _, form := range forms {
			cases++
			t.Run(name+"/"+form.name, func(t *testing.T) {
				out := filepath.Join(t.TempDir(), "out.onnx")
				code, said := attempt(t, append([]string{path, out, "--quiet"}, form.args...)...)
				if want, ok := unwritten[name+"/"+form.name]; ok || code != 0 {
					excluded++
					if code == 0 || !ok || !strings.Contains(said, want) {
						t.Errorf("exit %d, %q, wants the error %q", code, said, want)
					}
					return
				}
				if err := ortjudge.Load(t, out); err != nil {
					t.Fatalf("ONNX Runtime does not load it: %v", err)
				}
				compareWithRuntime(t, out)
				if !t.Failed() {
					passed++
				}
			})
		}
	}
	t.Logf("judge: ONNX Runtime, written files: %d cases run, %d passed, %d excluded", cases, passed, excluded)
}

// attempt runs the program in this process and returns its exit code and what it said on
// standard error.
func attempt(t *testing.T, args ...string) (int, string) {
	t.Helper()
	old := os.Stderr
	file, err := os.CreateTemp(t.TempDir(), "stderr")
	if err != nil {
		t.Fatal(err)
	}
	os.Stderr = file
	code := run(args)
	os.Stderr = old
	text, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return code, string(text)
}

// compareWithRuntime runs a written model here and in ONNX Runtime where our engine
// can run it.
func compareWithRuntime(t *testing.T, path string) {
	m, err := onnxio.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	g, err := graph.New(m, path)
	if err != nil {
		t.Fatal(err)
	}
	batch := max(1, g.FixedBatch())
	p, err := engine.Compile(g, engine.NewState(g), engine.Options{Batch: batch})
	if err != nil {
		t.Logf("not run: %v", strings.SplitN(err.Error(), "\n", 2)[0])
		return
	}
	if p.MACs() > 2e9 {
		t.Logf("not run: %d MACs", p.MACs())
		return
	}
	rng := rand.New(rand.NewPCG(1, 1))
	feed := map[string]ortjudge.Tensor{}
	for k, in := range p.Inputs {
		x := ortjudge.Tensor{F: make([]float32, in.Size())}
		for i := range x.F {
			x.F[i] = float32(rng.NormFloat64())
		}
		for _, d := range in.Shape {
			x.Shape = append(x.Shape, int64(d))
		}
		copy(in.F, x.F)
		feed[g.Inputs[k].Name] = x
	}
	if err := p.Forward(); err != nil {
		t.Fatal(err)
	}
	for name, want := range ortjudge.Run(t, path, feed) {
		for k, v := range g.Outputs {
			if v.Name != name {
				continue
			}
			scale, worst := 1.0, 0.0
			for _, w := range want.F {
				scale = math.Max(scale, math.Abs(float64(w)))
			}
			for i, w := range want.F {
				worst = math.Max(worst, math.Abs(float64(w-p.Outputs[k].F[i])))
			}
			if !(worst <= 1e-4*scale) {
				t.Errorf("%s: output %q differs from ONNX Runtime by %g, largest %g", path, name, worst, scale)
			}
		}
	}
}

// TestReadmePruning is the README's first command: bi-level pruning at 0.8 stays
// within a point of the dense model, as ONNX Runtime counts it.
func TestReadmePruning(t *testing.T) {
	ortjudge.Require(t)
	model, glyphs := "../../testdata/models/glyphs_resnet_bn.onnx", "../../testdata/data/glyphs"
	out := filepath.Join(t.TempDir(), "pruned.onnx")
	command(t, model, out, "--ratio", "0.8", "--data", glyphs+"/train", "--val", glyphs+"/test")
	top1 := func(path string) float64 {
		right, total, err := ortjudge.Accuracy(path, glyphs+"/test", 250, ortjudge.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return float64(right) / float64(total)
	}
	dense, pruned := top1(model), top1(out)
	if !(pruned >= dense-0.01) {
		t.Errorf("top-1 in ONNX Runtime is %.4f, the dense model has %.4f", pruned, dense)
	}
	var ours struct{ Top1 float64 }
	if err := json.Unmarshal([]byte(command(t, "eval", out, "--data", glyphs+"/test", "--json")), &ours); err != nil {
		t.Fatal(err)
	}
	if math.Abs(ours.Top1-pruned) > 0.0011 {
		t.Errorf("eval says %.4f, ONNX Runtime %.4f", ours.Top1, pruned)
	}
}

// TestSharedAccuracy evaluates the CIFAR-10 networks beside the checkout.
func TestSharedAccuracy(t *testing.T) {
	dir := "../../../shared/data/cifar10/test"
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("%s is not there", dir)
	}
	for name, want := range map[string]float64{"resnet20": 0.9173, "resnet20_bn": 0.9173, "resnet56": 0.9339, "resnet56_bn": 0.9339} {
		t.Run(name, func(t *testing.T) {
			var got struct {
				Top1    float64
				Samples int
			}
			if err := json.Unmarshal([]byte(command(t, "eval", "../../../shared/models/"+name+".onnx", "--data", dir, "--json")), &got); err != nil {
				t.Fatal(err)
			}
			if got.Samples != 10000 || math.Abs(got.Top1-want) > 0.0002 {
				t.Errorf("top-1 is %.4f of %d samples, want %.4f", got.Top1, got.Samples, want)
			}
		})
	}
}
