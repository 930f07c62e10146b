package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/report"
)

// computing are the flags of commands that run a model.
type computing struct {
	Dim     map[string]int `help:"Size of a symbolic dimension that neither file nor data fix, repeatable." placeholder:"NAME=SIZE"`
	Threads int            `help:"Threads to compute with (default: the number of CPUs). Results do not depend on it." placeholder:"N"`
}

// check refuses sizes that are none.
func (c *computing) check() error {
	if c.Threads < 0 || c.Threads > 4096 {
		return fmt.Errorf("--threads is %d, wants 1 to 4096", c.Threads)
	}
	return checkDims(c.Dim)
}

func checkDims(dims map[string]int) error {
	for _, name := range slices.Sorted(maps.Keys(dims)) {
		if size := dims[name]; size < 1 || size > math.MaxInt32 {
			return fmt.Errorf("--dim %s=%d: wants a size of at least 1", name, size)
		}
	}
	return nil
}

func (c *computing) pool() *kernel.Pool {
	if c.Threads == 0 {
		return kernel.NewPool(runtime.GOMAXPROCS(0))
	}
	return kernel.NewPool(c.Threads)
}

// load reads a model, and opens the functions that it defines.
func load(path string) (*graph.Graph, error) {
	return read(path, graph.New)
}

func read(path string, parse func(*onnxio.Model, string) (*graph.Graph, error)) (*graph.Graph, error) {
	m, err := onnxio.Load(path)
	if err != nil {
		return nil, err
	}
	opened, err := m.Inline()
	if err != nil {
		return nil, err
	}
	g, err := parse(m, path)
	if err == nil {
		g.Inlined = opened
	}
	return g, err
}

// sayInlined tells of functions that are nodes now.
func sayInlined(con *console, g *graph.Graph) {
	if n := g.Inlined; n.Calls > 0 {
		fmt.Fprintf(con.err, "inlined: %s of %s that the file defines\n", plural(n.Calls, "call"), plural(n.Functions, "function"))
	}
}

// loadUntied reads a model as it is trained and cut: see [graph.Graph.Untie].
func loadUntied(path string) (*graph.Graph, error) {
	g, err := load(path)
	if err != nil {
		return nil, err
	}
	return g.Untie()
}

// sayUntied tells of parameters that layers got back.
func sayUntied(con *console, g *graph.Graph) {
	if n := len(g.Untied); n > 0 {
		elements, _ := g.UntiedElements()
		fmt.Fprintf(con.err, "untied: %s of equal numbers that the exporter had merged, %s elements; every layer has its own again\n", plural(n, "vector"), report.Count(elements))
	}
}

// frugal collects garbage often, for commands that make little of it beside the file they read.
func frugal() { debug.SetGCPercent(25) }

// outline reads a model without the elements of large initializers.
func outline(path string) (*graph.Graph, error) {
	frugal()
	return read(path, graph.Outline)
}

// declared reports every name in dims that no input of g declares. The batch axis is
// no such dimension.
func declared(g *graph.Graph, dims map[string]int) error {
	known := map[string]bool{}
	for _, in := range g.Inputs {
		for i, d := range in.Dims {
			if i > 0 && d.Size < 0 {
				known[d.Symbol] = true
			}
		}
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(dims)) {
		if !known[name] {
			errs = append(errs, fmt.Errorf("%s: --dim %s: no input has an open dimension of that name besides the batch, there are %q", g.Name, name, slices.Sorted(maps.Keys(known))))
		}
	}
	return errors.Join(errs...)
}

// unsupported names every node whose operator is not known. Whether an If can be run is
// known only when the plan is made.
func unsupported(g *graph.Graph) error {
	var errs []error
	for _, n := range g.Nodes {
		if n.Def == nil && n.Operator() != "If" {
			errs = append(errs, fmt.Errorf("%s: %s: the operator is not supported", g.Name, n))
		}
	}
	return errors.Join(errs...)
}

// sizeOf counts the model as its file and its masks have it. Multiply-adds are those of
// one sample at the given dims.
func sizeOf(g *graph.Graph, dims map[string]int) report.Size {
	nonzero := int64(0)
	for _, v := range g.Initializers() {
		nonzero += nonzeros(v)
	}
	copies, some := g.UntiedElements()
	return report.NewSize(g.Params()-copies, nonzero-some, sampleMACs(g, dims))
}

// nonzeros counts the elements of a float initializer that are neither zero nor masked.
func nonzeros(v *graph.Value) int64 {
	n := int64(0)
	for i, x := range v.Init.F {
		if x != 0 && (v.Mask == nil || v.Mask.Keep[i]) {
			n++
		}
	}
	return n
}

// nonzerosOf is nonzeros for an initializer whose elements are in memory or only in the file.
func nonzerosOf(g *graph.Graph, v *graph.Value) (int64, error) {
	nonzero, _, err := sizesOf(g, v)
	return nonzero, err
}

// sizesOf counts the elements that nonzerosOf does, and those of them that are subnormal as float32: of magnitude
// below 2⁻¹²⁶.
func sizesOf(g *graph.Graph, v *graph.Value) (nonzero, subnormal int64, err error) {
	const normal = 1 << 23
	at := 0
	count := func(key uint32) {
		if key != 0 && (v.Mask == nil || v.Mask.Keep[at]) {
			nonzero++
			if key < normal {
				subnormal++
			}
		}
		at++
	}
	if v.Init.F != nil {
		for _, x := range v.Init.F {
			count(math.Float32bits(x) &^ (1 << 31))
		}
		return nonzero, subnormal, nil
	}
	err = g.File.EachMagnitude(v.Name, func(keys []uint32) {
		for _, key := range keys {
			count(key)
		}
	})
	return nonzero, subnormal, err
}

// sampleMACs is nil where a shape is not known.
func sampleMACs(g *graph.Graph, dims map[string]int) *int64 {
	batch := max(1, g.FixedBatch())
	shapes, err := g.Infer(graph.Binding{Batch: batch, Dims: dims})
	if err != nil || len(shapes.Unknown) > 0 || len(shapes.Problems) > 0 {
		return nil
	}
	total := int64(0)
	for _, n := range g.Nodes {
		macs, ok := shapes.MACs(n)
		if !ok {
			return nil
		}
		total += macs
	}
	total /= int64(batch)
	return &total
}

// logits is the shape of output 0 for one sample, without the batch axis; false where
// it is not known.
func logits(g *graph.Graph, dims map[string]int) ([]int, bool) {
	if free, err := g.FreeBatch(dims); err == nil {
		g = free
	}
	shapes, err := g.Infer(graph.Binding{Batch: max(1, g.FixedBatch()), Dims: dims})
	if err != nil {
		return nil, false
	}
	t := shapes.Of[g.Outputs[0].Index]
	if t == nil || t.Rank() == 0 {
		return nil, false
	}
	return t.Shape[1:], true
}

// compile plans a forward pass with values of its own.
func compile(g *graph.Graph, batch int, dims map[string]int, pool *kernel.Pool) (*engine.Plan, error) {
	return engine.Compile(g, engine.NewState(g), engine.Options{Batch: batch, Dims: dims, Pool: pool, Constant: true})
}

// batchSize is the given number of samples of a step, by default n, or what the file is bound to.
func batchSize(given *int, g *graph.Graph, dims map[string]int, n int) int {
	if given != nil {
		return *given
	}
	return g.BatchSize(dims, n)
}
