package prune

import (
	"fmt"
	"math"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/op"
)

func init() {
	// synflow: |θ| ⊙ ∂R/∂|θ|, where R is the sum of the outputs of the linearised network
	// for an input of ones: what flows through a weight. The mask is found in 100 rounds,
	// round k removing 1 − (1−ratio)^(k/100) by the scores of what is left, so that no
	// layer is lost. No data is read. Source: Tanaka et al., NeurIPS 2020, "Pruning neural
	// networks without any data by iteratively conserving synaptic flow", algorithm 1.
	//
	// Linearised means: parameters are replaced by their magnitudes, biases and running
	// means by zeros, normalisations keep the file's running variance, and the ones are
	// scaled down until R is at most 1, where activations (Clip, Tanh) do not bend, and
	// gradients until they are in the range of float32. Both are factors of all scores.
	registerMethod(Method{Name: "synflow", Score: synflow})
}

const synflowRounds = 100

func synflow(s *Saliency) ([][]float32, error) {
	f, err := newFlow(s)
	if err != nil {
		return nil, err
	}
	rounds := synflowRounds
	if s.Structure.Kind != KindWeight && s.Structure.Kind != KindBlock {
		// N:M has one ratio, and units of channels are chosen elsewhere.
		rounds = 1
	}
	masks := make([][]float32, len(s.Masks.Layers))
	for i, l := range s.Masks.Layers {
		masks[i] = append([]float32(nil), l.Mask...)
	}
	scores := make([][]float32, len(masks))
	for i := range scores {
		scores[i] = kernel.Floats(len(masks[i]))
	}
	for k := 1; ; k++ {
		if err := f.score(masks, scores); err != nil {
			return nil, err
		}
		if k == rounds {
			return scores, nil
		}
		ratio := 1 - math.Pow(1-s.Ratio, float64(k)/float64(rounds))
		s.Masks.projection(s.Structure, ratio, s.Pool, value).project(scores, masks)
	}
}

// flow is the linearised network.
type flow struct {
	s     *Saliency
	state *engine.State
	plan  *engine.Plan
	input float32
	sum   *outputSum
}

func newFlow(s *Saliency) (*flow, error) {
	f := &flow{s: s, state: engine.NewState(s.Graph), input: 1, sum: &outputSum{1}}
	linearise(s.Graph, f.state)
	var err error
	f.plan, err = engine.Compile(s.Graph, f.state, engine.Options{Batch: max(1, s.Graph.FixedBatch()), Dims: s.Dims, Loss: f.sum, FreezeNorm: true, Pool: s.Pool})
	if err != nil {
		return nil, err
	}
	return f, f.plan.CheckScored(f.sum)
}

// linearise replaces parameters by their magnitudes, and what is added by zeros.
func linearise(g *graph.Graph, state *engine.State) {
	roles := g.Roles()
	for v, role := range roles {
		t := state.Tensor(v.Name)
		if t == nil || role == graph.Fixed {
			continue
		}
		for i, x := range t.F {
			t.F[i] = max(x, -x)
		}
	}
	for _, n := range g.Nodes {
		for i, in := range n.In {
			if in == nil || !addend(n.Type, i) {
				continue
			}
			for _, v := range in.Stored() {
				if roles[v] != graph.Fixed && state.Tensor(v.Name) != nil {
					clear(state.Tensor(v.Name).F)
				}
			}
		}
	}
}

// addend reports whether an operator adds its input i, or takes it off, elementwise.
func addend(operator string, i int) bool {
	switch operator {
	case "Conv", "ConvTranspose", "Gemm", "GroupNormalization", "InstanceNormalization", "LayerNormalization":
		return i == 2
	case "BatchNormalization":
		return i == 2 || i == 3
	case "Add":
		return true
	}
	return false
}

// score writes |θ| ⊙ ∂R/∂|θ| under masks; what they remove gets −1.
func (f *flow) score(masks, scores [][]float32) error {
	for i, l := range f.s.Masks.Layers {
		w := f.state.Tensor(l.Name).F
		for k, theta := range l.Theta {
			w[k] = max(theta, -theta) * masks[i][k]
		}
	}
	for {
		for _, in := range f.plan.Inputs {
			for i := range in.F {
				in.F[i] = f.input
			}
		}
		sum, err := f.plan.Step(&engine.Target{})
		if err != nil {
			return err
		}
		switch {
		case !(sum <= 1) && f.input > flowLeast:
			f.input *= flowStep
		case finite(sum) && f.collect(masks, scores):
			return nil
		case finite(sum) && f.sum.slope > flowLeast:
			f.sum.slope *= flowStep
		default:
			return fmt.Errorf("%s: synflow: paths through the absolute weights leave the range of float32: the sum of the outputs is %g for an input of %g", f.s.Graph.Name, sum, f.input)
		}
	}
}

// Input and slope become smaller by steps, down to what leaves room for what they are
// multiplied with.
const (
	flowStep  = 1.0 / (1 << 16)
	flowLeast = 1e-28
)

// collect takes scores from the gradients, and reports whether all are finite.
func (f *flow) collect(masks, scores [][]float32) bool {
	for i, l := range f.s.Masks.Layers {
		grad := f.plan.Grad(l.Name)
		w := f.state.Tensor(l.Name).F
		for k := range scores[i] {
			switch {
			case masks[i][k] == 0:
				scores[i][k] = -1
			case grad == nil:
				scores[i][k] = 0
			default:
				scores[i][k] = w[k] * grad.F[k]
			}
			if !finite(float64(scores[i][k])) {
				return false
			}
		}
	}
	return true
}

// outputSum is the sum of the outputs; its gradient is slope everywhere.
type outputSum struct{ slope float32 }

// Eval implements [engine.Loss].
func (o *outputSum) Eval(y *op.Tensor, _ *engine.Target, dy *op.Tensor) (float64, error) {
	sum := 0.0
	for i, v := range y.F {
		sum += float64(v)
		if dy != nil {
			dy.F[i] = o.slope
		}
	}
	return sum, nil
}

// FromLogits implements [engine.Loss].
func (*outputSum) FromLogits() bool { return true }
