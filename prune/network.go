package prune

import (
	"fmt"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
)

// network is what a cut leaves of the model, with its trainer.
type network struct {
	t    *Trainer
	plan *graph.Plan
	// release takes it out of the journal, where it is not the last.
	release func()
}

// network cuts out the units that are removed and prepares the training of the rest, for
// epochs epochs behind before others. Early values to go back to are those of from.
func (s *Structured) network(from *Trainer, before, epochs int) (*network, error) {
	plan, err := s.Units.Groups.Plan(s.Units.Removed())
	if err != nil {
		return nil, err
	}
	small, err := cut(s.Graph, plan, s.Values)
	if err != nil {
		return nil, err
	}
	state := engine.NewState(small)
	t := &Trainer{Graph: small, State: state, Masks: fileMasks(small, state), Train: s.Train, Val: s.Val, Pool: s.Pool, Config: from.Config, Progress: s.Progress, Journal: from.Journal}
	t.Config.Before, t.Config.Epochs = before, epochs
	if err := t.Prepare(); err != nil {
		return nil, err
	}
	if from.Rewind != nil {
		early := map[string][]float32{}
		for name := range s.Values {
			early[name] = from.Rewind.state.Floats(name)
		}
		g, err := cut(s.Graph, plan, early)
		if err != nil {
			return nil, err
		}
		t.Rewind = &Rewind{engine.NewState(g).Snapshot()}
	}
	return &network{t: t, plan: plan}, nil
}

// values enters those of the network into the whole model's; those of what is removed stay.
func (n *network) values(s *Structured) error {
	for _, v := range s.Graph.Initializers() {
		if x := s.Values[v.Name]; x != nil {
			if err := spread(x, v, n.t.State.Tensor(v.Name).F, n.plan); err != nil {
				return err
			}
		}
	}
	return nil
}

// free gives up plans and momenta: their memory is another network's.
func (t *Trainer) free() { t.plan, t.eval, t.sgd, t.best = nil, nil, nil, nil }

// cut is the model with the removed channels gone and the given values.
func cut(g *graph.Graph, plan *graph.Plan, values map[string][]float32) (*graph.Graph, error) {
	m, err := g.File.Clone()
	if err != nil {
		return nil, err
	}
	for _, v := range g.Initializers() {
		if x := values[v.Name]; x != nil {
			if err := m.SetTensor(v.Name, x); err != nil {
				return nil, err
			}
		}
	}
	if err := plan.Apply(m); err != nil {
		return nil, err
	}
	small, err := graph.New(m, g.Name)
	if err != nil {
		return nil, err
	}
	return small.SameOutputs(g)
}

// fileMasks holds the masks that the file applies, which stay.
func fileMasks(g *graph.Graph, state *engine.State) *Masks {
	m := &Masks{}
	for _, w := range g.Weights() {
		if w.Value.Mask == nil {
			continue
		}
		l := Layer{Name: w.Value.Name, Shape: w.Value.Init.Shape, Out: -1, In: -1, Z: state.Tensor(w.Value.Name).F}
		l.Theta = append([]float32(nil), l.Z...)
		l.Mask = make([]float32, len(l.Z))
		for i, keep := range w.Value.Mask.Keep {
			if keep {
				l.Mask[i] = 1
			}
		}
		m.Fixed = append(m.Fixed, l)
	}
	return m
}

// spread puts the elements of a cut tensor back at their places in the whole one.
func spread(whole []float32, v *graph.Value, small []float32, plan *graph.Plan) error {
	shape := v.Init.Shape
	gone := make([][]bool, len(shape))
	for a := range shape {
		gone[a] = plan.Gone(v, a)
	}
	at := make([]int, len(shape))
	k := 0
	for i := range whole {
		rest, out := i, false
		for a := len(shape) - 1; a >= 0; a-- {
			at[a], rest = rest%shape[a], rest/shape[a]
			out = out || gone[a] != nil && gone[a][at[a]]
		}
		if out {
			continue
		}
		if k == len(small) {
			return fmt.Errorf("initializer %q: the cut tensor has %d elements, more are kept", v.Name, len(small))
		}
		whole[i] = small[k]
		k++
	}
	if k != len(small) {
		return fmt.Errorf("initializer %q: the cut tensor has %d elements, %d are kept", v.Name, len(small), k)
	}
	return nil
}
