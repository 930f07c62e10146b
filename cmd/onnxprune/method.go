package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/prune"
	"github.com/onnxprune/onnxprune/report"
)

// methodFlags choose how masks are found, and what follows.
type methodFlags struct {
	Method     string `help:"How masks are found: bip (bi-level pruning; default with --data), omp (one-shot magnitude; default without), imp (rounds of magnitude pruning and training, --epochs each), hydra (scores with weights frozen, then weights), snip, grasp, synflow, random. What is found in one go is retrained for --epochs if there is --data; omp, synflow and random need none." enum:",${methods}" default:"" placeholder:"NAME"`
	Retrain    int    `help:"Further epochs with the masks fixed." placeholder:"EPOCHS"`
	Rewind     *int   `help:"Weights go back to those of this epoch of dense training wherever training under fixed masks, or of a model without the removed channels, begins; 0: before it." placeholder:"EPOCH"`
	RewindFrom string `help:"Where dense training begins, for --rewind (alone: --rewind 0): the same model with other weights." placeholder:"MODEL.onnx"`

	method prune.Method
	from   *graph.Graph
}

// check finds the method, for a structure, with or without data.
func (m *methodFlags) check(s prune.Structure, importance string, data bool) error {
	name := m.Method
	if name == "" {
		name = "omp"
		if data {
			name = "bip"
		}
	}
	var err error
	if m.method, err = prune.FindMethod(name); err != nil {
		return err
	}
	if m.method.NeedsData() && !data {
		return fmt.Errorf("--method %s needs --data", name)
	}
	if s.Grouped() {
		if err := m.method.CheckUnits(); err != nil {
			return err
		}
		if importance != "" && m.ranks() {
			return fmt.Errorf("--importance is for --method bip, hydra, imp and omp, %s ranks channels by itself", name)
		}
	}
	zero := 0
	if m.RewindFrom != "" && m.Rewind == nil {
		m.Rewind = &zero
	}
	for _, f := range []struct {
		set  bool
		name string
	}{{m.Retrain != 0, "--retrain"}, {m.Rewind != nil, "--rewind"}} {
		if f.set && !data {
			return fmt.Errorf("%s needs --data", f.name)
		}
	}
	if m.Retrain < 0 {
		return fmt.Errorf("--retrain is %d, wants at least 0", m.Retrain)
	}
	if m.Rewind != nil && m.Retrain == 0 && m.method.Name == "bip" && !s.Grouped() {
		return errors.New("--rewind with --method bip wants --retrain: bip has no training under fixed masks of its own")
	}
	m.Method = name
	return nil
}

// ranks reports whether the method ranks channels by scores of its own.
func (m *methodFlags) ranks() bool { return m.method.Score != nil && m.method.Name != "omp" }

// ranking is what single weights are ranked by before training, "" for their magnitude.
func (m *methodFlags) ranking() string {
	if m.ranks() {
		return m.method.Name
	}
	return ""
}

// open reads the file to rewind to.
func (m *methodFlags) open() (err error) {
	if m.RewindFrom != "" {
		m.from, err = loadUntied(m.RewindFrom)
	}
	return err
}

// rewind trains the dense model for as long as asked, and enters it.
func (m *methodFlags) rewind(con *console, t *prune.Trainer, b *bar, r *report.Run) error {
	r.Settings.Retrain, r.Settings.Rewind = m.Retrain, m.Rewind
	if m.Rewind == nil {
		return nil
	}
	where := t.Graph.Name
	if m.from != nil {
		where, r.Settings.RewindFrom = m.from.Name, filepath.Base(m.RewindFrom)
	}
	if *m.Rewind > 0 {
		fmt.Fprintf(con.err, "rewind: %s of dense training from %s\n", plural(*m.Rewind, "epoch"), where)
	}
	all := t.Progress
	defer func() { t.Progress = all }()
	t.Progress = prune.Progress{Step: func(epoch, step, steps int, loss float64) {
		b.update(fmt.Sprintf("dense epoch %d/%d", epoch, *m.Rewind), step, steps, fmt.Sprintf("loss %.4f", loss))
	}}
	defer b.clear()
	return t.RewindTo(m.from, *m.Rewind)
}

// ranker is what ranks channels. Methods that read data do so when there is a trainer.
func (c *pruneCmd) ranker(units *prune.Units, s *prune.Saliency) (prune.Importance, error) {
	switch {
	case !c.ranks():
		return prune.FindImportance(c.Importance)
	case c.method.Gradients:
		return prune.Importance{Name: c.method.Name}, nil
	}
	return c.method.ForUnits(units, s)
}
