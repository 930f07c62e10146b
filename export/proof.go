package export

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

// Tolerance is the largest difference between pruned and masked model, relative to the
// largest value of an output, that is accepted.
const Tolerance = 1e-5

// Proof says how it was shown that the pruned model computes what the masked one does.
type Proof struct {
	// Ran is set where both models were run on the same inputs.
	Ran bool `json:"ran"`
	// Reason says why they were not.
	Reason string `json:"reason,omitempty"`
	// Until lists the first nodes that cannot be run. What they read was compared, and
	// nothing behind them was removed.
	Until []string `json:"until,omitempty"`
	// Samples is the number of samples that were run.
	Samples int `json:"samples"`
	// Generated is set where the inputs were random numbers.
	Generated bool `json:"generated"`
	// NotFinite is how many of the compared values are infinite or no number, in both
	// models alike: they show little.
	NotFinite int `json:"not_finite,omitempty"`
	// Precision is in which both models were computed for MaxRel: float32 by the
	// engine, or float64 by the operators' references where float32 differs by more
	// than [Tolerance].
	Precision string `json:"precision,omitempty"`
	// MaxRel is the largest difference of an output, over its largest absolute value.
	MaxRel float64 `json:"max_rel"`
	// MaxRelFloat32 is the same in float32, given where Precision is float64.
	MaxRelFloat32 float64 `json:"max_rel_float32,omitempty"`
}

// Inputs fills the inputs of a plan with samples.
type Inputs func(p *engine.Plan) error

// Random returns inputs of normal numbers for plans of g, integers of 0 and 1, or all that the tables have which
// they are places in.
func Random(g *graph.Graph, seed uint64) Inputs {
	return random(g, seed, func(rng *rand.Rand) float32 { return float32(rng.NormFloat64()) })
}

// positive returns inputs between 0 and 1, for models that take logarithms or roots.
func positive(g *graph.Graph, seed uint64) Inputs {
	return random(g, seed, func(rng *rand.Rand) float32 { return rng.Float32() })
}

func random(g *graph.Graph, seed uint64, draw func(*rand.Rand) float32) Inputs {
	return func(p *engine.Plan) error {
		rng := rand.New(rand.NewPCG(seed, 11))
		for k, in := range p.Inputs {
			for i := range in.F {
				in.F[i] = draw(rng)
			}
			below := int64(g.Inputs[k].Below())
			if below == 0 {
				below = 2
			}
			for i := range in.I {
				in.I[i] = rng.Int64N(below)
			}
		}
		return nil
	}
}

// prover runs the masked and the pruned model on the same inputs.
type prover struct {
	groups         *graph.Groups
	plan           *graph.Plan
	masked, pruned *onnxio.Model
	pool           *kernel.Pool
	// outputs are the values that are compared, by name; known once the masked model
	// was read.
	outputs []string
}

// cannotRun is an error that says why the models could not be compared.
type cannotRun struct{ error }

// prove compares the outputs of both models. An error says that they differ and where
// that begins, or, as a [cannotRun], why they could not be compared. The models are run
// one after the other, so that only one is in memory.
//
// float32 decides where it can. A model may amplify the rounding of its sums, which are
// cut differently in the two models, beyond the tolerance; so float64 has the last word.
func (v *prover) prove(fill Inputs) (Proof, error) {
	proof := Proof{Generated: fill == nil, Precision: "float32"}
	g, until, err := v.runnable()
	if err != nil {
		return proof, cannotRun{err}
	}
	tries := []Inputs{fill}
	if fill == nil {
		tries = []Inputs{Random(g, 1), positive(g, 1), Random(g, 1)}
	}
	proof.Until = until
	a, err := engine.Compile(g, engine.NewState(g), v.options())
	if err != nil {
		return proof, cannotRun{err}
	}
	var inputs []*op.Tensor
	for _, fill := range tries {
		if err := fill(a); err != nil {
			return proof, err
		}
		inputs = clones(a.Inputs)
		if err := a.Forward(); err != nil {
			return proof, cannotRun{err}
		}
		if proof.NotFinite = notFinite(a.Outputs); proof.NotFinite == 0 {
			break
		}
	}
	proof.Samples = a.Batch
	want := clones(a.Outputs)
	a = nil
	if g, err = v.read(v.pruned); err != nil {
		return proof, err
	}
	b, err := engine.Compile(g, engine.NewState(g), v.options())
	if err != nil {
		return proof, fmt.Errorf("the pruned model cannot be run: %w", err)
	}
	for i, in := range inputs {
		copy(b.Inputs[i].F, in.F)
		copy(b.Inputs[i].I, in.I)
	}
	if err := b.Forward(); err != nil {
		return proof, fmt.Errorf("the pruned model cannot be run: %w", err)
	}
	proof.Ran = true
	for i, y := range b.Outputs {
		proof.MaxRel = math.Max(proof.MaxRel, distance(want[i], y))
	}
	if !(proof.MaxRel <= Tolerance) {
		b = nil
		proof.Precision, proof.MaxRelFloat32 = "float64", proof.MaxRel
		if proof.MaxRel, err = v.compare64(inputs); err != nil {
			return proof, err
		}
	}
	if until != nil {
		return proof, v.shapes()
	}
	return proof, nil
}

func clones(ts []*op.Tensor) []*op.Tensor {
	var all []*op.Tensor
	for _, t := range ts {
		all = append(all, &op.Tensor{Type: t.Type, Shape: t.Shape, F: slices.Clone(t.F), I: slices.Clone(t.I)})
	}
	return all
}

// notFinite counts values that are infinite or no number.
func notFinite(ts []*op.Tensor) int {
	n := 0
	for _, t := range ts {
		for _, x := range t.F {
			if x-x != 0 {
				n++
			}
		}
	}
	return n
}

func (v *prover) options() engine.Options {
	return engine.Options{Batch: v.groups.Batch, Dims: v.groups.Dims, Pool: v.pool}
}

// distance is the largest difference of two row-major tensors over the largest absolute
// value of the first; infinite where their shapes differ.
func distance(a, b *op.Tensor) float64 {
	if !op.EqualShape(a.Shape, b.Shape) || (a.F == nil) != (b.F == nil) {
		return math.Inf(1)
	}
	if a.F == nil {
		if !slices.Equal(a.I, b.I) {
			return math.Inf(1)
		}
		return 0
	}
	return relative(a.F, b.F)
}

// relative is the largest difference of a and b over the largest absolute value of a.
// A NaN equals a NaN.
func relative[T float32 | float64](a, b []T) float64 {
	largest, top := 0.0, 0.0
	for i, x := range a {
		y := b[i]
		largest = math.Max(largest, math.Abs(float64(x)))
		if x == y || x != x && y != y {
			continue
		}
		d := math.Abs(float64(x) - float64(y))
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		top = math.Max(top, d)
	}
	if top == 0 {
		return 0
	}
	return top / largest
}
