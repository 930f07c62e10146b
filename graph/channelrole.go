package graph

import (
	"github.com/onnxprune/onnxprune/op"
)

// source reports whether v holds elements of its own: an initializer, or the result
// of a Constant node.
func (v *Value) source() bool { return v.FromInit || v.Producer != nil && v.Producer.isConstant() }

// isConstant reports whether n is a Constant node that holds a tensor.
func (n *Node) isConstant() bool {
	return n.Domain == "" && n.Type == "Constant" && n.Attrs["value"].Kind == op.KindTensor
}

// maskedWeights are the initializers and constants whose slices the masked model has
// at zero: what operators declare as parameters, also behind operators that only move
// elements.
func (g *Graph) maskedWeights() map[*Value]bool {
	w := map[*Value]bool{}
	for _, n := range g.Nodes {
		if n.Def == nil {
			continue
		}
		for _, i := range n.Def.Params {
			if i >= len(n.In) || n.In[i] == nil || arithmetic(n) && n.beside(i).fromInput() {
				continue
			}
			for _, v := range n.In[i].origins() {
				if v.Init != nil && v.Init.F != nil || v.Producer != nil && v.Producer.Attrs["value"].T.F != nil {
					w[v] = true
				}
			}
		}
	}
	return w
}

// moved returns the values whose elements v has in another order or shape; none where v
// is computed.
func (v *Value) moved() []*Value {
	n := v.Producer
	if n == nil || n.Domain != "" || len(n.In) == 0 {
		return nil
	}
	switch n.Type {
	case "Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast", "Split", "Slice", "Gather":
		return n.In[:1]
	case "Concat":
		return n.In
	}
	return nil
}

// origins are the initializers and constants that v consists of; none where it is
// computed.
func (v *Value) origins() []*Value {
	var found []*Value
	seen := map[*Value]bool{}
	var walk func(v *Value) bool
	walk = func(v *Value) bool {
		if v == nil || seen[v] {
			return v != nil
		}
		seen[v] = true
		if v.source() {
			found = append(found, v)
			return true
		}
		from := v.moved()
		for _, u := range from {
			if !walk(u) {
				return false
			}
		}
		return len(from) > 0
	}
	if !walk(v) {
		return nil
	}
	return found
}

// weightless reports whether v is a float initializer with more than one element,
// which a list of frozen tensors should name.
func (c *channels) weightless(v *Value) bool {
	return v.FromInit && v.Init.F != nil && v.Init.Size() > 1
}

// direct says for the constants at a node whether their slices compute a channel or
// read one; it is called in reverse order of the nodes.
func (c *channels) direct(r appliedRule) {
	// Hidden axes that go with what is computed carry it to other couplings.
	inside := map[int]bool{}
	for range 2 {
		for _, k := range r.couplings {
			if k.Sum || !c.computes(r.node, k, inside) {
				continue
			}
			for _, s := range k.Sides {
				for _, f := range s.Of {
					switch {
					case f.Fixed:
					case f.Hidden > 0:
						inside[f.Hidden] = true
					case f.Tensor >= 0:
						if v := r.node.In[f.Tensor]; v != nil && c.constant[v.Index] {
							c.produces[axisKey{v.Index, f.Axis}] = true
						}
					}
				}
			}
		}
	}
}

// computes reports whether a coupling has an output that is no constant, or one whose
// slices compute a channel further on.
func (c *channels) computes(n *Node, k op.Coupling, inside map[int]bool) bool {
	for _, s := range k.Sides {
		for _, f := range s.Of {
			if f.Hidden > 0 && inside[f.Hidden] {
				return true
			}
			if f.Hidden > 0 || f.Fixed || f.Tensor >= 0 || ^f.Tensor >= len(n.Out) || n.Out[^f.Tensor] == nil {
				continue
			}
			if v := n.Out[^f.Tensor]; !c.constant[v.Index] || c.produces[axisKey{v.Index, f.Axis}] {
				return true
			}
		}
	}
	return false
}
