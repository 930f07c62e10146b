package onnxgo

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/owulveryck/onnx-go"
	"gorgonia.org/tensor"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/onnxio"
)

const models = "../testdata/models/"

func noise(seed uint64, shape ...int) tensor.Tensor {
	rng := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, tensor.Shape(shape).TotalSize())
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(v))
}

func floats(t *testing.T, x tensor.Tensor) []float32 {
	t.Helper()
	v, ok := x.Data().([]float32)
	if !ok {
		t.Fatalf("is a %T, wants []float32", x.Data())
	}
	return v
}

// plan compiles a model of the project without onnx-go.
func plan(t *testing.T, path string, batch int, loss engine.Loss) (*engine.Plan, *engine.State) {
	t.Helper()
	return planned(t, path, engine.Options{Batch: batch, Loss: loss})
}

func planned(t *testing.T, path string, opt engine.Options) (*engine.Plan, *engine.State) {
	t.Helper()
	m, err := onnxio.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	g, err := graph.New(m, path)
	if err != nil {
		t.Fatal(err)
	}
	s := engine.NewState(g)
	p, err := engine.Compile(g, s, opt)
	if err != nil {
		t.Fatal(err)
	}
	return p, s
}

// TestRunsModels compares, at two batch sizes in turn, with the plan of the same file.
func TestRunsModels(t *testing.T) {
	paths, err := filepath.Glob(models + "*.onnx")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no models: %v", err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".onnx")
		switch name {
		case "tiny_custom_op": // an operator that nobody has
			continue
		case "tiny_detector": // sizes that depend on data
			continue
		case "tiny_if": // onnx-go reads no subgraphs
			continue
		case "tiny_functions": // nor functions of the file
			continue
		}
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b, m, err := Load(data, Options{Threads: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			batches := []int{2, 3, 2}
			if strings.HasSuffix(name, "_b1") {
				batches = []int{1}
			}
			for _, batch := range batches {
				// As the file has it: a plan for a batch has the batch on axis 0 throughout.
				p, _ := planned(t, path, engine.Options{Fixed: true, Dims: map[string]int{"N": batch, "batch": batch}})
				for i, in := range p.Inputs {
					x := noise(uint64(batch), in.Shape...)
					copy(in.F, floats(t, x))
					if err := m.SetInput(i, x); err != nil {
						t.Fatal(err)
					}
				}
				if err := b.Run(); err != nil {
					t.Fatal(err)
				}
				if err := p.Forward(); err != nil {
					t.Fatal(err)
				}
				got, err := m.GetOutputTensors()
				if err != nil {
					t.Fatal(err)
				}
				for k, y := range p.Outputs {
					if !slices.Equal(got[k].Shape(), y.Shape) || !slices.Equal(floats(t, got[k]), y.F) {
						t.Errorf("batch %d: output %d differs from that of the engine", batch, k)
					}
				}
			}
		})
	}
}

// TestTrains makes steps through the backend and by a plan of the engine, which must agree to the
// bit, and sees the loss fall.
func TestTrains(t *testing.T) {
	path := models + "glyphs_resnet_bn.onnx"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b, m, err := Load(data, Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	const batch = 8
	p, s := plan(t, path, batch, engine.CrossEntropy{})
	x := noise(5, p.Inputs[0].Shape...)
	if err := m.SetInput(0, x); err != nil {
		t.Fatal(err)
	}
	target := &engine.Target{}
	for i := range batch {
		target.Labels = append(target.Labels, int64(i%10))
	}
	first, last := 0.0, 0.0
	for step := range 8 {
		copy(p.Inputs[0].F, floats(t, x))
		want, err := p.Step(target)
		if err != nil {
			t.Fatal(err)
		}
		if last, err = b.Step(engine.CrossEntropy{}, target); err != nil {
			t.Fatal(err)
		}
		if last != want {
			t.Fatalf("step %d: loss %v, the engine has %v", step, last, want)
		}
		if step == 0 {
			first = last
			if !slices.Equal(b.Trained(), p.Trained()) || len(p.Trained()) == 0 {
				t.Fatalf("trains %q, the engine %q", b.Trained(), p.Trained())
			}
		}
		for _, name := range p.Trained() {
			g, err := b.Gradient(name)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(floats(t, g), p.Grad(name).F) {
				t.Fatalf("step %d: gradient of %q differs from the engine's", step, name)
			}
			for i, d := range p.Grad(name).F {
				s.Tensor(name).F[i] -= 0.125 * d
			}
		}
		if err := b.Descend(0.125, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	if !(last < first/2) {
		t.Errorf("the loss of a fixed batch went from %v to %v in 8 steps", first, last)
	}
	for _, name := range p.Trained() {
		n, ok := m.GetNodeByName(name)
		if !ok {
			t.Fatalf("no node %q", name)
		}
		for i, v := range floats(t, n.(*Node).GetTensor()) {
			if d := v - s.Tensor(name).F[i]; d > 1e-6 || d < -1e-6 {
				t.Fatalf("%q[%d] is %v after training, the engine has %v", name, i, v, s.Tensor(name).F[i])
			}
		}
	}
}

// TestParameterSet gives a parameter a new value after a run, and keeps it across shapes.
func TestParameterSet(t *testing.T) {
	data, err := os.ReadFile(models + "tiny_mlp.onnx")
	if err != nil {
		t.Fatal(err)
	}
	b, m, err := Load(data, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	run := func(batch int) []float32 {
		p, _ := plan(t, models+"tiny_mlp.onnx", batch, nil)
		if err := m.SetInput(0, noise(1, p.Inputs[0].Shape...)); err != nil {
			t.Fatal(err)
		}
		if err := b.Run(); err != nil {
			t.Fatal(err)
		}
		y, err := m.GetOutputTensors()
		if err != nil {
			t.Fatal(err)
		}
		return floats(t, y[0])
	}
	before := run(2)
	for _, name := range b.options.Parameters {
		n, _ := m.GetNodeByName(name)
		old := n.(*Node).GetTensor()
		zero := tensor.New(tensor.WithShape(old.Shape()...), tensor.Of(tensor.Float32))
		if err := n.(*Node).SetTensor(zero); err != nil {
			t.Fatal(err)
		}
		if err := n.(*Node).SetTensor(noise(1, 1, 1, 1, 7)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("a value of another shape: got error %v, wants one that names %q", err, name)
		}
	}
	for _, batch := range []int{2, 3} {
		after := run(batch)
		for i, v := range after {
			if v != 0 {
				t.Fatalf("batch %d: element %d is %v with all parameters zero", batch, i, v)
			}
		}
	}
	if slices.Max(before) == 0 && slices.Min(before) == 0 {
		t.Error("the output was zero before")
	}
}

// TestByHand builds a graph without a file: y = x·xᵀ + c, with one operand used twice, and a
// tensor that is not row-major.
func TestByHand(t *testing.T) {
	b := New(Options{})
	defer b.Close()
	add := func(name string, v tensor.Tensor) *Node {
		n := b.NewNode().(*Node)
		n.SetName(name)
		b.AddNode(n)
		if v != nil {
			if err := n.SetTensor(v); err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	apply := func(name string, attrs map[string]any, out *Node, in ...*Node) {
		for i, n := range in {
			b.SetWeightedEdge(b.NewWeightedEdge(out, n, float64(i)))
		}
		if err := b.ApplyOperation(onnx.Operation{Name: name, Attributes: attrs}, out); err != nil {
			t.Fatal(err)
		}
	}
	x := tensor.New(tensor.WithShape(2, 3), tensor.WithBacking([]float32{1, 2, 3, 4, 5, 6}))
	xT := x.Clone().(*tensor.Dense)
	if err := xT.T(); err != nil {
		t.Fatal(err)
	}
	in, transposed := add("x", x), add("x transposed", xT)
	product, square, y := add("", nil), add("square", nil), add("y", nil)
	product.SetName("product")
	apply("MatMul", nil, product, in, transposed)
	apply("Mul", nil, square, product, product)
	apply("LeakyRelu", map[string]any{"alpha": float32(2)}, y, square)
	if err := b.Run(); err != nil {
		t.Fatal(err)
	}
	if want := []float32{14 * 14, 32 * 32, 32 * 32, 77 * 77}; !slices.Equal(floats(t, y.GetTensor()), want) {
		t.Errorf("got %v, want %v", y.GetTensor().Data(), want)
	}
	if product.GetTensor() != nil {
		t.Error("a value that an operator reads has a tensor")
	}
	if _, err := b.Step(engine.MeanSquaredError{}, &engine.Target{}); err == nil || !strings.Contains(err.Error(), "no parameters") {
		t.Errorf("a step without parameters: got error %v", err)
	}
}

// TestErrors holds what is refused, and how.
func TestErrors(t *testing.T) {
	data, err := os.ReadFile(models + "tiny_custom_op.onnx")
	if err != nil {
		t.Fatal(err)
	}
	var missing *onnx.ErrNotImplemented
	if _, _, err = Load(data, Options{}); !errors.As(err, &missing) {
		t.Errorf("unknown operator: got error %v, want an ErrNotImplemented", err)
	}
	if _, _, err = Load([]byte("no model"), Options{}); err == nil {
		t.Error("a file that is no model was decoded")
	}
	b := New(Options{})
	defer b.Close()
	if err := b.Run(); err == nil {
		t.Error("an empty graph ran")
	}
	n, y := b.NewNode().(*Node), (*Node)(nil)
	n.SetName("x")
	b.AddNode(n)
	y = b.NewNode().(*Node)
	y.SetName("y")
	b.AddNode(y)
	b.SetWeightedEdge(b.NewWeightedEdge(y, n, 0))
	if err := b.ApplyOperation(onnx.Operation{Name: "Relu"}, y); err != nil {
		t.Fatal(err)
	}
	if err := b.Run(); err == nil || !strings.Contains(err.Error(), `"x", which Relu reads: has no value`) {
		t.Errorf("input without a value: got error %v", err)
	}
	if err := b.ApplyOperation(onnx.Operation{Name: "Relu"}, y); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a value computed twice: got error %v", err)
	}
	if err := b.Descend(0.1, 0, 0); err == nil {
		t.Error("descended without a step")
	}
}
