package graph

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

// Untied is an initializer that [Graph.Untie] made: a copy of another one of the file.
type Untied struct {
	Name string
	// Elements are those of the copy, Nonzero those of them that are not zero.
	Elements, Nonzero int64
}

// UntiedElements counts what [Graph.Untie] added to the parameters of the file: elements, and those that are not zero.
func (g *Graph) UntiedElements() (elements, nonzero int64) {
	for _, u := range g.Untied {
		elements, nonzero = elements+u.Elements, nonzero+u.Nonzero
	}
	return elements, nonzero
}

// Added is what [Graph.Untie] and the opening of functions added to the file: elements and bytes.
func (gs *Groups) Added() (elements, bytes int64) {
	elements, _ = gs.graph.UntiedElements()
	return elements, gs.graph.grown + gs.graph.Inlined.Grown
}

// tie is a parameter that is to get values of its own: those of an initializer, under the name that an Identity node gives
// them, or under a new one for some of its readers.
type tie struct {
	of       *Value
	name     string
	identity *Node
	readers  []Use
}

// Untie gives back to layers the parameters that an exporter has merged. PyTorch's stores initializers of equal values once,
// and writes Identity nodes, which others take out, for the rest: biases of zeros, and scales and variances of ones, of all layers of
// a width are then one tensor. Trained, it would follow the sum of their gradients, or be scale and running variance at once;
// and channels of layers that have nothing to do with each other would go together.
//
// A parameter is taken for merged if it is a vector (at most one dimension above 1) of one number throughout. An Identity
// of it becomes an initializer of the Identity's name, so that all have the names they had in training. Where there is no Identity,
// every node that reads it gets its own, but nodes that share further parameters are one layer called twice, and stay tied. No
// value that the model computes changes.
//
// Without such ties g is returned. Else g.File is edited, and g is not to be used again. Copies together are never larger
// than the parameters of g: a file that asks for more is left as it is.
func (g *Graph) Untie() (*Graph, error) {
	ties := g.ties()
	elements := int64(0)
	for _, t := range ties {
		elements += int64(t.of.Init.Size())
	}
	if len(ties) == 0 || elements > g.Params() {
		return g, nil
	}
	m, before := g.File, g.File.Size()
	var drop []int
	var made []Untied
	for _, t := range ties {
		x := t.of.Init
		p, err := onnxio.NewTensor(int32(x.Type), t.name, x.Shape, x.F)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", g.Name, err)
		}
		if err := m.AddInitializer(p); err != nil {
			return nil, err
		}
		one := Untied{Name: t.name, Elements: int64(x.Size())}
		if x.F[0] != 0 {
			one.Nonzero = one.Elements
		}
		made = append(made, one)
		if t.identity != nil {
			drop = append(drop, t.identity.proto)
		}
		for _, u := range t.readers {
			if err := m.SetNodeInput(u.Node.proto, u.Input, t.name); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(drop)
	for _, i := range slices.Backward(drop) {
		if err := m.RemoveNode(i); err != nil {
			return nil, err
		}
	}
	u, err := New(m, g.Name)
	if err != nil {
		return nil, err
	}
	u.Inlined, u.Untied, u.grown = g.Inlined, made, m.Size()-before
	return u, nil
}

// ties lists what is to be untied, in the order of initializers and nodes.
func (g *Graph) ties() []tie {
	weights := map[*Value]bool{}
	for _, w := range g.Weights() {
		weights[w.Value] = true
	}
	var out []tie
	taken := map[string]bool{}
	for _, v := range g.Initializers() {
		if !v.uniform() || weights[v] || v.Mask != nil || g.File.Initializer(v.Name) == nil || g.isOutput(v) || inSubgraph(v) {
			continue
		}
		merged := g.merged(v, v)
		out = append(out, merged...)
		if len(merged) > 0 {
			continue // who reads v itself is who it was before
		}
		seen := map[string]int{}
		for _, u := range v.Uses {
			if !u.parameter() {
				seen[""] = -1 // keeps v
			}
		}
		for _, u := range v.Uses {
			if !u.parameter() {
				continue
			}
			key := u.layer()
			at, ok := seen[key]
			switch {
			case ok && at >= 0:
				out[at].readers = append(out[at].readers, u)
			case ok:
			case len(seen) == 0:
				seen[key] = -1
			default:
				name := ""
				for k := 2; name == "" || g.byName[name] != nil || taken[name]; k++ {
					name = fmt.Sprintf("%s.%d", v.Name, k)
				}
				taken[name] = true
				seen[key] = len(out)
				out = append(out, tie{of: v, name: name, readers: []Use{u}})
			}
		}
	}
	return out
}

// merged lists the Identity nodes between v and a parameter that has the values of the initializer.
func (g *Graph) merged(v, initializer *Value) []tie {
	var out []tie
	for _, u := range v.Uses {
		n := u.Node
		if u.Input < 0 || n.Domain != "" || n.Type != "Identity" || len(n.In) != 1 || len(n.Out) != 1 || n.Out[0] == nil {
			continue
		}
		y := n.Out[0]
		if slices.ContainsFunc(y.Uses, Use.parameter) && !g.isOutput(y) && !inSubgraph(y) {
			out = append(out, tie{of: initializer, name: y.Name, identity: n})
		}
		out = append(out, g.merged(y, initializer)...)
	}
	return out
}

// uniform reports a float vector of at least two elements that are all the same number, of a type that holds it exactly.
func (v *Value) uniform() bool {
	t := v.Init
	if !v.FromInit || t == nil || t.Size() < 2 || len(t.F) != t.Size() || slices.Max(t.Shape) != t.Size() {
		return false
	}
	if t.Type != op.Float && t.Type != op.Float16 && t.Type != op.BFloat16 {
		return false
	}
	first := math.Float32bits(t.F[0])
	return !slices.ContainsFunc(t.F, func(x float32) bool { return math.Float32bits(x) != first || x != x })
}

// parameter reports whether the node trains this input, or keeps a running average there.
func (u Use) parameter() bool {
	d := u.Node.Def
	return d != nil && u.Input >= 0 && (slices.Contains(d.Params, u.Input) || slices.Contains(d.State, u.Input))
}

// layer names the layer that a parameter belongs to, and its place there: by what else the node reads from the file that is its own, or
// by the node itself.
func (u Use) layer() string {
	var names []string
	for i, in := range u.Node.In {
		if i == u.Input || in == nil {
			continue
		}
		if v := in.Source(true); v != nil && v.Init.Type.IsFloat() && v.Init.Size() > 1 && !v.uniform() {
			names = append(names, fmt.Sprintf("%d %q", i, v.Name))
		}
	}
	if len(names) == 0 {
		names = []string{fmt.Sprint("node ", u.Node.Index)}
	}
	return fmt.Sprintf("%d of %s", u.Input, strings.Join(names, ", "))
}
