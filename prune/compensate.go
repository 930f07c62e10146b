package prune

import (
	"slices"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/op"
)

// Compensation is what was corrected after a removal without data.
type Compensation struct {
	// Biases and Norms are the tensors of biases and of running statistics that changed,
	// in the order of their nodes.
	Biases, Norms []string
}

// Compensate adds what the removed channels contributed in the mean to what reads them:
// Δ[o] = Σ_c Σ_taps w[o,c,·]·E[x_c] goes to the bias of the Conv or Gemm, or where it has
// none comes off the running mean of the BatchNormalization behind it, whose running
// variance loses Σ_c Σ_taps w[o,c,·]²·Var[x_c], down to a tenth: what the removed channels
// gave if they were independent. E[x_c] and Var[x_c] follow from the model's
// normalisations; channels of which they are not known stay as they are.
// A channel that is constant is replaced exactly, but for zero padding at the borders.
func (u *Units) Compensate(g *graph.Graph, state *engine.State) Compensation {
	k := channelMoments(g, u.Groups.Shapes, state)
	var c Compensation
	for _, n := range g.Nodes {
		x, known := moments{}, false
		if n.Domain == "" && (n.Type == "Conv" || n.Type == "Gemm") && len(n.In) > 1 && n.In[0] != nil {
			x, known = k[n.In[0]]
		}
		if !known {
			continue
		}
		w := n.In[1].Source(false)
		if w == nil {
			continue
		}
		gone, ok := u.goneInputs(w, n, len(x.mean))
		if !ok {
			continue
		}
		delta := contribution(w, n, u.Values(w.Name, state), gone, x.mean)
		if v := biasOf(n, len(delta)); v != nil && state.Tensor(v.Name) != nil {
			u.shift(v.Name, state, delta, 1)
			c.Biases = append(c.Biases, v.Name)
		} else if v := meanBehind(g, n, len(delta)); v != nil && state.Tensor(v.Name) != nil {
			u.shift(v.Name, state, delta, -1)
			c.Norms = append(c.Norms, v.Name)
			if v := statistic(n.Out[0].Uses[0].Node, 4, len(delta)); v != nil && state.Tensor(v.Name) != nil {
				u.shrink(v.Name, state, contribution(w, n, squares(u.Values(w.Name, state)), gone, x.variance))
				c.Norms = append(c.Norms, v.Name)
			}
		}
	}
	return c
}

// goneInputs marks the input channels of a consumer that the removal takes.
func (u *Units) goneInputs(w *graph.Value, n *graph.Node, channels int) (gone []bool, ok bool) {
	_, in, known := n.InputAxes(1, w.Init.Rank())
	if !known || w.Init.Shape[in] != channels || n.Type == "Gemm" && !plainGemm(n) {
		return nil, false
	}
	gone = make([]bool, channels)
	for gi, removed := range u.Removed() {
		for i := range u.Groups.Groups[gi].Members {
			m := &u.Groups.Groups[gi].Members[i]
			if m.Value != w || m.Axis != in || m.Produces {
				continue
			}
			for unit, out := range removed {
				if !out {
					continue
				}
				for _, p := range m.Index[unit] {
					gone[p], ok = true, true
				}
			}
		}
	}
	return gone, ok
}

// plainGemm reports whether a Gemm computes A·op(B) + C.
func plainGemm(n *graph.Node) bool {
	one := func(name string) bool { a, given := n.Attrs[name]; return !given || a.F == 1 }
	return n.Attrs["transA"].I == 0 && one("alpha") && one("beta")
}

// contribution is Δ per output.
func contribution(w *graph.Value, n *graph.Node, theta []float32, gone []bool, mean []float64) []float64 {
	out, in, _ := n.InputAxes(1, w.Init.Rank())
	shape := w.Init.Shape
	delta := make([]float64, shape[out])
	stride := func(axis int) int { return op.Size(shape[axis+1:]) }
	so, si := stride(out), stride(in)
	for at, v := range theta {
		if c := at / si % shape[in]; gone[c] {
			delta[at/so%shape[out]] += float64(v) * mean[c]
		}
	}
	return delta
}

// biasOf is the bias of a Conv or Gemm as an initializer that nothing else reads.
func biasOf(n *graph.Node, outputs int) *graph.Value {
	if len(n.In) < 3 || n.In[2] == nil {
		return nil
	}
	v := n.In[2].Source(false)
	if v == nil || len(v.Uses) != 1 || !slices.Equal(v.Init.Shape, []int{outputs}) {
		return nil
	}
	return v
}

// meanBehind is the running mean of the BatchNormalization that alone reads n's output.
func meanBehind(g *graph.Graph, n *graph.Node, channels int) *graph.Value {
	y := n.Out[0]
	if len(y.Uses) != 1 || slices.Contains(g.Outputs, y) {
		return nil
	}
	bn := y.Uses[0].Node
	if bn.Domain != "" || bn.Type != "BatchNormalization" {
		return nil
	}
	return statistic(bn, 3, channels)
}

// statistic is an input of a BatchNormalization as an initializer that nothing else
// reads.
func statistic(bn *graph.Node, input, channels int) *graph.Value {
	if len(bn.In) <= input || bn.In[input] == nil {
		return nil
	}
	v := bn.In[input].Source(false)
	if v == nil || len(v.Uses) != 1 || v.Init.Size() != channels {
		return nil
	}
	return v
}

// shift adds sign·delta to a tensor, in θ where it is masked.
func (u *Units) shift(name string, state *engine.State, delta []float64, sign float64) {
	t := u.Values(name, state)
	for i, d := range delta {
		t[i] += float32(sign * d)
	}
}

// shrink takes variances off a tensor, of which a tenth stays at least.
func (u *Units) shrink(name string, state *engine.State, off []float64) {
	t := u.Values(name, state)
	for i, d := range off {
		t[i] = max(t[i]/10, t[i]-float32(d))
	}
}

func squares(v []float32) []float32 {
	s := make([]float32, len(v))
	for i, x := range v {
		s[i] = x * x
	}
	return s
}
