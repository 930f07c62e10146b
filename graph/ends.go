package graph

import "slices"

// Ends are the values to learn from where outputs cannot be run, as those of detectors that
// select boxes within the graph: what the last nodes with prunable weights compute on every
// way to such an output, what nodes read that cannot be run and have such weights behind
// them, and before these the outputs that can be run. lost are the outputs that cannot be;
// without any there are no ends. All are floating-point results that depend on prunable
// weights. Open dimensions that dims does not give get the sizes that the analysis of
// channels assumes.
func (g *Graph) Ends(dims map[string]int) (ends, lost []*Value, err error) {
	sizes, err := g.sizes(dims, assumedBatch[0])
	if err != nil {
		return nil, nil, err
	}
	b := Binding{Batch: sizes[0].batch, Dims: sizes[0].dims}
	t, err := g.TakeBranches(b)
	if err != nil {
		return nil, nil, err
	}
	s, err := t.Infer(b)
	if err != nil {
		return nil, nil, err
	}
	r := newReach(t, s)
	seen := map[*Value]bool{}
	add := func(v *Value) {
		if x := g.byName[v.Name]; r.learned[v] && x != nil && x.Producer != nil && !seen[x] {
			seen[x] = true
			ends = append(ends, x)
		}
	}
	for _, v := range t.Outputs {
		if s.Of[v.Index] == nil {
			lost = append(lost, g.byName[v.Name])
		} else {
			add(v)
		}
	}
	if len(lost) == 0 {
		return nil, nil, nil
	}
	for _, n := range t.Nodes {
		for _, v := range n.Out {
			if v != nil && (r.read[v] || r.weighted[n] && !r.covered[v]) {
				add(v)
			}
		}
	}
	return ends, lost, nil
}

// reach says how values and nodes lie to nodes with prunable weights.
type reach struct {
	s        *Shapes
	weighted map[*Node]bool
	// learned are floating-point results that can be computed and depend on such weights.
	learned map[*Value]bool
	// read are those of them that nodes read that cannot be run and have such weights behind them.
	read map[*Value]bool
	// covered are values from which nodes that can be run lead to such a weight, to an
	// output, or to a value in read.
	covered map[*Value]bool
	// behind are nodes that are, or have behind them, nodes with such weights that cannot be run.
	behind map[*Node]bool
}

func newReach(g *Graph, s *Shapes) *reach {
	r := &reach{s: s, weighted: map[*Node]bool{}, learned: map[*Value]bool{}, read: map[*Value]bool{}, covered: map[*Value]bool{}, behind: map[*Node]bool{}}
	for _, w := range g.Weights() {
		for _, n := range w.Nodes {
			r.weighted[n] = true
		}
	}
	depends, output := map[*Value]bool{}, map[*Value]bool{}
	for _, v := range g.Outputs {
		output[v] = true
	}
	for _, n := range g.Nodes {
		from := r.weighted[n] || slices.ContainsFunc(n.In, func(v *Value) bool { return depends[v] })
		for _, v := range n.Out {
			if v == nil {
				continue
			}
			depends[v] = from
			t := s.Of[v.Index]
			r.learned[v] = from && t != nil && t.Type.IsFloat() && !t.IsConst()
		}
	}
	for _, n := range slices.Backward(g.Nodes) {
		r.behind[n] = r.weighted[n] && !r.runs(n)
		for _, v := range n.Out {
			if v == nil {
				continue
			}
			for _, u := range v.Uses {
				r.behind[n] = r.behind[n] || r.behind[u.Node]
				switch {
				case !r.runs(u.Node):
					r.read[v] = r.read[v] || r.behind[u.Node]
				case r.weighted[u.Node] || slices.ContainsFunc(u.Node.Out, func(x *Value) bool { return x != nil && (r.covered[x] || r.read[x] && r.learned[x] || output[x]) }):
					r.covered[v] = true
				}
			}
		}
	}
	return r
}

// runs reports whether all that a node needs is known and it can be run.
func (r *reach) runs(n *Node) bool { return r.s.Ops[n.Index] != nil }
