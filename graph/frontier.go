package graph

import (
	"slices"
)

// Frontier returns g with those outputs that show what can be computed of it at a binding:
// its own, and, where nodes cannot be run (custom operators, control flow or sizes that
// depend on data), what these read. until names the first such nodes on every way.
// Branches with a constant condition are taken. There may be no outputs.
func (g *Graph) Frontier(b Binding) (front *Graph, until []string, err error) {
	t, err := g.TakeBranches(b)
	if err != nil {
		return nil, nil, err
	}
	s, err := t.Infer(b)
	if err != nil {
		return nil, nil, err
	}
	c := *t
	c.Outputs = nil
	seen := map[*Value]bool{}
	add := func(x *Value) {
		if x != nil && s.Of[x.Index] != nil && !seen[x] {
			seen[x] = true
			c.Outputs = append(c.Outputs, x)
		}
	}
	for _, x := range t.Outputs {
		add(x)
	}
	for _, n := range t.Nodes {
		if s.Ops[n.Index] != nil || n.Def != nil && n.Def.Name == "Constant" && n.Domain == "" {
			continue
		}
		first := true
		for _, x := range n.In {
			first = first && (x == nil || s.Of[x.Index] != nil)
			if x != nil && (x.Producer != nil && !s.Of[x.Index].IsConst() || slices.Contains(t.Inputs, x)) {
				add(x)
			}
		}
		if first {
			until = append(until, n.String())
		}
	}
	if until != nil {
		// What subgraphs read beside the inputs of their node.
		for _, x := range g.Values {
			if x.Producer != nil && slices.ContainsFunc(x.Uses, func(u Use) bool { return u.Input < 0 }) {
				add(t.Value(x.Name))
			}
		}
	}
	return &c, until, nil
}
