package graph

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onnxprune/onnxprune/op"
)

// findBatchAxes sets where inputs have the batch. It is axis 0, but
//   - none in [C,H,W] that is one image, as torchvision's detectors take it;
//   - the axis whose name in the file has "batch" in it;
//   - axis 1 where it comes to the batch of LSTM, GRU or RNN, whose sequences and states
//     have the batch there.
//
// With several inputs the first that these or an open axis 0 decide has the last word: another input has the
// batch where the same name is; if it fixes axis 0, at the only axis that the exporter left open without a
// name, or where the same number is; and nowhere if there is no such axis.
func (g *Graph) findBatchAxes() {
	var open []*Value // to be decided by the others
	var lead *Value
	for _, in := range g.Inputs {
		in.BatchAxis = -1
		if !in.Ranked || len(in.Dims) == 0 || in.isImage() {
			continue
		}
		if in.BatchAxis = in.namedBatch(); in.BatchAxis < 0 && in.isRecurrent() {
			in.BatchAxis = 1
		}
		if in.BatchAxis < 0 {
			in.BatchAxis = 0
			open = append(open, in)
		} else if lead == nil {
			lead = in
		}
	}
	if lead == nil {
		if i := slices.IndexFunc(open, func(in *Value) bool { return in.Dims[0].Size < 0 }); i >= 0 {
			lead = open[i]
		} else if len(open) > 0 {
			lead = open[0]
		}
	}
	for _, in := range open {
		if in != lead {
			in.BatchAxis = in.batchAxisBeside(lead.Dims[lead.BatchAxis])
		}
	}
}

// isImage reports [C,H,W] without a batch: it meets constants [C,1,1] or [1,C,1,1], C > 1, or Unsqueeze
// puts an axis before it. Between the input and either there is arithmetic with constants only.
func (v *Value) isImage() bool {
	return len(v.Dims) == 3 && v.Dims[0].Size > 0 && v.Type.IsFloat() && unbatched(v, v.Dims[0].Size)
}

// namedBatch is the only axis that is named after the batch, else -1.
func (v *Value) namedBatch() int {
	axis := -1
	for i, d := range v.Dims {
		if d.Size >= 0 || v.unnamed(i) || !strings.Contains(strings.ToLower(d.Symbol), "batch") {
			continue
		}
		if axis >= 0 {
			return -1
		}
		axis = i
	}
	return axis
}

// unnamed reports an axis that is open, and has no name or one that an exporter made up.
func (v *Value) unnamed(axis int) bool {
	d := v.Dims[axis]
	return d.Size < 0 && (d.Symbol == fmt.Sprintf("%s.%d", v.Name, axis) ||
		strings.Contains(d.Symbol, "_dynamic_axes_") || strings.HasPrefix(d.Symbol, "unk_"))
}

// batchAxisBeside is the batch axis of an input beside another one that has it as d.
func (v *Value) batchAxisBeside(d Dim) int {
	only := func(is func(i int) bool) int {
		axis := -1
		for i := range v.Dims {
			if !is(i) {
				continue
			}
			if axis >= 0 {
				return -1
			}
			axis = i
		}
		return axis
	}
	first := v.Dims[0]
	switch {
	case d.Size >= 0 && first.Size == d.Size, d.Size < 0 && first.Symbol == d.Symbol:
		return 0
	case d.Size >= 0 && first.Size >= 0:
		return only(func(i int) bool { return v.Dims[i].Size == d.Size })
	}
	if axis := only(func(i int) bool { return d.Size < 0 && v.Dims[i].Symbol == d.Symbol }); axis >= 0 {
		return axis
	}
	if first.Size < 0 {
		return 0
	}
	if axis := only(v.unnamed); axis >= 0 || first.Size > 1 {
		return axis
	}
	return 0
}

// isRecurrent reports whether axis 1 comes to where LSTM, GRU or RNN have the batch, x [T,B,I] and states
// [D,B,H], moved by what keeps or drops other axes only.
func (v *Value) isRecurrent() bool {
	type place struct {
		v          *Value
		axis, rank int
	}
	seen := map[*Value]bool{}
	for next := []place{{v, 1, len(v.Dims)}}; len(next) > 0; {
		p := next[len(next)-1]
		next = next[:len(next)-1]
		if p.axis < 0 || p.axis >= p.rank || seen[p.v] {
			continue
		}
		seen[p.v] = true
		for _, u := range p.v.Uses {
			n := u.Node
			if n.Domain != "" || u.Input < 0 || len(n.Out) == 0 {
				continue
			}
			axis, rank := p.axis, p.rank
			switch n.Type {
			case "LSTM", "GRU", "RNN":
				if axis == 1 && rank == 3 && n.Attrs["layout"].I == 0 && (u.Input == 0 || u.Input == 5 || u.Input == 6) {
					return true
				}
				continue
			case "Identity", "Cast", "Dropout", "Relu", "Tanh", "Sigmoid", "Slice", "Split":
				if u.Input > 0 {
					continue
				}
			case "Add", "Sub", "Mul", "Div":
				if len(n.In) != 2 {
					continue
				}
				if c := n.In[1-u.Input].constant(); c == nil || c.Rank() > rank {
					continue
				}
			case "MatMul":
				if c := n.In[len(n.In)-1].constant(); u.Input > 0 || c == nil || c.Rank() != 2 || axis == rank-1 {
					continue
				}
			case "Gather":
				var ok bool
				if axis, rank, ok = n.gathered(u.Input, axis, rank); !ok {
					continue
				}
			case "Transpose":
				if axis = slices.Index(n.Attrs["perm"].Ints, int64(axis)); axis < 0 {
					continue
				}
			case "Unsqueeze", "Squeeze":
				axes := n.axes()
				if u.Input > 0 || len(axes) != 1 || axes[0] < 0 || n.Type == "Squeeze" && axes[0] == axis {
					continue
				}
				step := 1
				if n.Type == "Squeeze" {
					step = -1
				}
				rank += step
				if axes[0] <= axis {
					axis += step
				}
			default:
				continue
			}
			for _, out := range n.Out {
				if out != nil {
					next = append(next, place{out, axis, rank})
				}
			}
		}
	}
	return false
}

// gathered is where an axis of an input of Gather goes: of the places that are looked up in a table, or of
// what a constant place is taken out of.
func (n *Node) gathered(input, axis, rank int) (int, int, bool) {
	along := int(n.Attrs["axis"].I)
	if len(n.In) != 2 || along < 0 {
		return 0, 0, false
	}
	other := n.In[1-input].constant()
	switch {
	case other == nil:
		return 0, 0, false
	case input == 1:
		return axis, rank + other.Rank() - 1, along == 0
	case along == axis || other.Rank() > 1:
		return 0, 0, false
	case other.Rank() == 0 && along < axis:
		axis--
	}
	return axis, rank + other.Rank() - 1, true
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

// BatchDim is the declared batch of an input; false where it has none.
func (v *Value) BatchDim() (Dim, bool) {
	if v.BatchAxis < 0 {
		return Dim{}, false
	}
	return v.Dims[v.BatchAxis], true
}

// unbatched is the first input without an axis for the batch, or nil.
func (g *Graph) unbatched() *Value {
	i := slices.IndexFunc(g.Inputs, func(v *Value) bool { return v.BatchAxis < 0 && v.Ranked && len(v.Dims) > 0 })
	if i < 0 {
		return nil
	}
	return g.Inputs[i]
}
