package graph

import (
	"slices"

	"github.com/onnxprune/onnxprune/op"
)

// findUnbatched marks inputs [C,H,W] that are one image, as torchvision's detectors take
// them: those that meet constants [C,1,1] or [1,C,1,1], C > 1, or that Unsqueeze puts an axis before.
// Between the input and either there is arithmetic with constants only.
func (g *Graph) findUnbatched() {
	for _, in := range g.Inputs {
		if in.Ranked && len(in.Dims) == 3 && in.Dims[0].Size > 0 && in.Type.IsFloat() {
			in.Unbatched = unbatched(in, in.Dims[0].Size)
		}
	}
}

// unbatched reports whether v, whose first axis has c elements, shows that this axis is the
// channels.
func unbatched(v *Value, c int) bool {
	for next := []*Value{v}; len(next) > 0; {
		v, next = next[len(next)-1], next[:len(next)-1]
		for _, u := range v.Uses {
			n := u.Node
			if n.Domain != "" || u.Input < 0 || len(n.Out) == 0 || n.Out[0] == nil {
				continue
			}
			switch n.Type {
			case "Unsqueeze":
				if u.Input == 0 && slices.Equal(n.axes(), []int{0}) {
					return true
				}
			case "Cast", "Identity":
				next = append(next, n.Out[0])
			case "Sub", "Div", "Mul", "Add":
				if len(n.In) != 2 {
					continue
				}
				other := n.In[1-u.Input].constant()
				if other == nil {
					continue
				}
				if c > 1 && (slices.Equal(other.Shape, []int{c, 1, 1}) || slices.Equal(other.Shape, []int{1, c, 1, 1})) {
					return true
				}
				next = append(next, n.Out[0])
			}
		}
	}
	return false
}

// axes are those of Unsqueeze, as an attribute or as a constant input; nil if not known.
func (n *Node) axes() []int {
	var all []int
	if a, ok := n.Attrs["axes"]; ok {
		for _, x := range a.Ints {
			all = append(all, int(x))
		}
		return all
	}
	if len(n.In) < 2 {
		return nil
	}
	if t := n.In[1].constant(); t != nil {
		for _, x := range t.I {
			all = append(all, int(x))
		}
	}
	return all
}

// constant is what an initializer or a Constant node holds, else nil.
func (v *Value) constant() *op.Tensor {
	switch {
	case v == nil:
		return nil
	case v.FromInit:
		return v.Init
	case v.Producer != nil && v.Producer.isConstant() && len(v.Producer.In) == 0:
		return v.Producer.Attrs["value"].T
	}
	return nil
}

// unbatched is the first input without an axis for the batch, or nil.
func (g *Graph) unbatched() *Value {
	i := slices.IndexFunc(g.Inputs, func(v *Value) bool { return v.Unbatched })
	if i < 0 {
		return nil
	}
	return g.Inputs[i]
}
