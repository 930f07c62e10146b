package graph

import "slices"

// Axes returns which axes of the weight, as stored, hold its outputs and the inputs
// that are summed over: axes 0 and 1 of a Conv's w [O,C/G,kH,kW], 1 and 0 of a
// ConvTranspose's, N and K of a Gemm's or MatMul's, 1 and 2 of the w [D,G·H,I] and r [D,G·H,H] of an LSTM, GRU or RNN. ok is false where the nodes that
// share the weight read it along different axes, or it has other axes than they see.
func (w Weight) Axes() (out, in int, ok bool) {
	outs, ins := axisWalk{of: w.Value, at: -1}, axisWalk{of: w.Value, at: -1, whole: true}
	for _, n := range w.Nodes {
		for _, i := range weightInputs(n) {
			if i >= len(n.In) || n.In[i] == nil || !slices.Contains(n.In[i].Stored(), w.Value) {
				continue
			}
			o, c, known := n.InputAxes(i, n.In[i].movedRank())
			if !known || !outs.walk(n.In[i], o) || !ins.walk(n.In[i], c) {
				return 0, 0, false
			}
		}
	}
	return outs.at, ins.at, outs.at >= 0
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
	case "GRU", "LSTM", "RNN":
		return 1, 2, rank == 3
	case "MatMul":
		if i == 0 {
			return rank - 2, rank - 1, rank >= 2
		}
		return rank - 1, rank - 2, rank >= 2
	}
	return 0, 0, false
}

// axisWalk finds axis at of an initializer, −1 before it was met.
type axisWalk struct {
	of *Value
	at int
	// whole asks for all of the axis, in one piece.
	whole bool
}

// walk follows an axis of v back to wherever the initializer stands in v, and reports whether it is the
// same of its axes everywhere.
func (w *axisWalk) walk(v *Value, axis int) bool {
	if v.FromInit {
		if v != w.of {
			return true
		}
		if w.at < 0 {
			w.at = axis
		}
		return w.at == axis
	}
	n, from := v.Producer, v.moved()
	switch {
	case n == nil || len(from) == 0:
		return true // a constant beside it
	case n.Type == "Transpose":
		perm := n.Attrs["perm"].Ints
		switch rank := n.In[0].movedRank(); {
		case len(perm) > 0 && axis < len(perm):
			axis = int(perm[axis])
		case len(perm) == 0 && rank > axis:
			axis = rank - 1 - axis
		default:
			return false
		}
	case n.Type == "Identity" || n.Type == "Cast":
	default:
		axes, known := n.movedAxes()
		if !known {
			return false
		}
		switch n.Type {
		case "Slice", "Split", "Concat":
			if w.whole && slices.Contains(axes, axis) {
				return false
			}
		case "Unsqueeze":
			if slices.Contains(axes, axis) {
				return false
			}
			for _, a := range slices.Backward(axes) {
				if a < axis {
					axis--
				}
			}
		case "Squeeze":
			for _, a := range axes {
				if a <= axis {
					axis++
				}
			}
		}
	}
	return !slices.ContainsFunc(from, func(x *Value) bool { return x == nil || !w.walk(x, axis) })
}

// movedRank is the rank of a value that consists of initializers, −1 if that is not known.
func (v *Value) movedRank() int {
	step := 0
	for ; v != nil && !v.FromInit; v = v.Producer.In[0] {
		n := v.Producer
		if n == nil || len(v.moved()) == 0 {
			return -1
		}
		switch n.Type {
		case "Squeeze", "Unsqueeze":
			axes := n.axes()
			if axes == nil {
				return -1
			}
			if n.Type == "Squeeze" {
				step -= len(axes)
			} else {
				step += len(axes)
			}
		case "Flatten", "Gather", "Reshape":
			return -1
		}
	}
	if v == nil {
		return -1
	}
	return v.Init.Rank() + step
}

// movedAxes are the axes, in rising order, along which a node takes parts, puts values one behind the other, or that it
// adds or takes away; false where they are not known.
func (n *Node) movedAxes() ([]int, bool) {
	var axes []int
	rank := n.In[0].movedRank()
	switch n.Type {
	case "Concat", "Split":
		axes = []int{int(n.Attrs["axis"].I)}
	case "Slice":
		if a, ok := n.Attrs["axes"]; ok {
			for _, x := range a.Ints {
				axes = append(axes, int(x))
			}
		} else if len(n.In) > 3 && n.In[3].constant() != nil {
			for _, x := range n.In[3].constant().I {
				axes = append(axes, int(x))
			}
		}
	case "Squeeze":
		axes = n.axes()
	case "Unsqueeze":
		axes = n.axes()
		rank += len(axes)
	}
	for i, a := range axes {
		if a < 0 {
			axes[i] += rank
		}
	}
	slices.Sort(axes)
	return axes, len(axes) > 0 && rank >= 0
}
