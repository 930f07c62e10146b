package main

import (
	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/graph"
)

// trains reports whether there is something to train on: data, or made-up inputs with the
// unpruned model's outputs.
func (c *pruneCmd) trains() bool { return c.Data != "" || c.Distill.set }

// Made-up data take up to generatedBytes, in so many samples.
const (
	generatedBytes = 64 << 20
	fewestMade     = 128
	mostMade       = 4096
)

// generate makes inputs up to learn the unpruned model's outputs on, and further ones to
// measure each epoch on where there is no --val. Normalisations keep their running
// statistics, which made-up inputs do not have. Dimensions that nothing fixes get the
// sizes that the analysis of channels assumes.
func (c *pruneCmd) generate(g *graph.Graph, s *sources, dims map[string]int) error {
	c.FreezeNorm = true
	inputs, err := specs(g, dims)
	if err != nil {
		return err
	}
	size := func() (elems int, open bool) {
		for _, in := range inputs {
			n := 1
			for _, d := range in.Shape {
				open = open || d < 0
				n *= d
			}
			elems += n
		}
		return elems, open
	}
	elems, open := size()
	if open {
		groups, err := g.Groups(dims)
		if err != nil {
			return err
		}
		for _, in := range g.Inputs {
			for _, d := range in.Row() {
				if n, ok := groups.Dims[d.Symbol]; ok && d.Size < 0 {
					dims[d.Symbol] = n
				}
			}
		}
		if inputs, err = specs(g, dims); err != nil {
			return err
		}
		elems, _ = size()
	}
	rows := min(mostMade, max(fewestMade, generatedBytes/(4*max(1, elems))))
	if s.train, err = data.Generated(inputs, rows, c.Seed); err != nil {
		return err
	}
	if c.Val == "" {
		s.val, err = data.Generated(inputs, max(fewestMade/2, rows/8), ^c.Seed)
	}
	return err
}
