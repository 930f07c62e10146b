package graph

// Axes returns which axes of the weight, as stored, hold its outputs and the inputs
// that are summed over: axes 0 and 1 of a Conv's w [O,C/G,kH,kW], 1 and 0 of a
// ConvTranspose's, N and K of a Gemm's or MatMul's. ok is false where the nodes that
// share the weight read it along different axes.
func (w Weight) Axes() (out, in int, ok bool) {
	out, in = -1, -1
	for _, n := range w.Nodes {
		for _, i := range weightInputs(n) {
			if i >= len(n.In) || n.In[i] == nil || n.In[i].Source(true) != w.Value {
				continue
			}
			o, c, known := n.InputAxes(i, w.Value.Init.Rank())
			if !known {
				return 0, 0, false
			}
			o, c = stored(n.In[i], o), stored(n.In[i], c)
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

// stored follows an axis of v back through Transpose to the initializer.
func stored(v *Value, axis int) int {
	for !v.FromInit {
		n := v.Producer
		if n.Type == "Transpose" {
			if perm := n.Attrs["perm"].Ints; axis < len(perm) {
				axis = int(perm[axis])
			} else {
				axis = n.In[0].rankOfInit() - 1 - axis
			}
		}
		v = n.In[0]
	}
	return axis
}

// rankOfInit is the rank of the initializer behind v.
func (v *Value) rankOfInit() int {
	if s := v.Source(true); s != nil {
		return s.Init.Rank()
	}
	return 0
}
