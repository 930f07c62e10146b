package prune

import (
	"flag"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/onnxio"
)

var (
	iterationModel = flag.String("model", filepath.Join("..", "testdata", "models", "glyphs_resnet_bn.onnx"), "ONNX file of BenchmarkIteration")
	iterationBatch = flag.Int("batch", 64, "batch size of BenchmarkIteration")
)

// BenchmarkIteration times plain training steps and BiP iterations in turn. It reports
// the median ratio of an iteration to the plain step before it, and the share of
// an iteration that the selection of weights takes.
func BenchmarkIteration(b *testing.B) {
	m, err := onnxio.Load(*iterationModel)
	if err != nil {
		b.Fatal(err)
	}
	g, err := graph.New(m, filepath.Base(*iterationModel))
	if err != nil {
		b.Fatal(err)
	}
	pool := kernel.NewPool(0)
	defer pool.Close()
	t := &Trainer{Graph: g, State: engine.NewState(g), Pool: pool, Config: config(), steps: 1 << 20}
	t.Config.LR, t.Config.MaskLR, t.Config.BothBatches = 1e-5, 1e-5, true
	if t.Masks, err = NewMasks(g, t.State, nil); err != nil {
		b.Fatal(err)
	}
	if t.plan, err = engine.Compile(g, t.State, engine.Options{Batch: *iterationBatch, Loss: engine.CrossEntropy{}, Pool: pool}); err != nil {
		b.Fatal(err)
	}
	t.sgd = NewSGD(pool, t.plan, t.State, t.Masks)
	batch := &data.Batch{Rows: *iterationBatch, Labels: make([]int64, *iterationBatch)}
	for _, in := range t.plan.Inputs {
		x := make([]float32, in.Size())
		for i := range x {
			x[i] = float32(i%251)/125 - 1
		}
		batch.Inputs = append(batch.Inputs, x)
	}
	bip := NewBiP(t)
	lower := func() {
		if _, err := t.gradients(batch); err != nil {
			b.Fatal(err)
		}
		t.descend()
	}
	timed := func(f func()) float64 {
		start := time.Now()
		f()
		return time.Since(start).Seconds()
	}
	var ratios, shares []float64
	for b.Loop() {
		plain := timed(lower)
		whole := timed(func() {
			lower()
			if _, err := bip.upper(batch); err != nil {
				b.Fatal(err)
			}
		})
		selecting := timed(func() { bip.to.project(bip.scores, t.Masks.masks()) })
		ratios, shares = append(ratios, whole/plain), append(shares, selecting/whole)
	}
	slices.Sort(ratios)
	slices.Sort(shares)
	b.ReportMetric(ratios[len(ratios)/2], "steps/iteration")
	b.ReportMetric(100*shares[len(shares)/2], "%selection")
}
