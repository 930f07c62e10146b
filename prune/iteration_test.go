package prune

import (
	"flag"
	"fmt"
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

// iteration is BiP on the model of the flags with a batch of made-up samples, at rates that change next to
// nothing.
func iteration(b *testing.B, pool *kernel.Pool, ratio float64) (*BiP, *data.Batch) {
	m, err := onnxio.Load(*iterationModel)
	if err != nil {
		b.Fatal(err)
	}
	g, err := graph.New(m, filepath.Base(*iterationModel))
	if err != nil {
		b.Fatal(err)
	}
	t := &Trainer{Graph: g, State: engine.NewState(g), Pool: pool, Config: config(), steps: 1 << 20}
	t.Config.LR, t.Config.MaskLR, t.Config.BothBatches, t.Config.Ratio = 1e-5, 1e-5, true, ratio
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
	return NewBiP(t), batch
}

func timed(b *testing.B, steps ...func(*data.Batch) (float64, error)) func(*data.Batch) float64 {
	return func(batch *data.Batch) float64 {
		start := time.Now()
		for _, step := range steps {
			if _, err := step(batch); err != nil {
				b.Fatal(err)
			}
		}
		return time.Since(start).Seconds()
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// BenchmarkIteration times plain training steps and BiP iterations in turn. It reports
// the median ratio of an iteration to the plain step before it, and the share of
// an iteration that the selection of weights takes.
func BenchmarkIteration(b *testing.B) {
	pool := kernel.NewPool(0)
	defer pool.Close()
	bip, batch := iteration(b, pool, 0.8)
	plain, whole := timed(b, bip.t.lower), timed(b, bip.t.lower, bip.upper)
	selecting := timed(b, func(*data.Batch) (float64, error) {
		bip.to.project(bip.scores, bip.t.Masks.masks())
		return 0, nil
	})
	var ratios, shares []float64
	for b.Loop() {
		p, w := plain(batch), whole(batch)
		ratios, shares = append(ratios, w/p), append(shares, selecting(batch)/w)
	}
	b.ReportMetric(median(ratios), "steps/iteration")
	b.ReportMetric(100*median(shares), "%selection")
}

// BenchmarkRatios times BiP iterations at ratios from 0.5 to 0.98 in turn. It reports the
// median time at each as a fraction of the mean of its round, and the largest of these by the smallest.
func BenchmarkRatios(b *testing.B) {
	pool := kernel.NewPool(0)
	defer pool.Close()
	ratios := []float64{0.5, 0.8, 0.9, 0.95, 0.98}
	var steps []func() float64
	for _, ratio := range ratios {
		bip, batch := iteration(b, pool, ratio)
		whole := timed(b, bip.t.lower, bip.upper)
		steps = append(steps, func() float64 { return whole(batch) })
	}
	times := make([][]float64, len(ratios))
	for round := 0; b.Loop(); round++ {
		took := make([]float64, len(ratios))
		sum := 0.0
		for i := range steps {
			k := (i + round) % len(steps)
			took[k] = steps[k]()
			sum += took[k] / float64(len(steps))
		}
		for k := range took {
			times[k] = append(times[k], took[k]/sum)
		}
	}
	var medians []float64
	for k, ratio := range ratios {
		medians = append(medians, median(times[k]))
		b.ReportMetric(medians[k], fmt.Sprintf("at%g", ratio))
	}
	b.ReportMetric(slices.Max(medians)/slices.Min(medians), "slowest/fastest")
}
