package main

import (
	"errors"
	"fmt"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/prune"
	"github.com/onnxprune/onnxprune/report"
)

// renormFlag puts BatchNormalization back where an export folded it away.
type renormFlag struct {
	Rebn string `help:"While training, put BatchNormalization behind each Conv that has a bias, as it was before an export folded it away; the written model has the nodes it came with. auto: for classifiers that normalise nothing (${enum})." enum:"auto,on,off" default:"auto"`
}

func (f *renormFlag) check(data bool) error {
	if f.Rebn == "on" && !data {
		return errors.New("--rebn on needs --data: the statistics are measured on it")
	}
	return nil
}

// renormed reports whether g is to be trained with normalisations put in.
func (c *pruneCmd) renormed(g *graph.Graph, s *sources) bool {
	switch {
	case s.train == nil || c.Rebn == "off":
		return false
	case c.Rebn == "on":
		return true
	}
	return s.classes() && c.RewindFrom == "" && !c.FreezeNorm && g.Opsets[""] >= 7 && !g.Normalised() && len(g.Normable()) > 0
}

// classes reports whether training minimises a loss of class probabilities of whole samples.
func (s *sources) classes() bool {
	if s.train != nil && !s.train.Label().Float && len(s.train.Label().Shape) > 0 {
		return false
	}
	_, ok := s.loss.loss.(engine.Classifier)
	return ok
}

// renorm is the graph to train for g, and the way from its values to those of g.
func (c *pruneCmd) renorm(con *console, g *graph.Graph, s *sources, pool *kernel.Pool, r *report.Run) (*graph.Graph, func(map[string][]float32) map[string][]float32, error) {
	if !c.renormed(g, s) {
		return g, func(v map[string][]float32) map[string][]float32 { return v }, nil
	}
	if c.RewindFrom != "" {
		return nil, nil, errors.New("--rebn on does not go with --rewind-from: statistics are of one model's results")
	}
	b := con.bar()
	n, err := prune.NewRenorm(g, s.train, pool, c.config(s), func(done, total int) { b.update("rebn", done, total, "") })
	b.clear()
	if err != nil {
		return nil, nil, err
	}
	r.Settings.Renormed = len(n.Convs)
	fmt.Fprintf(con.err, "rebn: BatchNormalization behind %s while training, folded again when written\n", plural(len(n.Convs), "convolution"))
	return n.Graph, n.Fold, nil
}
