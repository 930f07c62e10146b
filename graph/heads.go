package graph

import (
	"errors"
	"fmt"
	"slices"
)

// Heads returns g with other outputs: the values of those names, or the first results of the
// nodes of those names, in their order. Nothing else is computed by a plan of it. Nodes and
// values are those of g. The error lists all names that name nothing a node computes.
func (g *Graph) Heads(names []string) (*Graph, error) {
	c := *g
	c.Outputs = nil
	named := map[*Value]bool{}
	var errs []error
	for _, name := range names {
		v := g.byName[name]
		if v == nil {
			if i := slices.IndexFunc(g.Nodes, func(n *Node) bool { return n.Name == name && len(n.Out) > 0 }); i >= 0 {
				v = g.Nodes[i].Out[0]
			}
		}
		switch {
		case v == nil:
			errs = append(errs, fmt.Errorf("%s: no output, value or node %q", g.Name, name))
		case v.Producer == nil && !g.isOutput(v):
			errs = append(errs, fmt.Errorf("%s: %q is no result of a node", g.Name, name))
		case named[v]:
			errs = append(errs, fmt.Errorf("%s: %q is named twice", g.Name, name))
		default:
			named[v] = true
			c.Outputs = append(c.Outputs, v)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return &c, nil
}

// SameOutputs is g with the outputs that o has, by name; o is g before an edit that keeps
// names.
func (g *Graph) SameOutputs(o *Graph) (*Graph, error) {
	same := len(g.Outputs) == len(o.Outputs)
	names := make([]string, len(o.Outputs))
	for i, v := range o.Outputs {
		names[i] = v.Name
		same = same && g.Outputs[i].Name == v.Name
	}
	if same {
		return g, nil
	}
	return g.Heads(names)
}

// WithOutputs is g with further values among its outputs.
func (g *Graph) WithOutputs(vs ...*Value) *Graph {
	c := *g
	c.Outputs = append(slices.Clip(g.Outputs), vs...)
	return &c
}
