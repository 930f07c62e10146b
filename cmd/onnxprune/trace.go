package main

import (
	"time"

	"github.com/onnxprune/onnxprune/export"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/prune"
	"github.com/onnxprune/onnxprune/report"
	"github.com/onnxprune/onnxprune/sweep"
)

// trace is what a sweep wants to know of a run besides its report. A nil trace wants
// nothing.
type trace struct {
	// onStep hears of every step, with the number of steps of an epoch.
	onStep func(steps int)
	// lower are ratios whose results imp has on its way, onRung hears of them and at last
	// of the ratio itself; the model is written to OUT every time.
	lower  []float64
	onRung func(r *report.Run, seen trained) error
	// fold is the way from the values of the graph that is trained to those of the file.
	fold func(map[string][]float32) map[string][]float32

	trained
}

// trained is what training came to: seconds since the run began, passes over the data,
// and what stays.
type trained struct {
	seconds, passes float64
	kept            []sweep.Kept
}

func (t *trace) step(steps int) {
	if t != nil && t.onStep != nil {
		t.onStep(steps)
	}
}

func (t *trace) folding(fold func(map[string][]float32) map[string][]float32) {
	if t != nil {
		t.fold = fold
	}
}

// done enters the end of training.
func (t *trace) done(c *pruneCmd, passes float64, kept func() []sweep.Kept) {
	if t != nil {
		t.trained = trained{time.Since(c.start).Seconds(), passes, kept()}
	}
}

// rungs has every ratio on the way of tr written and reported.
func (t *trace) rungs(c *pruneCmd, tr *prune.Trainer, s *sources, r *report.Run) {
	if t == nil || t.onRung == nil {
		return
	}
	seconds, passes := time.Since(c.start).Seconds(), tr.Passes()
	tr.Rungs = &prune.Rungs{Ratios: t.lower, Reached: func(ratio, own, more float64) error {
		best, err := tr.Best()
		if err != nil {
			return err
		}
		run := *r
		enterEpochs(&run, tr.History, best)
		enter(&run, tr.Masks, ratio)
		g, err := c.load()
		if err != nil {
			return err
		}
		check, err := export.Write(g, export.Result{Values: t.fold(values(tr.State, tr.Masks)), Masks: tr.Masks.Bools()}, graph.MaskForm(c.Masks), c.Out)
		if err != nil {
			return err
		}
		if err := c.finish(&run, check, s.dims); err != nil {
			return err
		}
		return t.onRung(&run, trained{seconds + own, passes + more, keptWeights(tr.Masks)()})
	}}
}

// channelRungs is rungs for channels.
func (t *trace) channelRungs(c *pruneCmd, p *prune.Structured, tr *prune.Trainer, s *sources, r *report.Run) {
	if t == nil || t.onRung == nil {
		return
	}
	silent := &console{}
	silent.silence()
	seconds, passes := time.Since(c.start).Seconds(), tr.Passes()
	p.Rungs = &prune.Rungs{Ratios: t.lower, Reached: func(ratio, own, more float64) error {
		run := *r
		enterEpochs(&run, p.History, p.Best)
		sel := &selection{units: p.Units, choice: p.Choice, values: t.fold(p.Values)}
		// Writing changes the model in memory.
		g, err := c.load()
		if err != nil {
			return err
		}
		groups, err := g.Groups(s.dims)
		if err != nil {
			return err
		}
		if err := c.writeChannels(silent, g, groups, sel, ratio, s, p.Pool, &run); err != nil {
			return err
		}
		return t.onRung(&run, trained{seconds + own, passes + more, keptChannels(p.Units)()})
	}}
}

// keptWeights says which weights stay.
func keptWeights(m *prune.Masks) func() []sweep.Kept {
	return func() (out []sweep.Kept) {
		keep := m.Bools()
		for _, l := range m.Layers {
			out = append(out, sweep.NewKept(l.Name, keep[l.Name]))
		}
		return out
	}
}

// keptChannels says which channels stay.
func keptChannels(u *prune.Units) func() []sweep.Kept {
	return func() (out []sweep.Kept) {
		for g, removed := range u.Removed() {
			keep := make([]bool, len(removed))
			for i, gone := range removed {
				keep[i] = !gone
			}
			out = append(out, sweep.NewKept(u.Groups.Groups[g].Name, keep))
		}
		return out
	}
}
