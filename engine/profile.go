package engine

import (
	"fmt"
	"time"

	"github.com/onnxprune/onnxprune/op"
)

// CallTime is what one call of a plan costs.
type CallTime struct {
	// Title names the node, as in errors.
	Title string
	// Operator is the type of the node; fused calls have a name of their own.
	Operator string
	Backward bool
	// Seconds is the mean time of one run.
	Seconds float64
	// MACs are the multiply-adds of one run: twice those of the forward pass where
	// backward computes the gradients by data and by weights.
	MACs int64
}

// Profile calls step, which must run the plan, and returns the mean time of every
// call, in the order of execution. The first call of step is not measured.
func (p *Plan) Profile(runs int, step func() error) ([]CallTime, error) {
	if p.executor != nil {
		return nil, fmt.Errorf("%s: the calls of another engine cannot be timed one by one", p.Name)
	}
	if err := step(); err != nil {
		return nil, err
	}
	p.spent = map[*call]time.Duration{}
	defer func() { p.spent = nil }()
	for range runs {
		if err := step(); err != nil {
			return nil, err
		}
	}
	var times []CallTime
	for _, calls := range [][]call{p.forward, p.backward} {
		for i := range calls {
			c := &calls[i]
			t := CallTime{Title: c.title, Operator: c.kind, Backward: i < len(p.backward) && c == &p.backward[i], MACs: c.macs}
			t.Seconds = p.spent[c].Seconds() / float64(runs)
			times = append(times, t)
		}
	}
	return times, nil
}

// kindOf names the operator of a call.
func kindOf(i *inst) string {
	switch {
	case i.def != nil:
		return i.def.Name
	case i.plain != nil:
		return "fold"
	default:
		return "layout"
	}
}

// backwardMACs counts the gradients that a call computes of inputs that the forward
// pass multiplies.
func backwardMACs(i *inst, din []*op.Tensor) int64 {
	n := int64(0)
	for k, t := range din {
		if k < 2 && t != nil {
			n += i.macs
		}
	}
	return n
}
