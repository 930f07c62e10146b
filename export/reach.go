package export

import (
	"errors"
	"fmt"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/onnxio"
)

// runnable reads the masked model and sets what is to be compared: its outputs, and,
// where nodes cannot be run, what these read. Such nodes freeze all that they touch, and so
// does every node that reads of what they give: behind them both models are the same file,
// and compute the same from the same values. until names the first of them.
func (v *prover) runnable() (g *graph.Graph, until []string, err error) {
	file, err := graph.New(v.masked, v.masked.Name())
	if err != nil {
		return nil, nil, err
	}
	if g, until, err = file.Frontier(graph.Binding{Batch: v.groups.Batch, Dims: v.groups.Dims}); err != nil {
		return nil, nil, err
	}
	v.outputs = nil
	for _, x := range g.Outputs {
		v.outputs = append(v.outputs, x.Name)
	}
	if len(v.outputs) == 0 {
		return nil, nil, errors.New("no value of it can be computed")
	}
	return g, until, nil
}

// read reads a model up to the values that are compared.
func (v *prover) read(m *onnxio.Model) (*graph.Graph, error) {
	g, err := graph.New(m, m.Name())
	if err != nil {
		return nil, err
	}
	b := graph.Binding{Batch: v.groups.Batch, Dims: v.groups.Dims}
	if g, err = g.TakeBranches(b); err != nil {
		return nil, err
	}
	return g, v.end(g)
}

// end makes the values that are compared the outputs of a graph.
func (v *prover) end(g *graph.Graph) error {
	g.Outputs = nil
	for _, name := range v.outputs {
		x := g.Value(name)
		if x == nil {
			return fmt.Errorf("value %q is missing", name)
		}
		g.Outputs = append(g.Outputs, x)
	}
	return nil
}

// shapes checks that nothing in the pruned model contradicts itself that did not in the
// masked one.
func (v *prover) shapes() error {
	var found [2][]error
	for i, m := range []*onnxio.Model{v.masked, v.pruned} {
		g, err := graph.New(m, m.Name())
		if err != nil {
			return err
		}
		s, err := g.Infer(graph.Binding{Dims: v.groups.Dims})
		if err != nil {
			return err
		}
		found[i] = s.Problems
	}
	if len(found[1]) > len(found[0]) {
		return errors.Join(found[1]...)
	}
	return nil
}
