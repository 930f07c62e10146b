package graph

import "slices"

// Axes returns which axes of the weight, as stored, hold its outputs and the inputs
// that are summed over: axes 0 and 1 of a Conv's w [O,C/G,kH,kW], 1 and 0 of a
// ConvTranspose's, N and K of a Gemm's or MatMul's. ok is false where the nodes that
// share the weight read it along different axes, or it has other axes than they see.
func (w Weight) Axes() (out, in int, ok bool) {
	out, in = -1, -1
	for _, n := range w.Nodes {
		for _, i := range weightInputs(n) {
			if i >= len(n.In) || n.In[i] == nil || n.In[i].Stored() != w.Value {
				continue
			}
			o, c, known := n.InputAxes(i, w.Value.Init.Rank())
			if !known {
				return 0, 0, false
			}
			o, outStored := stored(n.In[i], o, false)
			c, inStored := stored(n.In[i], c, true)
			if !outStored || !inStored {
				return 0, 0, false
			}
			if out >= 0 && (o != out || c != in) {
				return 0, 0, false
			}
			out, in = o, c
		}
	}
	return out, in, out >= 0
}

// InputAxes names the axes of weight input i, of that rank, as the node reads it.
func (n *Node) InputAxes(i, rank int) (out, in int, ok bool) {
	if n.Domain != "" {
		return 0, 0, false
	}
	switch n.Type {
	case "Conv":
		return 0, 1, true
	case "ConvTranspose":
		return 1, 0, true
	case "Gemm":
		flag := "transA"
		if i == 1 {
			flag = "transB"
		}
		// A is [M,K], B is [K,N].
		out, in = 0, 1
		if (i == 1) != (n.Attrs[flag].I != 0) {
			out, in = 1, 0
		}
		return out, in, rank == 2
	case "MatMul":
		if i == 0 {
			return rank - 2, rank - 1, rank >= 2
		}
		return rank - 1, rank - 2, rank >= 2
	}
	return 0, 0, false
}

// stored follows an axis of v back to the initializer that v has elements of; false where that has no such axis. Parts of it
// are to be whole along the axis named whole, if that is not negative.
func stored(v *Value, axis int, whole bool) (int, bool) {
	for !v.FromInit {
		n := v.Producer
		switch n.Type {
		case "Identity", "Cast":
		case "Transpose":
			perm := n.Attrs["perm"].Ints
			switch {
			case len(perm) > 0 && axis < len(perm):
				axis = int(perm[axis])
			case len(perm) == 0:
				axis = n.In[0].rankOfInit() - 1 - axis
			default:
				return 0, false
			}
		case "Slice", "Split":
			axes, known := n.cutAxes()
			if !known || whole && slices.Contains(axes, axis) {
				return 0, false
			}
		default:
			return 0, false
		}
		v = n.In[0]
	}
	return axis, true
}

// cutAxes are the axes along which a Slice or Split takes parts; false where they are not known.
func (n *Node) cutAxes() ([]int, bool) {
	if n.Type == "Split" {
		return n.axesOf([]int64{n.Attrs["axis"].I})
	}
	if len(n.In) > 3 && n.In[3] != nil {
		t := n.In[3].constant()
		if t == nil {
			return nil, false
		}
		return n.axesOf(t.I)
	}
	if a, ok := n.Attrs["axes"]; ok {
		return n.axesOf(a.Ints)
	}
	return nil, false
}

// axesOf counts axes of the first input from 0.
func (n *Node) axesOf(axes []int64) ([]int, bool) {
	var all []int
	for _, a := range axes {
		if a < 0 {
			a += int64(n.In[0].rankOfInit())
		}
		all = append(all, int(a))
	}
	return all, true
}

// rankOfInit is the rank of the initializer behind v, which has the same.
func (v *Value) rankOfInit() int {
	if s := v.Stored(); s != nil {
		return s.Init.Rank()
	}
	return 0
}
