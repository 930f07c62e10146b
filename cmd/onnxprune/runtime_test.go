package main

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
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
var forms = []form{
	{name: "filter", args: "--structure filter --ratio 0.3 --round 1 --best-effort"},
	{name: "filter, macs", args: "--structure filter --of macs --ratio 0.3 --per-layer --best-effort"},
	{name: "channel", args: "--structure channel --ratio 0.3 --round 1 --best-effort --importance random"},
	{name: "filter, zeros", args: "--structure filter --ratio 0.3 --round 1 --best-effort --keep-shapes"},
	{name: "2:4", args: "--structure 2:4"},
	{name: "2:4, node", args: "--structure 2:4 --masks node"},
	{name: "block", args: "--structure block:2x2 --ratio 0.5"},
	{name: "block, node", args: "--structure block:2x2 --ratio 0.5 --masks node"},
	{name: "random", args: "--method random --ratio 0.5"},
	{name: "synflow, node", args: "--method synflow --ratio 0.5 --masks node"},
	{name: "sparse", args: "--ratio 0.9 --sparse", sparse: true},
	{name: "sparse, block", args: "--structure block:2x1 --ratio 0.85 --sparse", sparse: true},
	{name: "compressed", args: "--ratio 0.9", compressed: true},
	{name: "compressed, node", args: "--ratio 0.9 --masks node", compressed: true},
	{name: "compressed, filter", args: "--structure filter --ratio 0.3 --round 1 --best-effort", compressed: true},
	{name: "compressed, sparse", args: "--ratio 0.9 --sparse", compressed: true, sparse: true},
}

// trainedForms are those of models with glyphs as inputs, which are trained for an epoch.
var trainedForms = []form{
	{name: "bip", args: "--ratio 0.8"},
	{name: "bip, node, compressed", args: "--ratio 0.8 --masks node", compressed: true},
	{name: "bip, sparse", args: "--ratio 0.9 --sparse", sparse: true},
	{name: "bip, renormed", args: "--ratio 0.8 --rebn on"},
	{name: "bip, 2:4", args: "--structure 2:4"},
	{name: "bip, filter", args: "--structure filter --of macs --ratio 0.4 --round 1 --masked-epochs 1 --epochs 2"},
	{name: "bip, filter, renormed", args: "--structure filter --of macs --ratio 0.4 --round 1 --rebn on --masked-epochs 1 --epochs 2"},
	{name: "bip, filter, zeros, compressed", args: "--structure filter --of macs --ratio 0.4 --round 1 --keep-shapes", compressed: true},
	{name: "imp, rewound", args: "--method imp --ratio 0.5 --rewind 1"},
	{name: "hydra", args: "--method hydra --ratio 0.8"},
	{name: "distilled", args: "--ratio 0.8 --distill"},
}

// form is a way of writing a model.
type form struct {
	name, args string
	// compressed files are .onnx.zst, and decompressed for the runtime.
	compressed bool
	// sparse files have sparse initializers, unless the model has no weight that is smaller so.
	sparse bool
}

// unwritten are the forms that a model has not, with what the error says.
var unwritten = map[string]string{
	"tiny_if/synflow, node":                  "the condition depends on data", // it runs the model
	"tiny_detector/synflow, node":            "must be a constant, here it depends on data",
	"glyphs_resnet_bn/bip, renormed":         "no Conv can get BatchNormalization",
	"glyphs_resnet_bn/bip, filter, renormed": "no Conv can get BatchNormalization",
}

// TestWrittenInRuntime prunes the project's own models in every form of writing them, and loads
// and runs what was written in ONNX Runtime.
func TestWrittenInRuntime(t *testing.T) {
	ortjudge.Require(t)
	cases, passed, excluded, sparse := 0, 0, 0, 0
	for _, path := range modelFiles(t, "../../testdata/models/*.onnx") {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		if ortjudge.Load(t, path) != nil {
			continue
		}
		all := forms
		if strings.HasPrefix(name, "glyphs") {
			for _, f := range trainedForms {
				f.args += " --data ../../testdata/data/glyphs/test"
				if !strings.Contains(f.args, "--epochs") {
					f.args += " --epochs 1"
				}
				all = append(all[:len(all):len(all)], f)
			}
		}
		for _, form := range all {
			cases++
			t.Run(name+"/"+form.name, func(t *testing.T) {
				out := filepath.Join(t.TempDir(), "out.onnx")
				if form.compressed {
					out += ".zst"
				}
				code, said := attempt(t, append([]string{path, out, "--quiet"}, strings.Fields(form.args)...)...)
				if want, ok := unwritten[name+"/"+form.name]; ok || code != 0 {
					excluded++
					if code == 0 || !ok || !strings.Contains(said, want) {
						t.Errorf("exit %d, %q, wants the error %q", code, said, want)
					}
					return
				}
				plain := out
				if form.compressed {
					plain = unpacked(t, out)
				}
				if m, err := onnxio.Load(out); err != nil {
					t.Fatal(err)
				} else if len(m.Proto.Graph.SparseInitializer) > 0 {
					sparse++
					if !form.sparse {
						t.Errorf("%d initializers are sparse", len(m.Proto.Graph.SparseInitializer))
					}
				}
				if err := ortjudge.Load(t, plain); err != nil {
					t.Fatalf("ONNX Runtime does not load it: %v", err)
				}
				compareBeside(t, out, plain)
				if !t.Failed() {
					passed++
				}
			})
		}
	}
	if sparse < len(forms) {
		t.Errorf("%d files have sparse initializers", sparse)
	}
	t.Logf("judge: ONNX Runtime, written files: %d cases run, %d passed, %d excluded", cases, passed, excluded)
}

// unpacked decompresses a file with the Zstandard package alone, and returns the place of its content.
func unpacked(t *testing.T, path string) string {
	t.Helper()
	packed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	content, err := d.DecodeAll(packed, nil)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	plain := filepath.Join(t.TempDir(), "unpacked.onnx")
	if err := os.WriteFile(plain, content, 0o666); err != nil {
		t.Fatal(err)
	}
	return plain
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
func compareWithRuntime(t *testing.T, path string) { compareBeside(t, path, path) }

// compareBeside is compareWithRuntime where the runtime reads the same model from another file.
func compareBeside(t *testing.T, path, plain string) {
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
		x := make([]float32, in.Size())
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		copy(in.F, x)
		feed[g.Inputs[k].Name] = ortjudge.Floats(x, in.Shape).Moved(0, max(0, g.Inputs[k].BatchAxis))
	}
	if err := p.Forward(); err != nil {
		t.Fatal(err)
	}
	for name, want := range ortjudge.Run(t, plain, feed) {
		for k, v := range g.Outputs {
			if v.Name != name {
				continue
			}
			want, ok := want.BatchFirst(p.Outputs[k].Shape)
			if !ok {
				t.Fatalf("%s: output %q is %v with the batch first, ONNX Runtime gives %v", path, name, p.Outputs[k].Shape, want.Shape)
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
