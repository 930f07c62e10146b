package prune

import (
	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
)

// ParameterBytes is the size of all initializers that training changes: of momenta, or of
// any other copy of them.
func ParameterBytes(g *graph.Graph, state *engine.State) int64 {
	n := int64(0)
	for v, role := range g.Roles() {
		if t := state.Tensor(v.Name); t != nil && role == graph.Trained {
			n += 4 * int64(t.Size())
		}
	}
	return n
}

// Need is the memory in bytes that a run of m will take at most, besides what there is
// before Prepare: plans, momenta, scores, copies to go back to, batches. The unpruned model
// is a teacher of training, or of evaluations, or of both.
func (t *Trainer) Need(m Method, teacher, evalTeacher bool) (int64, error) {
	c := t.Config
	c.Batch = min(c.Batch, t.Train.Len())
	plan, err := engine.Need(t.Graph, t.State, engine.Options{Batch: c.Batch, Dims: c.Dims, Loss: c.Loss, FreezeNorm: c.FreezeNorm, Pool: t.Pool})
	if err != nil {
		return 0, err
	}
	all, masked := int64(0), int64(0)
	for _, name := range t.State.Names() {
		all += 4 * int64(t.State.Tensor(name).Size())
	}
	for _, l := range t.Masks.Layers {
		masked += 4 * int64(len(l.Theta))
	}
	trained := ParameterBytes(t.Graph, t.State)
	need := plan + trained
	if c.Anchor > 0 {
		need += masked
	}
	inputs := Rows(t.Train)
	streams := int64(1)
	if m.Train != nil && m.Name != "imp" || c.BothBatches {
		streams = 2
	}
	forward := func(size int, constant bool) (int64, error) {
		return engine.Need(t.Graph, t.State, engine.Options{Batch: size, Dims: c.Dims, Pool: t.Pool, Constant: constant})
	}
	batches := streams * inFlight * int64(c.Batch) * inputs
	if t.Val != nil {
		size := EvalBatch(t.Graph, c.Dims, t.Val.Len())
		eval, err := forward(size, false)
		if err != nil {
			return 0, err
		}
		need += eval
		batches = max(batches, inFlight*int64(size)*inputs)
		if evalTeacher {
			teacher, err := forward(size, true)
			if err != nil {
				return 0, err
			}
			need += teacher + all
		}
	}
	if teacher {
		plan, err := forward(c.Batch, true)
		if err != nil {
			return 0, err
		}
		need += plan + all
	}
	need += batches
	// The best epoch, and the one that takes its place.
	kept := all + 2*masked
	need += 2 * kept
	if m.Name == "imp" {
		need += kept
	}
	if c.Structure.Grouped() && t.Val != nil {
		need += all // epoch 0
	}
	scores := int64(0)
	if m.Train != nil && m.Name != "imp" && !c.Structure.Grouped() {
		scores = 2 * masked
		need += 3 * masked
	}
	if c.Retries > 0 {
		need += all + trained + scores
	}
	if t.Rewind != nil {
		need += all
	}
	return need, nil
}

// inFlight is how many batches a stream has made or is making.
const inFlight = 7

// Rows is the size of one decoded row of all inputs of a dataset, in bytes.
func Rows(d *data.Dataset) int64 {
	n := int64(0)
	for i := range d.Inputs() {
		size := int64(4)
		for _, k := range d.InputShape(i) {
			size *= int64(k)
		}
		n += size
	}
	return n
}
