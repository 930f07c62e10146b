package export

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

// compare64 runs both models node by node in float64 and returns the largest
// difference of an output. A sum with terms of zero has the same bits as one without
// them, so that whatever difference there is begins where the removal went wrong: the
// error names that node.
func (v *prover) compare64(inputs []*op.Tensor) (float64, error) {
	a, err := v.interpret(v.masked, inputs)
	if err != nil {
		return 0, err
	}
	b, err := v.interpret(v.pruned, inputs)
	if err != nil {
		return 0, err
	}
	worst, output := 0.0, ""
	var first *graph.Node
	compared := map[string]bool{}
	for {
		n, err := a.Next()
		if err != nil {
			return 0, err
		}
		if n == nil {
			break
		}
		for _, x := range n.Out {
			if x == nil {
				continue
			}
			d, err := v.apart(a, b, x)
			if err != nil {
				return 0, err
			}
			if d < 0 {
				continue
			}
			if d > 0 && first == nil {
				first = n
			}
			compared[x.Name] = true
			if slices.Contains(v.outputs, x.Name) && d > worst {
				worst, output = d, x.Name
			}
		}
	}
	for i, x := range a.Graph.Outputs {
		if x.Producer != nil && a.Shapes.Of[x.Index].Type.IsFloat() && !a.Shapes.Of[x.Index].IsConst() && !compared[v.outputs[i]] {
			return 0, fmt.Errorf("output %q: the pruned model does not compute it", x.Name)
		}
	}
	if worst > Tolerance {
		return worst, fmt.Errorf("pruned and masked model differ: %q by %.3g of its largest value; first at %s", output, worst, first)
	}
	return worst, nil
}

// apart is the distance of a value, which a has just computed, from the same value in b,
// which is run up to there; negative where there is nothing to compare.
func (v *prover) apart(a, b *engine.Interpreter, x *graph.Value) (float64, error) {
	y := b.Graph.Value(x.Name)
	if y == nil || !a.Shapes.Of[x.Index].Type.IsFloat() || a.Shapes.Of[x.Index].IsConst() {
		return -1, nil
	}
	for b.Value(y) == nil {
		if n, err := b.Next(); err != nil || n == nil {
			return -1, err
		}
	}
	want, got := a.Value(x), b.Value(y)
	left := v.plan.Cut(x.Name, want)
	switch {
	case left == nil:
		return -1, nil // only the graph in memory has it
	case !op.EqualShape(left.Shape, got.Shape):
		return math.Inf(1), nil
	}
	return relative(left.V, got.V), nil
}

func (v *prover) interpret(m *onnxio.Model, inputs []*op.Tensor) (*engine.Interpreter, error) {
	g, err := v.read(m)
	if err != nil {
		return nil, err
	}
	r, err := engine.NewInterpreter(g, engine.NewState(g), v.options())
	if err != nil {
		return nil, err
	}
	var in []*op.Array
	for _, t := range inputs {
		in = append(in, engine.NewArray(t))
	}
	r.Start(in)
	return r, nil
}
