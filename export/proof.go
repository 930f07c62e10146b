package export

import (
	"errors"
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
// largest value of an output, that the order of float32 sums explains. A model that
// amplifies rounding (a normalisation of what is nearly constant) may differ by as much
// as its outputs do when its inputs change by Nudge, up to Limit.
const (
	Tolerance = 1e-5
	Nudge     = 1.0 / (1 << 21)
	Limit     = 1e-3
)

// Proof says how it was shown that the pruned model computes what the masked one does.
type Proof struct {
	// Ran is set where both models were run on the same inputs.
	Ran bool `json:"ran"`
	// Reason says why they were not; the shapes of the pruned model were inferred
	// instead, and every node has those that it should have.
	Reason string `json:"reason,omitempty"`
	// Samples is the number of samples that were run.
	Samples int `json:"samples"`
	// Generated is set where the inputs were random numbers.
	Generated bool `json:"generated"`
	// MaxRel is the largest difference of an output, over its largest absolute value.
	MaxRel float64 `json:"max_rel"`
	// Rounding is what a change of the inputs by 2⁻²¹ does to the masked model, by the
	// same measure; given where MaxRel is above the tolerance.
	Rounding float64 `json:"rounding,omitempty"`
}

// Inputs fills the inputs of a plan with samples.
type Inputs func(p *engine.Plan) error

// Random returns inputs of normal numbers, integers of 0 and 1.
func Random(seed uint64) Inputs {
	return func(p *engine.Plan) error {
		rng := rand.New(rand.NewPCG(seed, 11))
		for _, in := range p.Inputs {
			for i := range in.F {
				in.F[i] = float32(rng.NormFloat64())
			}
			for i := range in.I {
				in.I[i] = rng.Int64N(2)
			}
		}
		return nil
	}
}

// prover runs the masked and the pruned model side by side.
type prover struct {
	groups         *graph.Groups
	plan           *graph.Plan
	masked, pruned *onnxio.Model
	pool           *kernel.Pool
}

// prove compares the outputs of both models. An error says that they differ and where
// that begins. The models are run one after the other, so that only one is in memory.
func (v *prover) prove(fill Inputs) (Proof, error) {
	proof := Proof{Generated: fill == nil}
	if fill == nil {
		fill = Random(1)
	}
	a, err := v.compile(v.masked, nil)
	if err != nil {
		proof.Reason = oneLine(err)
		return proof, v.infer()
	}
	if err := fill(a); err != nil {
		return proof, err
	}
	inputs := clones(a.Inputs)
	if err := a.Forward(); err != nil {
		return proof, err
	}
	proof.Samples = a.Batch
	want := clones(a.Outputs)
	a = nil
	b, err := v.compile(v.pruned, nil)
	if err != nil {
		return proof, fmt.Errorf("the pruned model cannot be run: %w", err)
	}
	if err := forward(b, inputs); err != nil {
		return proof, err
	}
	proof.Ran = true
	worst := -1
	for i, y := range b.Outputs {
		d := distance(want[i], y)
		if math.IsNaN(d) || d > proof.MaxRel {
			proof.MaxRel, worst = d, i
		}
	}
	if proof.MaxRel <= Tolerance {
		return proof, nil
	}
	if proof.Rounding, err = v.rounding(inputs, want); err != nil {
		return proof, err
	}
	if proof.MaxRel <= min(proof.Rounding, Limit) {
		return proof, nil
	}
	return proof, v.locate(inputs, worst, proof.MaxRel)
}

func clones(ts []*op.Tensor) []*op.Tensor {
	var all []*op.Tensor
	for _, t := range ts {
		all = append(all, &op.Tensor{Type: t.Type, Shape: t.Shape, F: slices.Clone(t.F), I: slices.Clone(t.I)})
	}
	return all
}

// forward runs a plan on inputs.
func forward(p *engine.Plan, inputs []*op.Tensor) error {
	for i, in := range inputs {
		copy(p.Inputs[i].F, in.F)
		copy(p.Inputs[i].I, in.I)
	}
	return p.Forward()
}

// rounding runs the masked model again with inputs that differ by Nudge, up and down in
// turn, and returns the largest difference of an output.
func (v *prover) rounding(inputs, before []*op.Tensor) (float64, error) {
	p, err := v.compile(v.masked, nil)
	if err != nil {
		return 0, err
	}
	nudged := clones(inputs)
	for _, in := range nudged {
		for i := range in.F {
			in.F[i] *= 1 + Nudge*float32(1-i%2*2)
		}
	}
	if err := forward(p, nudged); err != nil {
		return 0, err
	}
	worst := 0.0
	for i, y := range p.Outputs {
		worst = max(worst, distance(before[i], y))
	}
	return worst, nil
}

func (v *prover) compile(m *onnxio.Model, outputs func(g *graph.Graph) []*graph.Value) (*engine.Plan, error) {
	g, err := graph.New(m, m.Name())
	if err != nil {
		return nil, err
	}
	if outputs != nil {
		g.Outputs = outputs(g)
	}
	return engine.Compile(g, engine.NewState(g), engine.Options{Batch: v.groups.Batch, Dims: v.groups.Dims, Pool: v.pool, NoFusion: outputs != nil})
}

// infer checks the shapes of the pruned model where it cannot be run: nothing may
// contradict itself that did not in the masked model.
func (v *prover) infer() error {
	var found [2][]error
	for i, m := range []*onnxio.Model{v.masked, v.pruned} {
		g, err := graph.New(m, m.Name())
		if err != nil {
			return err
		}
		s, err := g.Infer(graph.Binding{Dims: v.groups.Dims})
		if err != nil {
			return err
		}
		found[i] = s.Problems
	}
	if len(found[1]) > len(found[0]) {
		return errors.Join(found[1]...)
	}
	return nil
}

// locate names the first node whose values differ. Values of nodes that cannot be
// compared are passed over.
func (v *prover) locate(inputs []*op.Tensor, output int, worst float64) error {
	differ := fmt.Errorf("pruned and masked model differ: output %q by %.3g of its largest value", v.pruned.Proto.Graph.Output[output].GetName(), worst)
	var names []string
	all := func(g *graph.Graph) []*graph.Value {
		var vs []*graph.Value
		for _, n := range g.Nodes {
			for _, x := range n.Out {
				if x != nil && x.Type.IsFloat() || x != nil && x.Type == op.Undefined {
					vs = append(vs, x)
				}
			}
		}
		return vs
	}
	masked, err := graph.New(v.masked, v.masked.Name())
	if err != nil {
		return differ
	}
	for _, x := range all(masked) {
		names = append(names, x.Name)
	}
	named := func(g *graph.Graph) []*graph.Value {
		var vs []*graph.Value
		for _, n := range names {
			vs = append(vs, g.Value(n))
		}
		return vs
	}
	a, err := v.compile(v.masked, named)
	if err != nil {
		return differ
	}
	b, err := v.compile(v.pruned, named)
	if err != nil || forward(a, inputs) != nil || forward(b, inputs) != nil {
		return differ
	}
	for i, name := range names {
		x := masked.Value(name)
		t := v.plan.Cut(x, a.Outputs[i])
		if t == nil || !op.EqualShape(t.Shape, b.Outputs[i].Shape) {
			return fmt.Errorf("%w; first at %s, which has shape %s", differ, x.Producer, op.ShapeString(b.Outputs[i].Shape))
		}
		if d := distance(t, b.Outputs[i]); !(d <= 10*Tolerance) {
			return fmt.Errorf("%w; first at %s", differ, x.Producer)
		}
	}
	return differ
}

// distance is the largest difference of two tensors over the largest absolute value of
// the first; infinite where their shapes differ.
func distance(a, b *op.Tensor) float64 {
	if !op.EqualShape(a.Shape, b.Shape) || len(a.F) != len(b.F) {
		return math.Inf(1)
	}
	if a.F == nil {
		if !slices.Equal(a.I, b.I) {
			return math.Inf(1)
		}
		return 0
	}
	largest, top := 0.0, 0.0
	for i, x := range a.F {
		y := b.F[i]
		if x == y || math.IsNaN(float64(x)) && math.IsNaN(float64(y)) {
			largest = math.Max(largest, math.Abs(float64(x)))
			continue
		}
		d := math.Abs(float64(x - y))
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		top, largest = math.Max(top, d), math.Max(largest, math.Abs(float64(x)))
	}
	if top == 0 {
		return 0
	}
	return top / largest
}

func oneLine(err error) string {
	text := err.Error()
	if i := slices.Index([]byte(text), '\n'); i >= 0 {
		text = text[:i]
	}
	return text
}
