package engine

import (
	"flag"
	"path/filepath"
	"testing"
	"time"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/onnxio"
)

var benchModel = flag.String("model", filepath.Join("..", "testdata", "models", "glyphs_resnet_bn.onnx"), "ONNX file of BenchmarkStep and BenchmarkForward")

// benchPlan compiles a model of one image input for a batch of 64.
func benchPlan(t testing.TB, model string, loss Loss, threads int) (*Plan, *Target) {
	t.Helper()
	m, err := onnxio.Load(model)
	if err != nil {
		t.Fatal(err)
	}
	g, err := graph.New(m, filepath.Base(model))
	if err != nil {
		t.Fatal(err)
	}
	pool := kernel.NewPool(threads)
	t.Cleanup(pool.Close)
	p, err := Compile(g, NewState(g), Options{Batch: 64, Pool: pool, Loss: loss})
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Inputs[0].F {
		p.Inputs[0].F[i] = float32(i%251)/125 - 1
	}
	return p, &Target{Labels: make([]int64, p.Batch)}
}

// BenchmarkStep is a whole training step: forward, loss, backward.
func BenchmarkStep(b *testing.B) {
	p, target := benchPlan(b, *benchModel, CrossEntropy{}, 0)
	best(b, func() error { _, err := p.Step(target); return err })
}

// best reports the shortest run of f, which is what it takes when nothing else
// runs on the machine.
func best(b *testing.B, f func() error) {
	b.ReportAllocs()
	shortest := time.Duration(1 << 62)
	for b.Loop() {
		start := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		shortest = min(shortest, time.Since(start))
	}
	b.ReportMetric(1e3*shortest.Seconds(), "best-ms")
}

func BenchmarkForward(b *testing.B) {
	p, _ := benchPlan(b, *benchModel, nil, 0)
	best(b, p.Forward)
}

// TestStepAllocations checks that steps after the first allocate nothing.
func TestStepAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	for _, name := range []string{"glyphs_resnet_bn", "glyphs_resnet", "tiny_mlp"} {
		p, target := benchPlan(t, filepath.Join("..", "testdata", "models", name+".onnx"), CrossEntropy{}, 2)
		step := func() {
			if _, err := p.Step(target); err != nil {
				t.Fatal(err)
			}
		}
		step()
		if n := testing.AllocsPerRun(10, step); n >= 1 {
			t.Errorf("%s: %v allocations in a step", name, n)
		}
	}
}
