package main

import (
	"fmt"
	"math"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
)

// batchRemarks say where inputs have the batch, for those that have it elsewhere than on axis 0.
func batchRemarks(g *graph.Graph) []string {
	var lines []string
	for _, v := range g.Inputs {
		switch {
		case v.BatchAxis < 0 && len(v.Dims) > 0:
			lines = append(lines, fmt.Sprintf("input %s is taken for one sample without an axis for the batch", v.Name))
		case v.BatchAxis > 0:
			lines = append(lines, fmt.Sprintf("the batch of input %s is its axis %d", v.Name, v.BatchAxis))
		}
	}
	return lines
}

// sayMixed warns where the rows of the batch that the file fixes depend on each other: then axis 0 may be something
// else, as the sequence of a transformer that was exported with one sample. Nothing in such a file tells.
func sayMixed(con *console, g *graph.Graph, dims map[string]int, pool *kernel.Pool) {
	mixed, err := mixesRows(g, dims, pool)
	if err != nil || !mixed {
		return // what cannot be run is reported where it is run
	}
	in := g.Inputs[0]
	for _, v := range g.Inputs {
		if d, ok := v.BatchDim(); ok && d.Size > 1 {
			in = v
			break
		}
	}
	fmt.Fprintf(con.err, "the %d rows on axis %d of input %q are taken for samples, but depend on each other\n", g.FixedBatch(), in.BatchAxis, in.Name)
	fmt.Fprintf(con.err, "hint: if another axis is the batch, say so in the file: dynamic_axes={%q: {1: \"batch\"}} at export, for axis 1\n", in.Name)
}

// mixesRows reports whether a row of what a model with a fixed batch computes changes with another row of its inputs.
func mixesRows(g *graph.Graph, dims map[string]int, pool *kernel.Pool) (bool, error) {
	own := g.FixedBatch()
	if own < 2 {
		return false, nil
	}
	p, err := compile(g, own, dims, pool)
	if err != nil {
		return false, err
	}
	x, err := randomBatch(p, g, 0, 1)
	if err != nil {
		return false, err
	}
	other, err := randomBatch(p, g, 0, 2)
	if err != nil {
		return false, err
	}
	p.Feed(x.Inputs, own)
	if err := p.Forward(); err != nil {
		return false, err
	}
	var before [][]float32
	for _, y := range p.Outputs {
		before = append(before, append([]float32(nil), y.F...))
	}
	for k, in := range x.Inputs {
		if g.Inputs[k].BatchAxis < 0 {
			continue // all rows have it in common
		}
		copy(in[:len(in)/own], other.Inputs[k])
	}
	p.Feed(x.Inputs, own)
	if err := p.Forward(); err != nil {
		return false, err
	}
	for k, y := range p.Outputs {
		if y.Rank() == 0 || y.Shape[0] != own {
			continue
		}
		for i := len(y.F) / own; i < len(y.F); i++ {
			if math.Float32bits(y.F[i]) != math.Float32bits(before[k][i]) {
				return true, nil
			}
		}
	}
	return false, nil
}
