package prune

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Meter measures what a removal comes to where it is not counted: the bytes of the
// written file, or the seconds of a forward pass of one sample in our engine on this
// machine, which depend on what else runs there.
type Meter struct {
	Graph  *graph.Graph
	Groups *graph.Groups
	Dims   map[string]int
	Pool   *kernel.Pool
}

// Forward passes of a latency, of which the median counts, after some that do not:
// latencyRuns at least, more where they take less than latencyTime together.
const (
	latencyRuns   = 15
	latencyMost   = 500
	latencyWarmUp = 3
	latencyTime   = 50 * time.Millisecond
)

// Of returns the function for a quantity; nil for those that are counted.
func (m *Meter) Of(q Quantity) (func(removed [][]bool) (float64, error), error) {
	switch q {
	case OfSize:
		files, err := m.Graph.File.ExternalFiles()
		if err != nil {
			return nil, err
		}
		if len(files) > 0 {
			return nil, fmt.Errorf("%s: --of size counts the bytes of one file, the weights are in others beside it\nhint: --of params counts them", m.Graph.Name)
		}
		return m.size, nil
	case OfLatency:
		return m.latency, nil
	}
	return nil, nil
}

func (m *Meter) cut(removed [][]bool) (*graph.Graph, error) {
	plan, err := m.Groups.Plan(removed)
	if err != nil {
		return nil, err
	}
	return cut(m.Graph, plan, nil)
}

func (m *Meter) size(removed [][]bool) (float64, error) {
	g, err := m.cut(removed)
	if err != nil {
		return 0, err
	}
	return float64(len(g.File.Bytes())), nil
}

func (m *Meter) latency(removed [][]bool) (float64, error) {
	g, err := m.cut(removed)
	if err != nil {
		return 0, err
	}
	p, err := engine.Compile(g, engine.NewState(g), engine.Options{Batch: max(1, g.FixedBatch()), Dims: m.Dims, Pool: m.Pool, Constant: true})
	if err != nil {
		return 0, err
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for _, in := range p.Inputs {
		for i := range in.F {
			in.F[i] = float32(rng.NormFloat64())
		}
	}
	var seconds []float64
	begin := time.Now()
	for i := 0; i < latencyWarmUp+latencyRuns || i < latencyMost && time.Since(begin) < latencyTime; i++ {
		start := time.Now()
		if err := p.Forward(); err != nil {
			return 0, err
		}
		if i >= latencyWarmUp {
			seconds = append(seconds, time.Since(start).Seconds())
		}
	}
	slices.Sort(seconds)
	return seconds[len(seconds)/2], nil
}

// Samples fills the inputs of plans with the first rows of a dataset.
func Samples(d *data.Dataset) func(p *engine.Plan) error {
	return func(p *engine.Plan) error {
		batches, err := d.Batches(data.BatchOptions{Size: p.Batch, Augment: data.AugmentNone})
		if err != nil {
			return err
		}
		defer batches.Close()
		b, err := batches.Next()
		if errors.Is(err, io.EOF) {
			return errors.New("the dataset has no rows")
		}
		if err != nil {
			return err
		}
		defer b.Release()
		p.Feed(b.Inputs, b.Rows)
		return nil
	}
}
