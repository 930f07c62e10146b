package graph

import (
	"slices"
	"sort"

	"github.com/onnxprune/onnxprune/op"
)

// Weight is an initializer that pruning masks.
type Weight struct {
	Value *Value
	// Nodes are those that use it.
	Nodes []*Node
}

// weightInputs tells which inputs of an operator pruning masks, also for
// operators that cannot be run here.
func weightInputs(n *Node) []int {
	if n.Domain == "" && n.Type == "ConvTranspose" {
		return []int{1}
	}
	if n.Def == nil {
		return nil
	}
	return n.Def.Weights
}

// Weighs reports whether v is an input of n that has weights.
func (n *Node) Weighs(v *Value) bool {
	return slices.ContainsFunc(weightInputs(n), func(i int) bool { return i < len(n.In) && n.In[i] == v })
}

// Weights returns the prunable weights, in the order of their first use: float
// initializers of rank 2 and above that Conv, ConvTranspose, Gemm or MatMul
// take as constant operand, and LSTM, GRU and RNN as weights, whole or in parts: see
// [Value.Stored]. Not those that hold a [Value.Transform].
func (g *Graph) Weights() []Weight {
	var ws []Weight
	at := map[*Value]int{}
	for _, n := range g.Nodes {
		for _, i := range weightInputs(n) {
			if i >= len(n.In) || n.In[i] == nil {
				continue
			}
			for _, v := range n.In[i].Stored() {
				if !v.Init.Type.IsFloat() || v.Init.Rank() < 2 || v.Transform != "" {
					continue
				}
				k, seen := at[v]
				if !seen {
					k = len(ws)
					at[v] = k
					ws = append(ws, Weight{Value: v})
				}
				ws[k].Nodes = append(ws[k].Nodes, n)
			}
		}
	}
	return ws
}

// Role tells what training does with an initializer.
type Role uint8

const (
	// Fixed initializers do not change.
	Fixed Role = iota
	// Trained initializers follow their gradient.
	Trained
	// Statistic initializers are running averages.
	Statistic
)

// Roles returns the role of every initializer. Trained are the weights, biases,
// scales and slopes that operators declare as parameters, as far as they may have been learned.
func (g *Graph) Roles() map[*Value]Role {
	roles := map[*Value]Role{}
	var before []bool
	weightsBehind := func(n *Node) bool {
		if before == nil {
			before = g.before(func(n *Node) bool { return len(weightInputs(n)) > 0 })
		}
		return before[n.Index]
	}
	for _, n := range g.Nodes {
		if n.Def == nil {
			continue
		}
		for _, i := range n.Def.Params {
			if i >= len(n.In) || n.In[i] == nil {
				continue
			}
			for _, v := range n.parameters(i) {
				if v.Init.Type.IsFloat() && v.Transform == "" && roles[v] != Statistic && n.learned(i, v, weightsBehind) {
					roles[v] = Trained
				}
			}
		}
		for _, i := range n.Def.State {
			if i < len(n.In) && n.In[i] != nil {
				if v := n.In[i].Source(false); v != nil {
					roles[v] = Statistic
				}
			}
		}
	}
	return roles
}

func arithmetic(n *Node) bool { return n.Domain == "" && (n.Type == "Add" || n.Type == "Mul") }

// parameters are the initializers that input i has elements of: through whatever moves them at nodes with weights, and
// where what such a node computes is added to or scaled; else only as a whole.
func (n *Node) parameters(i int) []*Value {
	if len(n.Def.Weights) > 0 || arithmetic(n) && n.beside(i).summed() {
		return n.In[i].Stored()
	}
	if v := n.In[i].Source(true); v != nil {
		return []*Value{v}
	}
	return nil
}

// summed reports whether v is a result of a node with weights from the file.
func (v *Value) summed() bool {
	if v == nil || v.Producer == nil {
		return false
	}
	return slices.ContainsFunc(weightInputs(v.Producer), func(i int) bool {
		return i < len(v.Producer.In) && len(v.Producer.In[i].Stored()) > 0
	})
}

// beside returns the other operand of a binary node.
func (n *Node) beside(i int) *Value {
	if len(n.In) != 2 {
		return nil
	}
	return n.In[1-i]
}

// fromInput reports whether v is a graph input, perhaps moved or normalised.
func (v *Value) fromInput() bool {
	for steps := 0; v != nil && steps < 8; steps++ {
		n := v.Producer
		if n == nil {
			return !v.FromInit
		}
		switch n.Type {
		case "Cast", "Transpose", "Reshape", "Identity", "Sub", "Div", "Mul", "Add", "Unsqueeze", "Squeeze":
		default:
			return false
		}
		next := n.In[0]
		if next.Source(true) != nil && len(n.In) > 1 {
			next = n.In[1]
		}
		v = next
	}
	return false
}

// trainedValues are the initializers that must not be folded into constants;
// inference adds what is computed from them.
func (g *Graph) trainedValues() map[*Value]bool {
	t := map[*Value]bool{}
	for v, r := range g.Roles() {
		if r != Fixed {
			t[v] = true
		}
	}
	return t
}

// Params returns the number of elements of all float initializers that hold
// parameters or statistics: what model size counts.
func (g *Graph) Params() int64 {
	n := int64(0)
	for _, v := range g.Initializers() {
		if v.Init.Type.IsFloat() {
			n += int64(v.Init.Size())
		}
	}
	return n
}

// Initializers returns the initializers in file order.
func (g *Graph) Initializers() []*Value {
	var vs []*Value
	for _, v := range g.Values {
		if v.FromInit {
			vs = append(vs, v)
		}
	}
	sort.SliceStable(vs, func(i, j int) bool { return vs[i].Index < vs[j].Index })
	return vs
}

// MACs returns the multiply-adds of a node at the inferred shapes; false if the
// shapes are not known.
func (s *Shapes) MACs(n *Node) (int64, bool) {
	o := s.Ops[n.Index]
	if o == nil {
		return 0, false
	}
	m, ok := o.(op.MACer)
	if !ok {
		return 0, true
	}
	in, out := s.Args(n.In), s.Args(n.Out)
	return m.MACs(in, out), true
}

// Args returns what is known of values, nil for omitted ones.
func (s *Shapes) Args(vs []*Value) []*op.Tensor {
	ts := make([]*op.Tensor, len(vs))
	for i, v := range vs {
		if v != nil {
			ts[i] = s.Of[v.Index]
		}
	}
	return ts
}
