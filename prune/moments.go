package prune

import (
	"math"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/op"
)

// moments are mean and variance of the activations of every channel (axis 1) over
// samples and places.
type moments struct{ mean, variance []float64 }

// channelMoments follows the moments of channels through a network, without data: a
// BatchNormalization gives mean β and variance γ², an element-wise function those of f(x)
// for a normal x, a sum the sums of both. Values that nothing is known of are absent;
// that of the graph's inputs is never known.
func channelMoments(g *graph.Graph, shapes *graph.Shapes, state *engine.State) map[*graph.Value]moments {
	k := &knowledge{shapes: shapes, state: state, of: map[*graph.Value]moments{}}
	for _, n := range g.Nodes {
		if n.Domain != "" || len(n.In) == 0 || len(n.Out) == 0 || n.In[0] == nil || n.Out[0] == nil {
			continue
		}
		m, ok := k.through(n)
		if out := shapes.Of[n.Out[0].Index]; ok && out != nil && out.Rank() > 1 && out.Shape[1] == len(m.mean) {
			k.of[n.Out[0]] = m
		}
	}
	return k.of
}

type knowledge struct {
	shapes *graph.Shapes
	state  *engine.State
	of     map[*graph.Value]moments
}

// param are the elements of an input that is an initializer, or nil.
func (k *knowledge) param(n *graph.Node, i int) []float32 {
	if i >= len(n.In) || n.In[i] == nil {
		return nil
	}
	v := n.In[i].Source(false)
	if v == nil || k.state.Tensor(v.Name) == nil {
		return nil
	}
	return k.state.Tensor(v.Name).F
}

func (k *knowledge) through(n *graph.Node) (moments, bool) {
	x, known := k.of[n.In[0]]
	switch n.Type {
	case "BatchNormalization":
		return k.normalised(n)
	case "Add":
		if y, ok := k.of[n.In[1]]; known && ok && len(x.mean) == len(y.mean) {
			return moments{sum(x.mean, y.mean), sum(x.variance, y.variance)}, true
		}
	case "Pad":
		return k.padded(n, x, known)
	case "Slice", "MaxPool":
		// The places of a channel are drawn from the same distribution; MaxPool is not.
		return x, known && n.Type == "Slice"
	case "AveragePool", "GlobalAveragePool", "ReduceMean", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Dropout":
		return k.moved(n, x, known)
	}
	o := k.shapes.Ops[n.Index]
	if _, ok := o.(op.Elementwise); ok && known {
		return k.mapped(n, o, x)
	}
	return moments{}, false
}

func (k *knowledge) normalised(n *graph.Node) (moments, bool) {
	scale, shift := k.param(n, 1), k.param(n, 2)
	if scale == nil || len(shift) != len(scale) {
		return moments{}, false
	}
	m := moments{make([]float64, len(scale)), make([]float64, len(scale))}
	for c, s := range scale {
		m.mean[c], m.variance[c] = float64(shift[c]), float64(s)*float64(s)
	}
	return m, true
}

// padded adds channels of zeros; padding of places is neglected.
func (k *knowledge) padded(n *graph.Node, x moments, known bool) (moments, bool) {
	in, out := k.shapes.Of[n.In[0].Index], k.shapes.Of[n.Out[0].Index]
	if !known || in == nil || out == nil || in.Rank() < 2 {
		return moments{}, false
	}
	if in.Shape[1] == out.Shape[1] {
		return x, true
	}
	var pads []int64
	if a, ok := n.Attrs["pads"]; ok {
		pads = a.Ints
	} else if len(n.In) > 1 && n.In[1] != nil && k.shapes.Of[n.In[1].Index] != nil {
		pads = k.shapes.Of[n.In[1].Index].I
	}
	if mode := n.Attrs["mode"].S; mode != "" && mode != "constant" || len(pads) != 2*in.Rank() || pads[1] < 0 {
		return moments{}, false
	}
	m := moments{make([]float64, out.Shape[1]), make([]float64, out.Shape[1])}
	copy(m.mean[pads[1]:], x.mean)
	copy(m.variance[pads[1]:], x.variance)
	return m, true
}

// moved keeps channels, or repeats each where the places become channels.
func (k *knowledge) moved(n *graph.Node, x moments, known bool) (moments, bool) {
	out := k.shapes.Of[n.Out[0].Index]
	if !known || out == nil || out.Rank() < 2 || out.Shape[1]%len(x.mean) != 0 {
		return moments{}, false
	}
	times := out.Shape[1] / len(x.mean)
	var m moments
	for c := range x.mean {
		for range times {
			m.mean, m.variance = append(m.mean, x.mean[c]), append(m.variance, x.variance[c])
		}
	}
	return m, true
}

// gridPoints of a normal distribution up to gridReach deviations.
const (
	gridPoints = 513
	gridReach  = 6.0
)

// mapped integrates f and f² over a normal distribution per channel.
func (k *knowledge) mapped(n *graph.Node, o op.Op, x moments) (moments, bool) {
	in := k.shapes.Args(n.In)
	for i, t := range in {
		if i > 0 && t != nil && !t.IsConst() {
			return moments{}, false
		}
	}
	points := make([]float32, gridPoints)
	in[0] = op.Floats(points, gridPoints)
	y := op.Floats(make([]float32, gridPoints), gridPoints)
	m := moments{make([]float64, len(x.mean)), make([]float64, len(x.mean))}
	for c := range x.mean {
		s := math.Sqrt(x.variance[c])
		for i := range points {
			points[i] = float32(x.mean[c] + s*gridReach*(2*float64(i)/(gridPoints-1)-1))
		}
		if err := o.Forward(&op.Context{}, in, []*op.Tensor{y}); err != nil {
			return moments{}, false
		}
		total, first, second := 0.0, 0.0, 0.0
		for i, v := range y.F {
			d := gridReach * (2*float64(i)/(gridPoints-1) - 1)
			p := math.Exp(-d * d / 2)
			total += p
			first += p * float64(v)
			second += p * float64(v) * float64(v)
		}
		m.mean[c] = first / total
		m.variance[c] = max(0, second/total-m.mean[c]*m.mean[c])
		if !finite(m.mean[c]) || !finite(m.variance[c]) {
			return moments{}, false
		}
	}
	return m, true
}

func sum(a, b []float64) []float64 {
	s := make([]float64, len(a))
	for i := range s {
		s[i] = a[i] + b[i]
	}
	return s
}
