package engine

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

// TestInterpreterOnModels compares plans of real models with the interpreter.
func TestInterpreterOnModels(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	ran := 0
	for _, pattern := range []string{"../testdata/models/*.onnx", "../../shared/zoo/*.onnx"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if len(paths) == 0 {
			t.Logf("%s: no model there, not tested", pattern)
		}
		for _, path := range paths {
			m, err := onnxio.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			g, err := graph.New(m, filepath.Base(path))
			if err != nil {
				t.Fatal(err)
			}
			opt := Options{Batch: max(1, g.FixedBatch()), Dims: map[string]int{"height": 32, "width": 32, "sequence": 224}, Pool: pool}
			p, err := Compile(g, NewState(g), opt)
			if err != nil {
				if _, other := NewInterpreter(g, NewState(g), opt); other == nil || other.Error() != err.Error() {
					t.Errorf("%s: the plan's error is %v, the interpreter's %v", path, err, other)
				}
				continue
			}
			if p.MACs() > 1e8 {
				continue
			}
			ran++
			t.Run(strings.TrimSuffix(g.Name, ".onnx"), func(t *testing.T) {
				var in []*op.Array
				for k, x := range p.Inputs {
					for i := range x.F {
						x.F[i] = float32(math.Sin(float64(7*i + k)))
					}
					for i := range x.I {
						x.I[i] = int64(i % 2)
					}
					in = append(in, NewArray(x))
				}
				if err := p.Forward(); err != nil {
					t.Fatal(err)
				}
				r, err := NewInterpreter(g, NewState(g), opt)
				if err != nil {
					t.Fatal(err)
				}
				out, err := r.Run(in)
				if err != nil {
					t.Fatal(err)
				}
				for i, y := range p.Outputs {
					largest, top := 1e-30, 0.0
					for k, v := range NewArray(y).V {
						largest = math.Max(largest, math.Abs(v))
						if d := math.Abs(v - out[i].V[k]); d > top || math.IsNaN(d) {
							top = d
						}
					}
					if !(top <= 2e-5*largest) {
						t.Errorf("output %d: differs by %g of its largest value", i, top/largest)
					}
				}
			})
		}
	}
	if ran < 10 {
		t.Errorf("only %d models were run", ran)
	}
}

// TestInterpreterRefuses: a reference that cannot do with a node is an error that names
// the node.
func TestInterpreterRefuses(t *testing.T) {
	m, err := onnxio.Load("../testdata/models/tiny_mlp.onnx")
	if err != nil {
		t.Fatal(err)
	}
	g, err := graph.New(m, "tiny_mlp.onnx")
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewInterpreter(g, NewState(g), Options{Batch: 2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Run([]*op.Array{op.NewArray(2)}); err == nil || !strings.Contains(err.Error(), "tiny_mlp.onnx: node ") {
		t.Errorf("the error is %v", err)
	}
}
