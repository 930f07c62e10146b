package graph

import (
	"maps"
	"slices"
)

// Sizes that stand for open dimensions: two of each, so that what follows them can be
// told from what is constant. The first two are taken that a model can be inferred at,
// and of batches the first two at which the same channels go together: a batch that is
// the number of heads by chance is not.
var (
	assumedBatch = [][2]int{{2, 3}, {5, 7}, {11, 13}}
	assumedSizes = [][2]int{{64, 96}, {224, 320}, {512, 640}, {1024, 1280}}
)

// sizes infers the graph at two settings of its open dimensions, or at one where it
// has none.
func (g *Graph) sizes(dims map[string]int, samples [2]int) ([]*Shapes, error) {
	batch, other := map[string]bool{}, map[string]bool{}
	for _, in := range g.Inputs {
		if d, ok := in.BatchDim(); ok && d.Size < 0 {
			batch[d.Symbol] = true
		}
	}
	for _, in := range g.Inputs {
		for _, d := range in.Dims {
			if _, given := dims[d.Symbol]; d.Size < 0 && !given && !batch[d.Symbol] {
				other[d.Symbol] = true
			}
		}
	}
	var first []*Shapes
	for _, size := range assumedSizes {
		all, err := g.sizesAt(dims, batch, other, samples, size)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(all, func(s *Shapes) bool { return len(s.Problems) > 0 }) {
			return all, nil
		}
		if first == nil {
			first = all
		}
		if len(other) == 0 {
			break
		}
	}
	return first, nil
}

func (g *Graph) sizesAt(dims map[string]int, batch, other map[string]bool, samples, size [2]int) ([]*Shapes, error) {
	var all []*Shapes
	for k := range size {
		b := Binding{Dims: map[string]int{}}
		for name := range batch {
			b.Dims[name] = samples[k]
		}
		for name := range other {
			b.Dims[name] = size[k]
		}
		maps.Copy(b.Dims, dims)
		s, err := g.Infer(b)
		if err != nil {
			return nil, err
		}
		s.dims, s.batch = b.Dims, 1
		for _, in := range g.Inputs {
			if d, ok := in.BatchDim(); ok {
				if s.batch = d.Size; s.batch < 0 {
					s.batch = b.Dims[d.Symbol]
				}
				break
			}
		}
		all = append(all, s)
		if len(batch)+len(other) == 0 {
			break
		}
	}
	return all, nil
}
