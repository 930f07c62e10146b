// Package prune finds masks: which weights of a model stay. It has bi-level
// pruning (BiP), one-shot magnitude pruning (OMP), and the training loop that
// both use.
package prune

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Layer is one masked weight tensor.
type Layer struct {
	// Name of the initializer, and the nodes that use it.
	Name  string
	Nodes []string
	Shape []int
	// Out and In are the axes of Shape that hold outputs and summed inputs, −1 where
	// the nodes disagree.
	Out, In int
	// Theta are the weights that the mask is applied to.
	Theta []float32
	// Mask holds 1 where a weight stays, else 0.
	Mask []float32
	// Gate, if not nil, is what Theta is multiplied by while training, in place of
	// Mask: see Units.
	Gate []float32
	// Z is Theta under the mask: what the plans compute with.
	Z []float32
}

// Masks are the masked tensors of a model, in the order of their first use.
type Masks struct {
	Layers []Layer
	// Fixed are weights that were left out and have a mask in the file, which stays
	// as it is.
	Fixed []Layer
	// Excluded are the names of prunable weights that were left out.
	Excluded []string
	total    int
}

// NewMasks collects the prunable weights of g whose name, or the name of a node
// that uses them, no expression matches. Theta starts at the state's values and
// every mask at all ones. An error says which expressions leave nothing.
func NewMasks(g *graph.Graph, state *engine.State, exclude []*regexp.Regexp) (*Masks, error) {
	m := &Masks{}
	weights := g.Weights()
	for _, w := range weights {
		l := layerOf(w)
		out := excluded(exclude, &l)
		if out {
			m.Excluded = append(m.Excluded, l.Name)
			if w.Value.Mask == nil {
				continue
			}
		}
		l.Z = state.Tensor(l.Name).F
		l.Theta = append([]float32(nil), l.Z...)
		for i, v := range l.Theta {
			if math.IsNaN(float64(v)) {
				return nil, errNaN(g.Name, l.Name, i)
			}
		}
		l.Mask = kernel.Floats(len(l.Z))
		for i := range l.Mask {
			if !out || w.Value.Mask.Keep[i] {
				l.Mask[i] = 1
			}
		}
		if out {
			m.Fixed = append(m.Fixed, l)
			continue
		}
		m.total += len(l.Z)
		m.Layers = append(m.Layers, l)
	}
	return m, nothing(g.Name, m.total, len(weights), m.Excluded)
}

// layerOf describes a weight, without elements.
func layerOf(w graph.Weight) Layer {
	l := Layer{Name: w.Value.Name, Shape: w.Value.Init.Shape, Out: -1, In: -1}
	if out, in, ok := w.Axes(); ok {
		l.Out, l.In = out, in
	}
	for _, n := range w.Nodes {
		l.Nodes = append(l.Nodes, n.Title())
	}
	return l
}

func errNaN(model, layer string, i int) error {
	return fmt.Errorf("%s: initializer %q: element %d is NaN", model, layer, i)
}

// nothing says why no weight is left to prune, where total is 0.
func nothing(model string, total, weights int, excluded []string) error {
	switch {
	case total > 0:
		return nil
	case weights == 0:
		return fmt.Errorf("%s: nothing to prune: no Conv, ConvTranspose, Gemm, MatMul, GRU, LSTM or RNN has an initializer as weight", model)
	case len(excluded) < weights:
		return fmt.Errorf("%s: nothing to prune: all weights that --exclude leaves have no elements", model)
	}
	return fmt.Errorf("%s: nothing to prune: --exclude matches all %d weights (%s)\nhint: onnxprune inspect lists their names", model, weights, some(excluded))
}

func excluded(exclude []*regexp.Regexp, l *Layer) bool {
	for _, re := range exclude {
		if re.MatchString(l.Name) {
			return true
		}
		for _, n := range l.Nodes {
			if re.MatchString(n) {
				return true
			}
		}
	}
	return false
}

func some(names []string) string {
	if len(names) > 4 {
		return strings.Join(names[:4], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

// Total is the number of elements under masks.
func (m *Masks) Total() int { return m.total }

// CheckAxes reports every layer whose input and output axes are not known: patterns
// and blocks need them.
func (m *Masks) CheckAxes(name string, s Structure) error {
	if s.Kind != KindNM && s.Kind != KindBlock {
		return nil
	}
	var errs []error
	for _, l := range m.Layers {
		if l.Out < 0 {
			errs = append(errs, fmt.Errorf("%s: initializer %q: nodes read it along different axes, or reshaped (%s), --structure %s wants one", name, l.Name, some(l.Nodes), s))
		}
	}
	if len(errs) > 0 {
		errs = append(errs, errors.New("hint: --exclude leaves weights as they are"))
	}
	return errors.Join(errs...)
}

// Keep returns how many elements stay when a fraction ratio in [0,1) of all masked
// ones is removed, rounded to the nearest.
func (m *Masks) Keep(ratio float64) int { return keep(ratio, m.total) }

func keep(ratio float64, total int) int { return total - int(math.Round(ratio*float64(total))) }

// Zeros is the number of elements that the masks remove.
func (m *Masks) Zeros() int {
	n := 0
	for _, l := range m.Layers {
		for _, v := range l.Mask {
			if v == 0 {
				n++
			}
		}
	}
	return n
}

// Apply writes Z = Theta under the mask, with exact zeros.
func (m *Masks) Apply() {
	for _, l := range m.Layers {
		for i, k := range l.Mask {
			if k == 0 {
				l.Z[i] = 0
			} else {
				l.Z[i] = l.Theta[i]
			}
		}
	}
}

// Bools returns the masks by initializer name.
func (m *Masks) Bools() map[string][]bool {
	out := map[string][]bool{}
	for _, l := range slices.Concat(m.Layers, m.Fixed) {
		b := make([]bool, len(l.Mask))
		for i, v := range l.Mask {
			b[i] = v != 0
		}
		out[l.Name] = b
	}
	return out
}

// CheckRatio returns an error for a ratio outside [0,1).
func CheckRatio(ratio float64) error {
	if math.IsNaN(ratio) || ratio < 0 || ratio >= 1 {
		return errors.New("--ratio is " + fmt.Sprint(ratio) + ", wants a fraction removed in [0,1): 0.8 keeps one weight in five")
	}
	return nil
}
