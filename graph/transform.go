package graph

import (
	"math"
	"slices"

	"github.com/onnxprune/onnxprune/op"
)

// The transforms that [Value.Transform] names.
const (
	fourier    = "Fourier transform"
	cosine     = "cosine transform"
	filterBank = "filter bank"
	smoothing  = "one filter for all channels"
	sines      = "table of sines"
)

// transformLimit is the number of elements of the largest weight that is looked at.
const transformLimit = 1 << 23

// findTransforms sets Value.Transform of weights that were not learned, by what they hold: Fourier and cosine transforms
// and filter banks as spectrograms are computed with, where nothing learned comes before them;
// depthwise filters that are the same for all channels, as for smoothing; and tables of sines, as of places in a sequence.
func (g *Graph) findTransforms() {
	learned := map[*Value]bool{}
	for _, n := range g.Nodes {
		behind := slices.ContainsFunc(n.In, func(v *Value) bool { return learned[v] })
		for _, i := range weightInputs(n) {
			if i >= len(n.In) || n.In[i] == nil {
				continue
			}
			for _, v := range n.In[i].Stored() {
				if v.Transform == "" && v.Mask == nil && v.Init.Type.IsFloat() && n.Domain == "" {
					v.Transform = g.transform(n, v, behind)
				}
				behind = behind || v.Transform == ""
			}
		}
		if n.Domain == "" && (arithmetic(n) || n.Type == "Gather") {
			for _, v := range n.In {
				if v != nil && v.FromInit && v.Transform == "" && v.Init.Type.IsFloat() && g.isTableOfSines(v) {
					v.Transform = sines
				}
			}
		}
		if n.Type == "Gather" && n.Domain == "" && len(n.In) > 0 {
			behind = behind || len(n.In[0].Stored()) > 0 // an embedding
		}
		for _, v := range n.Out {
			if v != nil {
				learned[v] = behind
			}
		}
	}
}

// transform names what the weight v of n holds; "" where it may have been learned.
func (g *Graph) transform(n *Node, v *Value, behind bool) string {
	shape := v.Init.Shape
	if len(shape) < 2 || v.Init.Size() > transformLimit || v.Init.Size() == 0 {
		return ""
	}
	if n.Type == "Conv" && shape[1] == 1 && shape[0] > 1 && int(n.Attrs["group"].I) == shape[0] {
		if f := g.elements(v); sameFilters(f, shape[0]) {
			return smoothing
		}
		return ""
	}
	if behind || n.Type != "Conv" && n.Type != "MatMul" && n.Type != "Gemm" || n.Type == "Conv" && n.Attrs["group"].I > 1 {
		return ""
	}
	long := longAxes(shape)
	if len(long) != 2 || min(long[0], long[1]) < leastFilters {
		return ""
	}
	f := g.elements(v)
	if len(f) != long[0]*long[1] {
		return ""
	}
	accepted := 1e-8
	switch v.Init.Type {
	case op.Float16:
		accepted = 2e-6
	case op.BFloat16:
		accepted = 2e-4
	}
	for _, m := range []matrix{{f, long[0], long[1], long[1], 1, accepted}, {f, long[1], long[0], 1, long[1], accepted}} {
		switch {
		case m.rotates(func(t, n int) float64 { return 2 * math.Pi * float64(t) / float64(n) }):
			return fourier
		case m.rotates(func(t, n int) float64 { return math.Pi * (float64(t) + 0.5) / float64(n) }):
			return cosine
		case m.isFilterBank():
			return filterBank
		}
	}
	return ""
}

// longAxes are the dimensions above 1.
func longAxes(shape []int) []int {
	return slices.DeleteFunc(slices.Clone(shape), func(d int) bool { return d == 1 })
}

// isTableOfSines reports whether all columns of a table, or all rows, are sines of some frequency and phase each.
func (g *Graph) isTableOfSines(v *Value) bool {
	long := longAxes(v.Init.Shape)
	if len(long) != 2 || min(long[0], long[1]) < leastFilters || v.Init.Size() > transformLimit {
		return false
	}
	f := g.elements(v)
	if len(f) != long[0]*long[1] {
		return false
	}
	columns, rows := matrix{f, long[1], long[0], 1, long[1], 0}, matrix{f, long[0], long[1], long[1], 1, 0}
	return columns.areSines() || rows.areSines()
}

// elements are those of an initializer, read from the file where an outline lacks them.
func (g *Graph) elements(v *Value) []float32 {
	if v.Init.F != nil {
		return v.Init.F
	}
	t := g.File.Tensor(v.Name)
	if t == nil {
		return nil
	}
	x, err := decode(g.File, t)
	if err != nil || x.Type != v.Init.Type || !op.EqualShape(x.Shape, v.Init.Shape) {
		return nil
	}
	return x.F
}

// sameFilters reports whether all n filters are one that is not a single number.
func sameFilters(f []float32, n int) bool {
	one := len(f) / n
	if one < 3 || !slices.ContainsFunc(f[:min(one, len(f))], func(x float32) bool { return x != f[0] }) {
		return false
	}
	for i := one; i < len(f); i += one {
		if !slices.Equal(f[:one], f[i:i+one]) {
			return false
		}
	}
	return true
}

// leastFilters is the smallest number of filters, and of elements of each, that shows a transform.
const leastFilters = 8

// matrix is count filters of length elements: element t of filter k is at k·filter + t·element.
type matrix struct {
	f                              []float32
	count, length, filter, element int
	accepted                       float64 // of the squares of a transform, by what its type rounds
}

func (m *matrix) at(k, t int) float64 { return float64(m.f[k*m.filter+t*m.element]) }

// rotates reports whether filter k is w(t)·cos(k·angle(t) + φ) for any window w and phase φ, one after the other or
// cosines and sines in turns: neighbours have f(k+1) + f(k−1) = 2·cos(angle)·f(k). Four places may be
// exceptions: where cosines end and sines begin, and the first of a cosine transform, which has another scale.
func (m *matrix) rotates(angle func(t, n int) float64) bool {
	turn := make([]float64, m.length)
	for t := range turn {
		turn[t] = 2 * math.Cos(angle(t, m.length))
	}
	for step := 1; step <= 2; step++ {
		failed, energy := 0, 0.0
		for k := step; k+step < m.count && failed <= 4; k++ {
			miss, sum := 0.0, 0.0
			for t, c := range turn {
				before, x, next := m.at(k-step, t), m.at(k, t), m.at(k+step, t)
				miss += (next - c*x + before) * (next - c*x + before)
				sum += next*next + x*x + before*before
			}
			if !(miss <= m.accepted*sum) {
				failed++
			}
			energy += sum
		}
		if failed <= 4 && energy > 0 && m.count > 2*step+8 {
			return true
		}
	}
	return false
}

// areSines reports whether every filter is a·cos(ω·t + φ), with neighbours that add up to the same multiple of what is
// between them, and at least half of them are no constants.
func (m *matrix) areSines() bool {
	waves := 0
	for k := range m.count {
		product, square, sum := 0.0, 0.0, 0.0
		for t := 1; t+1 < m.length; t++ {
			around, x := m.at(k, t-1)+m.at(k, t+1), m.at(k, t)
			product, square, sum = product+around*x, square+x*x, sum+around*around+x*x
		}
		c, miss, constant := product/max(square, math.SmallestNonzeroFloat64), 0.0, true
		for t := 1; t+1 < m.length; t++ {
			d := m.at(k, t-1) + m.at(k, t+1) - c*m.at(k, t)
			miss += d * d
			constant = constant && m.at(k, t) == m.at(k, t-1)
		}
		if !(miss <= 1e-6*sum && math.Abs(c) < 2.001) { // places are multiplied with frequencies in float32
			return false
		}
		if !constant {
			waves++
		}
	}
	return 2*waves >= m.count
}

// isFilterBank reports whether every filter is one hill of positive numbers between zeros, and the hills follow each other
// along the filters, as those of mel and Bark scales do.
func (m *matrix) isFilterBank() bool {
	zeros, last, widest, hills := 0, -1, 0, 0
	for k := range m.count {
		from, to, top := -1, -1, 0
		for t := range m.length {
			x := m.at(k, t)
			switch {
			case !(x >= 0) || x > math.MaxFloat32:
				return false
			case x == 0:
				zeros++
				continue
			case from < 0:
				from, top = t, t
			case to != t-1:
				return false // a second hill
			case x > m.at(k, top):
				if top != t-1 {
					return false // up again
				}
				top = t
			}
			to = t
		}
		if from < 0 {
			continue // too narrow to hold a place
		}
		if top < last {
			return false
		}
		last, widest, hills = top, max(widest, to-from+1), hills+1
	}
	return hills >= leastFilters && widest >= 3 && 2*zeros > m.count*m.length
}
