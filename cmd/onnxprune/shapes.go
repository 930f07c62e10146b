package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxprune/onnxprune/graph"
)

// Sizes that stand for dimensions the file leaves open: two of each, so that what
// follows them can be told from what is constant.
const (
	sampleSize  = 64
	otherSize   = 96
	sampleBatch = 2
	otherBatch  = 3
)

// symbolic holds the shapes of a model with the batch, and other open dimensions, left
// open.
type symbolic struct {
	// base has the shapes at the sample sizes; nil where an input has no shape.
	base *graph.Shapes
	// batch is the batch size of base.
	batch int
	// assumed are the sizes taken for open dimensions that nobody gave.
	assumed       map[string]int
	otherB, other *graph.Shapes
}

// shapesOf infers g at several sizes and compares.
func shapesOf(g *graph.Graph, dims map[string]int) *symbolic {
	s := &symbolic{assumed: map[string]int{}}
	batch := map[string]bool{}
	for _, in := range g.Inputs {
		if d, ok := in.BatchDim(); ok && d.Size < 0 {
			batch[d.Symbol] = true
		}
	}
	for _, in := range g.Inputs {
		for i, d := range in.Dims {
			if _, given := dims[d.Symbol]; i != in.BatchAxis && d.Size < 0 && !given && !batch[d.Symbol] {
				s.assumed[d.Symbol] = sampleSize
			}
		}
	}
	infer := func(n, open int) *graph.Shapes {
		sizes := map[string]int{}
		for name := range batch {
			sizes[name] = n
		}
		for name := range s.assumed {
			sizes[name] = open
		}
		maps.Copy(sizes, dims)
		if g.FixedBatch() > 0 {
			n = 0
		}
		shapes, err := g.Infer(graph.Binding{Batch: n, Dims: sizes})
		if err != nil {
			return nil
		}
		return shapes
	}
	s.batch = sampleBatch
	if fixed := g.FixedBatch(); fixed > 0 {
		s.batch = fixed
	} else {
		s.otherB = infer(otherBatch, sampleSize)
	}
	s.base = infer(s.batch, sampleSize)
	if len(s.assumed) > 0 {
		s.other = infer(s.batch, otherSize)
	}
	return s
}

// notes says which sizes were assumed.
func (s *symbolic) notes() []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(s.assumed)) {
		all = append(all, fmt.Sprintf("%s=%d", name, s.assumed[name]))
	}
	return all
}

// of returns the dimensions of a value: a number, N for the batch, 2N for what scales
// with it, ? for what depends on other open dimensions; false if nothing is known.
func (s *symbolic) of(v *graph.Value) ([]string, bool) {
	if v == nil || s.base == nil || s.base.Of[v.Index] == nil {
		return nil, false
	}
	t := s.base.Of[v.Index]
	dims := make([]string, t.Rank())
	for i, size := range t.Shape {
		dims[i] = strconv.Itoa(size)
		if !same(s.other, v, i, size, t.Rank()) {
			dims[i] = "?"
		} else if !same(s.otherB, v, i, size, t.Rank()) {
			dims[i] = scaled(size, at(s.otherB, v, i))
		}
	}
	return dims, true
}

// same reports whether dimension i of v is the same in another inference; one that was
// not made agrees.
func same(o *graph.Shapes, v *graph.Value, i, size, rank int) bool {
	if o == nil {
		return true
	}
	t := o.Of[v.Index]
	return t != nil && t.Rank() == rank && t.Shape[i] == size
}

// at is dimension i of v in another inference, -1 where it is not known.
func at(o *graph.Shapes, v *graph.Value, i int) int {
	if t := o.Of[v.Index]; t != nil && i < t.Rank() {
		return t.Shape[i]
	}
	return -1
}

// scaled names a dimension that is size at the sample batch and other at the other.
func scaled(size, other int) string {
	switch {
	case other < 0 || size%sampleBatch != 0 || size/sampleBatch*otherBatch != other:
		return "?"
	case size == sampleBatch:
		return "N"
	}
	return strconv.Itoa(size/sampleBatch) + "N"
}

// macs returns the multiply-adds of a node for one sample.
func (s *symbolic) macs(n *graph.Node) (int64, bool) {
	if s.base == nil {
		return 0, false
	}
	m, ok := s.base.MACs(n)
	return m / int64(s.batch), ok
}

// shapeText writes dimensions as [N,3,32,32].
func shapeText(dims []string, known bool) string {
	if !known {
		return "?"
	}
	return "[" + strings.Join(dims, ",") + "]"
}
