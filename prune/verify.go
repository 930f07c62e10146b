package prune

import (
	"fmt"
	"slices"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/op"
)

// Pattern is what was found of an N:M pattern in a model.
type Pattern struct {
	// Tensors hold Groups groups of M neighbours, the last of an axis may be shorter.
	Tensors, Groups int
}

// CheckPattern reads the weights of g, with the masks that the file applies, and
// returns an error for the first group of M neighbours along the input axis that has
// more than N weights other than zero. Only the named initializers are looked at.
func CheckPattern(g *graph.Graph, s Structure, names []string) (Pattern, error) {
	var p Pattern
	for _, w := range g.Weights() {
		if !slices.Contains(names, w.Value.Name) {
			continue
		}
		_, in, ok := w.Axes()
		if !ok {
			return p, fmt.Errorf("%s: initializer %q: nodes read it along different axes, or reshaped", g.Name, w.Value.Name)
		}
		p.Tensors++
		t := w.Value.Init
		length, inner := t.Shape[in], op.Size(t.Shape[in+1:])
		for o := range op.Size(t.Shape[:in]) {
			for c := range inner {
				for lo := 0; lo < length; lo += s.M {
					p.Groups++
					n := 0
					for k := lo; k < min(length, lo+s.M); k++ {
						at := (o*length+k)*inner + c
						if t.F[at] != 0 && (w.Value.Mask == nil || w.Value.Mask.Keep[at]) {
							n++
						}
					}
					if n > s.N {
						return p, fmt.Errorf("%s: initializer %q: %d of the group of %d at element %d are not zero, --structure %s wants at most %d", g.Name, w.Value.Name, n, s.M, (o*length+lo)*inner+c, s, s.N)
					}
				}
			}
		}
	}
	return p, nil
}
