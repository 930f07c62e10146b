package graph

import (
	"slices"

	"github.com/onnxprune/onnxprune/op"
)

// Source follows a value back through Identity, and through Transpose where
// moved is set, to the initializer it is; nil if it is none.
func (v *Value) Source(moved bool) *Value {
	for v != nil && !v.FromInit {
		n := v.Producer
		if n == nil || n.Domain != "" || len(n.In) != 1 || !(n.Type == "Identity" || moved && n.Type == "Transpose") {
			return nil
		}
		v = n.In[0]
	}
	return v
}

// Stored are the initializers whose elements v has, all or some of them, in any order and shape; none
// if v has others. Between them and v are nodes that only move elements, and whose other inputs do not
// depend on the graph's inputs.
func (v *Value) Stored() []*Value {
	found, stop := v.roots()
	if stop != nil {
		return nil
	}
	return slices.DeleteFunc(found, func(x *Value) bool { return !x.FromInit })
}

// roots follows v back through nodes that only move elements to initializers and constants; stop is the first
// value that something else computes.
func (v *Value) roots() (found []*Value, stop *Value) {
	budget := settledBudget
	var walk func(v *Value)
	walk = func(v *Value) {
		switch {
		case v == nil || stop != nil || slices.Contains(found, v):
			return
		case v.source():
			found = append(found, v)
			return
		}
		n, from := v.Producer, v.moved()
		if budget--; budget < 0 || len(from) == 0 || n.Type == "Cast" && !op.Type(n.Attrs["to"].I).IsFloat() ||
			slices.ContainsFunc(n.In[len(from):], func(x *Value) bool { return !x.settled(&budget) }) {
			stop = v
			return
		}
		for _, x := range from {
			walk(x)
		}
	}
	walk(v)
	return found, stop
}

// settledBudget bounds the nodes that are looked at to know where a value comes from.
const settledBudget = 256

// settled reports whether v is the same for all that the graph's inputs may hold, without a node with
// weights before it; also false where that takes more than budget nodes to see.
func (v *Value) settled(budget *int) bool {
	if v == nil || v.FromInit {
		return true
	}
	n := v.Producer
	if *budget--; n == nil || n.Def == nil || n.Subgraphs || len(weightInputs(n)) > 0 || *budget < 0 {
		return false
	}
	if n.Domain == "" && (n.Type == "Shape" || n.Type == "Size") {
		return true
	}
	return !slices.ContainsFunc(n.In, func(x *Value) bool { return !x.settled(budget) })
}

// Computed is a node with weights that no mask reaches: they are made from what the file holds by By, as
// DequantizeLinear or the arithmetic of a weight normalisation, or are whole numbers, where By is the node
// itself.
type Computed struct{ Node, By *Node }

// Computed lists, in order, the nodes with such weights that are the same for all that the graph's
// inputs may hold.
func (g *Graph) Computed() []Computed {
	var all []Computed
	for _, n := range g.Nodes {
		if slices.Contains(quantised, n.Operator()) {
			all = append(all, Computed{n, n})
			continue
		}
		var by *Node
		for _, i := range weightInputs(n) {
			if i >= len(n.In) || n.In[i] == nil {
				continue
			}
			_, stop := n.In[i].roots()
			if stop == nil {
				by = nil
				break // it has a weight that masks reach, as the other operand of MatMul
			}
			if budget := settledBudget; stop.settled(&budget) {
				by = stop.Producer
			}
		}
		if by != nil {
			all = append(all, Computed{n, by})
		}
	}
	return all
}

// Quantised reports whether a weight is made of whole numbers.
func (c Computed) Quantised() bool {
	return c.By == c.Node || c.By.Type == "DequantizeLinear"
}

// quantised are operators whose weights are whole numbers.
var quantised = []string{"ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul",
	"com.microsoft.DynamicQuantizeMatMul", "com.microsoft.MatMulInteger16", "com.microsoft.MatMulIntegerToFloat", "com.microsoft.MatMulNBits", "com.microsoft.QGemm"}
