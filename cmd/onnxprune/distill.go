package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/prune"
)

// distillFlag makes the model as read the teacher.
type distillFlag struct {
	Distill        share    `help:"Learn from the outputs of the model before pruning; labels are optional: by KL of output 0 for classes, by the squared error of all outputs otherwise (--loss distill or mse decides). A SHARE below 1, as --distill=0.5, leaves the rest to the labels of output 0. Without --data, inputs are made up." placeholder:"SHARE"`
	DistillOutputs []string `help:"Outputs, or values or nodes within the graph, whose squared error counts (default: all outputs). What follows them is not run." placeholder:"NAME,…"`

	// lost are outputs that cannot be run, where what is before them is learned from.
	lost []*graph.Value
}

// share is a flag whose value, a number, may be left out.
type share struct {
	set bool
	of  float64
}

// Decode implements [kong.MapperValue].
func (s *share) Decode(ctx *kong.DecodeContext) error {
	s.set, s.of = true, 1
	token := ctx.Scan.Peek()
	text, ok := token.Value.(string)
	if !ok {
		return nil
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		if token.Type == kong.FlagValueToken {
			return fmt.Errorf("is %q, wants a number", text)
		}
		return nil
	}
	ctx.Scan.Pop()
	s.of = x
	return nil
}

// MarshalJSON implements [json.Marshaler]: 0 where the flag is not set.
func (s share) MarshalJSON() ([]byte, error) { return json.Marshal(s.of) }

func (d *distillFlag) check(l *lossFlags, data bool) error {
	if !d.Distill.set {
		if len(d.DistillOutputs) > 0 {
			return errors.New("--distill-outputs goes with --distill")
		}
		return nil
	}
	switch {
	case !data && d.Distill.of != 1:
		return fmt.Errorf("--distill=%g needs --data: made-up inputs have no labels", d.Distill.of)
	case !(d.Distill.of > 0 && d.Distill.of <= 1):
		return fmt.Errorf("--distill is %g, wants more than 0, up to 1", d.Distill.of)
	case l.Loss == "ce":
		return errors.New("--distill goes with --loss auto, mse and distill, not ce")
	case len(d.DistillOutputs) > 0 && l.Loss == "distill":
		return errors.New("--distill-outputs is for squared errors, --loss distill for the KL of output 0")
	case l.LabelWeight != 0:
		return errors.New("--label-weight is for --loss distill alone, --distill has the share of the model's outputs")
	}
	return nil
}

// heads is g with the outputs to learn from: those named, or, where some cannot be run, what
// is before these.
func (c *pruneCmd) heads(g *graph.Graph) (h *graph.Graph, err error) {
	d := &c.distillFlag
	d.lost = nil
	switch {
	case len(d.DistillOutputs) > 0:
		if h, err = g.Heads(d.DistillOutputs); err != nil {
			return nil, fmt.Errorf("--distill-outputs: %w\nhint: onnxprune inspect lists nodes", err)
		}
	case d.Distill.set && c.Loss != "distill":
		ends, lost, err := g.Ends(c.Dim)
		if err != nil || len(ends) == 0 {
			return g, err
		}
		d.lost = lost
		h = g.WithOutputs()
		h.Outputs = ends
	default:
		return g, nil
	}
	if d.Distill.of < 1 && h.Outputs[0] != g.Outputs[0] {
		if d.lost != nil {
			return nil, fmt.Errorf("--distill=%g leaves a share to labels, which are of output %q, and that cannot be run", d.Distill.of, g.Outputs[0].Name)
		}
		return nil, fmt.Errorf("--distill=%g leaves a share to labels, which are of output %q: --distill-outputs has to name it first", d.Distill.of, g.Outputs[0].Name)
	}
	return h, nil
}

// sayLost tells what is learned from where outputs cannot be run.
func (c *pruneCmd) sayLost(con *console, t *prune.Trainer) {
	if len(c.lost) == 0 {
		return
	}
	var names []string
	for _, v := range c.lost {
		names = append(names, strconv.Quote(v.Name))
	}
	fmt.Fprintf(con.err, "outputs that cannot be run: %s; learned from %s before them (--distill-outputs names others)\n", strings.Join(names, ", "), plural(1+len(t.Plan().Others()), "value"))
}

// within is g with those of the outputs to learn from that are not its own, so that their shapes stay.
func (d *distillFlag) within(g, heads *graph.Graph) *graph.Graph {
	var more []*graph.Value
	for _, v := range heads.Outputs {
		if !slices.Contains(g.Outputs, v) {
			more = append(more, v)
		}
	}
	return g.WithOutputs(more...)
}

// labels says how those of the training and of the validation set are read: not at all where
// what is learned from begins with another value than output 0.
func (c *pruneCmd) labels(other bool) (train, val labelUse) {
	switch {
	case other:
		return labelsIgnored, labelsIgnored
	case c.Distill.set && c.Distill.of == 1:
		return labelsOptional, labelsOptional
	case c.Distill.set:
		return labelsWanted, labelsOptional
	case c.Loss == "distill":
		return labelsOptional, labelsWanted
	}
	return labelsWanted, labelsWanted
}

// distillation chooses how to learn from the outputs of g, and how to measure where
// --val has no labels.
func (c *pruneCmd) distillation(g *graph.Graph, s *sources, dims map[string]int) error {
	label := s.train.Label()
	classes := label.Present && !label.Float || s.val != nil && s.val.Label().Present && !s.val.Label().Float || probabilities(g, dims)
	rest := 1 - c.Distill.of
	named := len(c.DistillOutputs)+len(c.lost) > 0
	switch {
	case c.Loss != "auto":
		classes = c.Loss == "distill"
	case named && rest == 0:
		classes = false
	case named && classes:
		return errors.New("--distill-outputs is for squared errors, the loss here is the KL of output 0\nhint: try --loss mse")
	}
	if rest > 0 {
		if classes == label.Float {
			return fmt.Errorf("%s: --distill=%g leaves a share to labels of the same kind as its loss: class numbers (int64) for KL, values (float32) for mean squared error", c.Data, c.Distill.of)
		}
		if label.Float {
			if _, err := (&lossFlags{Loss: "mse"}).choose(g, c.Data, label, dims); err != nil {
				return err
			}
		}
	}
	measure := objective{name: "mean squared error to the unpruned model", loss: engine.MeanSquaredError{}, live: true}
	if rest == 0 {
		measure = objective{name: "mean squared error to the unpruned model, over its variance", loss: engine.NormalizedSquaredError{}, live: true}
		for i := 1; i < len(g.Outputs); i++ {
			s.others = append(s.others, i)
		}
	}
	s.loss, s.labelShare = measure, rest
	if classes {
		s.others = nil
		last := classesLast(g, s, dims)
		measure = objective{name: "distillation from the unpruned model", loss: engine.Distillation{Temperature: c.Temperature, Last: last}, live: true}
		s.loss, s.labelShare = measure, 0
		s.loss.loss = engine.Distillation{Temperature: c.Temperature, LabelWeight: rest, Last: last}
	}
	if s.val != nil && !s.val.Label().Present {
		s.valLoss = measure
	}
	return nil
}

// classesLast reports whether output 0 has its classes on the last axis, by the labels of positions of --data or --val.
func classesLast(g *graph.Graph, s *sources, dims map[string]int) bool {
	row, known := logits(g, dims)
	for _, d := range []*data.Dataset{s.train, s.val} {
		if d == nil || !d.Label().Present || d.Label().Float || !known || len(row) == 0 {
			continue
		}
		if axis, err := classAxis(d.Label().Shape, row); err == nil {
			return axis > 0
		}
	}
	return false
}

// probabilities reports whether the model has one output, and that is a Softmax of rows [classes].
func probabilities(g *graph.Graph, dims map[string]int) bool {
	if len(g.Outputs) != 1 || g.Outputs[0].Producer == nil || g.Outputs[0].Producer.Type != "Softmax" {
		return false
	}
	row, known := logits(g, dims)
	return known && len(row) == 1
}

// teach makes the unpruned model the teacher, of training and of what is measured
// without labels.
func (c *pruneCmd) teach(t *prune.Trainer, s *sources) error {
	g := s.heads
	compile := func(batch int) (*engine.Plan, error) {
		return engine.Compile(g, engine.NewState(g), engine.Options{Batch: batch, Dims: s.dims, Pool: t.Pool, Constant: true})
	}
	var err error
	if s.loss.live {
		if t.Config.Teacher, err = compile(t.Config.Batch); err != nil {
			return err
		}
		t.Config.LabelShare = s.labelShare
	}
	if s.val != nil && s.valLoss.live && !s.val.Label().Present {
		t.Config.EvalTeacher, err = compile(prune.EvalBatch(g, s.dims, s.val.Len()))
	}
	return err
}
