package prune

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/op"
)

// Rewind holds the values of all initializers, running statistics included, that
// training under a fixed mask starts from. Source: Frankle et al., ICML 2020, "Linear
// Mode Connectivity and the Lottery Ticket Hypothesis".
type Rewind struct{ state *engine.Snapshot }

// RewindTo takes the values of from (nil: those of the trainer's model) after as many
// epochs of dense training, with the rate of a run of Config.Epochs, or Whole. The trainer's own
// values, masks and history stay as they are.
func (t *Trainer) RewindTo(from *graph.Graph, epochs int) error {
	if all := cmp.Or(t.Config.Whole, t.Config.Epochs); epochs < 0 || epochs > all {
		return fmt.Errorf("--rewind is %d, wants 0 to --epochs (%d)", epochs, all)
	}
	before := t.State.Snapshot()
	if from != nil {
		values := engine.NewState(from)
		if err := sameParameters(t.Graph, t.State, from, values); err != nil {
			return err
		}
		for _, name := range t.State.Names() {
			copy(t.State.Tensor(name).F, values.Tensor(name).F)
		}
		t.Masks.reload()
	}
	t.step = 0
	trace := t.Journal.Trace
	t.Journal.Trace = nil
	defer func() { t.Journal.Trace = trace }()
	for epoch := 1; epoch <= epochs; epoch++ {
		if _, err := t.epoch(epoch, t.lower); err != nil {
			return err
		}
	}
	t.Rewind = &Rewind{t.State.Snapshot()}
	if _, err := t.Journal.settle("rewind", func(s *slots) {
		for _, name := range t.State.Names() {
			s.floats(named("value", name), t.Rewind.state.Floats(name))
		}
	}); err != nil {
		return err
	}
	t.State.Restore(before)
	t.Masks.reload()
	t.step = 0
	t.sgd.Reset()
	return nil
}

// reload takes Theta from Z.
func (m *Masks) reload() {
	for _, l := range slices.Concat(m.Layers, m.Fixed) {
		copy(l.Theta, l.Z)
	}
}

// sameParameters reports every initializer of g that from lacks or has in another shape.
func sameParameters(g *graph.Graph, state *engine.State, from *graph.Graph, values *engine.State) error {
	var errs []error
	for _, name := range state.Names() {
		want, have := state.Tensor(name), values.Tensor(name)
		switch {
		case have == nil:
			errs = append(errs, fmt.Errorf("%s: initializer %q of %s is missing", from.Name, name, g.Name))
		case op.ShapeString(have.Shape) != op.ShapeString(want.Shape):
			errs = append(errs, fmt.Errorf("%s: initializer %q is %s, in %s it is %s", from.Name, name, op.ShapeString(have.Shape), g.Name, op.ShapeString(want.Shape)))
		}
	}
	if len(errs) > 0 {
		errs = append(errs, errors.New("hint: --rewind-from wants the same model with other weights"))
	}
	return errors.Join(errs...)
}

// rewind puts values back, masks as they are; nothing happens without a Rewind.
func (t *Trainer) rewind() {
	if t.Rewind == nil {
		return
	}
	t.State.Restore(t.Rewind.state)
	t.Masks.reload()
	t.Masks.Apply()
	t.sgd.Reset()
}
