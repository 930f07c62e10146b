package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/alecthomas/kong"
	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/prune"
)

// distillFlag makes the model as read the teacher.
type distillFlag struct {
	Distill        share    `help:"Learn from the outputs of the model before pruning; labels are optional: by KL of output 0 for classes, by the squared error of all outputs otherwise (--loss distill or mse decides). A SHARE below 1, as --distill=0.5, leaves the rest to the labels of output 0. Without --data, inputs are made up." placeholder:"SHARE"`
	DistillOutputs []string `help:"Outputs whose squared error counts (default: all)." placeholder:"NAME,…"`
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
	case l.LabelWeight != 0:
		return errors.New("--label-weight is for --loss distill alone, --distill has the share of the model's outputs")
	}
	return nil
}

// labels says whether the training set must have some.
func (c *pruneCmd) labels() labelUse {
	if c.Distill.set && c.Distill.of == 1 || !c.Distill.set && c.Loss == "distill" {
		return labelsOptional
	}
	return labelsWanted
}

// distillation chooses how to learn from the model itself, and how to measure where
// --val has no labels.
func (c *pruneCmd) distillation(g *graph.Graph, s *sources, dims map[string]int) error {
	label := s.train.Label()
	classes := label.Present && !label.Float || s.val != nil && s.val.Label().Present && !s.val.Label().Float || g.Outputs[0].Producer != nil && g.Outputs[0].Producer.Type == "Softmax"
	if c.Loss != "auto" {
		classes = c.Loss == "distill"
	}
	rest := 1 - c.Distill.of
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
	named, err := c.outputs(g)
	if err != nil {
		return err
	}
	measure := objective{name: "mean squared error to the unpruned model", loss: engine.MeanSquaredError{}, live: true}
	if rest == 0 {
		measure = objective{name: "mean squared error to the unpruned model, over its variance", loss: engine.NormalizedSquaredError{}, live: true}
		s.others = named
	}
	s.loss, s.labelShare = measure, rest
	if classes {
		if len(c.DistillOutputs) > 0 {
			return errors.New("--distill-outputs is for squared errors, the loss here is the KL of output 0\nhint: try --loss mse")
		}
		s.others = nil
		measure = objective{name: "distillation from the unpruned model", loss: engine.Distillation{Temperature: c.Temperature}, live: true}
		s.loss, s.labelShare = measure, 0
		s.loss.loss = engine.Distillation{Temperature: c.Temperature, LabelWeight: rest}
	}
	if s.val != nil && !s.val.Label().Present {
		s.valLoss = measure
	}
	return nil
}

// outputs are the further outputs that a squared error reads: all, or those named, of which
// output 0 is one where it is named first or alone.
func (c *pruneCmd) outputs(g *graph.Graph) ([]int, error) {
	var others []int
	for i, v := range g.Outputs {
		if i > 0 && (len(c.DistillOutputs) == 0 || slices.Contains(c.DistillOutputs, v.Name)) {
			others = append(others, i)
		}
	}
	var errs []error
	for _, name := range c.DistillOutputs {
		if !slices.ContainsFunc(g.Outputs, func(v *graph.Value) bool { return v.Name == name }) {
			errs = append(errs, fmt.Errorf("%s: --distill-outputs: no output %q", g.Name, name))
		}
	}
	return others, errors.Join(errs...)
}

// teach makes the unpruned model the teacher, of training and of what is measured
// without labels.
func (c *pruneCmd) teach(t *prune.Trainer, g *graph.Graph, s *sources) error {
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
