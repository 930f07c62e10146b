package graph

import (
	"fmt"
	"slices"
	"sort"

	"github.com/onnxprune/onnxprune/onnxio"
)

// Normed is a Conv that BatchNormalization can stand behind, and the initializers of
// one that does. All names are of the graph; y [N,O,…] is what the Conv computes.
type Normed struct {
	Node *Node
	// Weight [O,C/G,…] and Bias [O] belong to this Conv alone.
	Weight, Bias *Value
	// Scale, Shift, Mean and Variance [O] are initializers that [Graph.AddNorms] makes.
	Scale, Shift, Mean, Variance string
}

// Normable lists the Convs that have weights and a bias of their own, as folding
// BatchNormalization leaves them, and feed other prunable weights: heads are left out.
func (g *Graph) Normable() []Normed {
	behind := g.beforeWeights()
	var out []Normed
	for _, n := range g.Nodes {
		if n.Domain != "" || n.Type != "Conv" || n.proto < 0 || len(n.In) < 3 || len(n.Out) != 1 || n.Out[0] == nil {
			continue
		}
		w, b, y := n.In[1], n.In[2], n.Out[0]
		if !own(w) || !own(b) || b.Mask != nil || w.Init.Rank() < 3 || len(b.Init.F) != w.Init.Shape[0] || w.Init.Size() == 0 {
			continue
		}
		if g.isOutput(y) || inSubgraph(y) || !behind[n.Index] || slices.ContainsFunc(y.Uses, func(u Use) bool { return normalises(u.Node) }) {
			continue
		}
		name := func(s string) string { return w.Name + ".norm." + s }
		c := Normed{Node: n, Weight: w, Bias: b, Scale: name("scale"), Shift: name("shift"), Mean: name("mean"), Variance: name("variance")}
		if slices.ContainsFunc([]string{c.Scale, c.Shift, c.Mean, c.Variance, y.Name + normSuffix}, func(s string) bool { return g.byName[s] != nil }) {
			continue
		}
		out = append(out, c)
	}
	return out
}

// own reports a float initializer with one reader.
func own(v *Value) bool {
	return v != nil && v.FromInit && v.Init.F != nil && v.Init.Type.IsFloat() && len(v.Uses) == 1
}

// beforeWeights marks the nodes whose results reach a prunable weight's node.
func (g *Graph) beforeWeights() []bool {
	weighted := map[*Node]bool{}
	for _, w := range g.Weights() {
		for _, n := range w.Nodes {
			weighted[n] = true
		}
	}
	return g.before(func(n *Node) bool { return weighted[n] })
}

// before marks the nodes whose results reach a node of a kind.
func (g *Graph) before(kind func(*Node) bool) []bool {
	before := make([]bool, len(g.Nodes))
	for _, n := range slices.Backward(g.Nodes) {
		for _, v := range n.Out {
			before[n.Index] = before[n.Index] || v != nil && slices.ContainsFunc(v.Uses, func(u Use) bool { return before[u.Node.Index] || kind(u.Node) })
		}
	}
	return before
}

// Normalised reports whether the graph normalises anything as it runs: with an operator
// for it, or by dividing by a square root that depends on data.
func (g *Graph) Normalised() bool {
	return slices.ContainsFunc(g.Nodes, func(n *Node) bool {
		return normalises(n) || n.Domain == "" && n.Type == "Sqrt" && len(n.In) > 0 && n.In[0] != nil && !n.In[0].FromInit
	})
}

func normalises(n *Node) bool {
	switch n.Type {
	case "BatchNormalization", "InstanceNormalization", "GroupNormalization", "LayerNormalization",
		"RMSNormalization", "MeanVarianceNormalization", "LpNormalization", "LRN":
		return true
	}
	return false
}

const normSuffix = ".norm"

// AddNorms returns a graph, of a copy of the file, with BatchNormalization (ε 1e-5,
// momentum 0.9) behind the given Convs of g, which lose their biases. values, by name, are
// what initializers hold from now on: those that are new, and any other.
func (g *Graph) AddNorms(convs []Normed, values map[string][]float32) (*Graph, error) {
	if g.Opsets[""] < 7 {
		return nil, fmt.Errorf("%s: BatchNormalization can be put in from opset 7 on, the file has %d", g.Name, g.Opsets[""])
	}
	m, err := g.File.Clone()
	if err != nil {
		return nil, err
	}
	for _, c := range convs {
		y := c.Node.Out[0]
		for _, u := range y.Uses {
			if err := m.SetNodeInput(u.Node.proto, u.Input, y.Name+normSuffix); err != nil {
				return nil, err
			}
		}
		if err := m.SetNodeInput(c.Node.proto, 2, ""); err != nil {
			return nil, err
		}
		for _, name := range []string{c.Scale, c.Shift, c.Mean, c.Variance} {
			if err := m.AddInitializer(onnxio.NewFloatTensor(name, []int{len(values[name])}, values[name])); err != nil {
				return nil, err
			}
		}
	}
	last := slices.Clone(convs)
	sort.SliceStable(last, func(i, j int) bool { return last[i].Node.proto > last[j].Node.proto })
	for _, c := range last {
		y := c.Node.Out[0].Name
		kind, title := "BatchNormalization", c.Node.Title()+normSuffix
		n := &onnxio.NodeProto{OpType: &kind, Name: &title, Input: []string{y, c.Scale, c.Shift, c.Mean, c.Variance}, Output: []string{y + normSuffix}}
		if err := m.InsertNode(c.Node.proto+1, n); err != nil {
			return nil, err
		}
	}
	for _, v := range g.Initializers() {
		if x := values[v.Name]; x != nil {
			if err := m.SetTensor(v.Name, x); err != nil {
				return nil, err
			}
		}
	}
	normed, err := New(m, g.Name)
	if err != nil {
		return nil, err
	}
	return normed.SameOutputs(g)
}

// Match returns an error unless the units of gs are those of o, one by one and in the same
// order, on all initializers that both graphs have units on.
func (gs *Groups) Match(o *Groups) error {
	name := gs.graph.Name
	if len(gs.Groups) != len(o.Groups) {
		return fmt.Errorf("%s: with BatchNormalization put in there are %d groups of channels, %d without", name, len(gs.Groups), len(o.Groups))
	}
	type place struct {
		name string
		axis int
	}
	for i := range gs.Groups {
		a, b := &gs.Groups[i], &o.Groups[i]
		index := map[place][][]int32{}
		for _, m := range a.Members {
			index[place{m.Value.Name, m.Axis}] = m.Index
		}
		same, shared := a.Width == b.Width, 0
		for _, m := range b.Members {
			x, ok := index[place{m.Value.Name, m.Axis}]
			if !ok {
				continue
			}
			shared++
			same = same && slices.EqualFunc(x, m.Index, slices.Equal[[]int32])
		}
		if !same || shared == 0 {
			return fmt.Errorf("%s: with BatchNormalization put in the group of channels %s is another one", name, b.Name)
		}
	}
	return nil
}
