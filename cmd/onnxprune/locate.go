package main

import (
	"errors"
	"slices"

	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
)

// errFirst ends the batches after the first.
var errFirst = errors.New("first batch done")

// locate names the first node of a whose result b has under the same name and in the
// same shape, and differs by more than the tolerance on the first batch; "" where there
// is none, or where the models cannot be run with all their values as outputs.
func (c *verifyCmd) locate(a, b *graph.Graph, batch int, d *data.Dataset, dims map[string]int, pool *kernel.Pool) string {
	before := [2][]*graph.Value{a.Outputs, b.Outputs}
	defer func() { a.Outputs, b.Outputs = before[0], before[1] }()
	var va, vb []*graph.Value
	for _, n := range a.Nodes {
		for _, x := range n.Out {
			if x == nil {
				continue
			}
			if y := b.Value(x.Name); y != nil && y.Producer != nil && y.Producer.Type == n.Type {
				va, vb = append(va, x), append(vb, y)
			}
		}
	}
	if len(va) == 0 {
		return ""
	}
	a.Outputs, b.Outputs = va, vb
	plan := func(g *graph.Graph, dims map[string]int) (*engine.Plan, error) {
		return engine.Compile(g, engine.NewState(g), engine.Options{Batch: batch, Dims: dims, Pool: pool, NoFusion: true})
	}
	pa, err := plan(a, dims)
	if err != nil {
		return ""
	}
	pb, err := plan(b, alias(a, b, dims))
	if err != nil {
		return ""
	}
	found := ""
	err = c.batches(pa, d, a, func(x *data.Batch) error {
		pa.Feed(x.Inputs, x.Rows)
		pb.Feed(x.Inputs, x.Rows)
		if err := errors.Join(pa.Forward(), pb.Forward()); err != nil {
			return err
		}
		for i, v := range va {
			if !slices.Equal(pa.Outputs[i].Shape, pb.Outputs[i].Shape) || (pa.Outputs[i].F == nil) != (pb.Outputs[i].F == nil) {
				continue
			}
			diff := &difference{}
			diff.add(pa.Outputs[i], pb.Outputs[i], batch, batch)
			if diff.top > c.Tolerance {
				found = v.Producer.String()
				break
			}
		}
		return errFirst
	})
	if err != nil && !errors.Is(err, errFirst) {
		return ""
	}
	return found
}
