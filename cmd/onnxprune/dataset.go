package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/op"
)

// specs are the model's inputs as a dataset must have them. Dimensions that neither the
// file nor dims fix are -1.
func specs(g *graph.Graph, dims map[string]int) ([]data.InputSpec, error) {
	var out []data.InputSpec
	var errs []error
	for _, in := range g.Inputs {
		if !in.Ranked || len(in.Dims) == 0 {
			errs = append(errs, fmt.Errorf("%s: input %q: has no batch axis, data cannot be fed to it", g.Name, in.Name))
			continue
		}
		s := data.InputSpec{Name: in.Name, Integer: !in.Type.IsFloat(), Below: in.Below()}
		size := func(d graph.Dim) int {
			if given, ok := dims[d.Symbol]; ok && d.Size < 0 {
				return given
			}
			return d.Size
		}
		for _, d := range in.Row() {
			s.Shape = append(s.Shape, size(d))
		}
		for _, d := range in.Dims {
			s.Dims = append(s.Dims, size(d))
		}
		out = append(out, s)
	}
	return out, errors.Join(errs...)
}

// labelUse says whether a dataset's labels are read.
type labelUse int

const (
	labelsWanted labelUse = iota
	labelsOptional
	labelsIgnored
)

// openData opens a dataset for g and adds to dims the sizes that the data give to the
// model's open dimensions. Class numbers are checked against output 0.
func openData(g *graph.Graph, dir string, dims map[string]int, use labelUse) (*data.Dataset, error) {
	inputs, err := specs(g, dims)
	if err != nil {
		return nil, errors.Join(unsupported(g), err)
	}
	opts := data.Options{NoLabels: use == labelsIgnored}
	if use == labelsOptional {
		if _, err := os.Stat(filepath.Join(dir, "label-00000.npy")); errors.Is(err, os.ErrNotExist) {
			opts.NoLabels = true
		}
	}
	d, err := data.Open(dir, inputs, opts)
	if err != nil {
		return nil, err
	}
	if err := bind(g, d, dir, dims); err != nil {
		d.Close()
		return nil, err
	}
	label := d.Label()
	shape, known := logits(g, dims)
	if !label.Present || label.Float || !known || len(shape) == 0 {
		return d, nil
	}
	axis, err := classAxis(label.Shape, shape)
	d.Close()
	if err != nil {
		err = fmt.Errorf("%s: label-00000.npy: %w", dir, err)
		if use == labelsOptional {
			err = fmt.Errorf("%w\nhint: without label shards the outputs of the unpruned model are learned", err)
		}
		return nil, err
	}
	opts.Classes = shape[axis]
	return data.Open(dir, inputs, opts)
}

// classAxis is the axis of a row of output 0 that has the classes, for labels that have a class number for every place
// on the others, or one for the row: the first, as [K,H,W] for [H,W], or the last, as [T,K] for [T].
func classAxis(label, row []int) (int, error) {
	last := len(row) - 1
	places := func(of []int) bool { return slices.Equal(label, of) || len(label) == 0 && op.Size(of) == 1 }
	first, behind := places(row[1:]), places(row[:last])
	switch {
	case first && behind && last > 0 && len(label) > 0:
		return 0, fmt.Errorf("rows of %v are class numbers for the first axis of the output's %v, or for the last", label, row)
	case first:
		return 0, nil
	case behind:
		return last, nil
	case len(label) == 0:
		return 0, fmt.Errorf("one class number a row, the output has rows of %v: want rows of %v or %v", row, row[1:], row[:last])
	}
	return 0, fmt.Errorf("rows of %v of class numbers, the output has rows of %v: want rows of %v or %v", label, row, row[1:], row[:last])
}

// bind gives open dimensions the sizes of the data's rows.
func bind(g *graph.Graph, d *data.Dataset, dir string, dims map[string]int) error {
	for i, in := range g.Inputs {
		for k, size := range d.InputShape(i) {
			dim := in.Row()[k]
			if dim.Size >= 0 {
				continue
			}
			if have, ok := dims[dim.Symbol]; ok && have != size {
				return fmt.Errorf("%s: input %q: dimension %q is %d here and %d elsewhere", dir, in.Name, dim.Symbol, size, have)
			}
			dims[dim.Symbol] = size
		}
	}
	return nil
}

// lossFlags choose what training minimises.
type lossFlags struct {
	Loss        string  `help:"What training minimises: ce (class numbers), mse (values), distill (KL to the values of float labels; without these, to the model before pruning), auto: ce or mse by the labels." enum:"auto,ce,mse,distill" default:"auto"`
	Temperature float64 `help:"Temperature of --loss distill." default:"4"`
	LabelWeight float64 `help:"Share of the labels' cross-entropy in --loss distill, 0 to 1." default:"0"`
}

func (l *lossFlags) check() error {
	switch {
	case !(l.Temperature > 0):
		return fmt.Errorf("--temperature is %g, wants more than 0", l.Temperature)
	case !(l.LabelWeight >= 0 && l.LabelWeight <= 1):
		return fmt.Errorf("--label-weight is %g, wants 0 to 1", l.LabelWeight)
	case l.LabelWeight > 0 && l.Loss != "distill":
		return errors.New("--label-weight is for --loss distill")
	}
	return nil
}

// objective is a loss with what it was chosen for.
type objective struct {
	name string
	loss engine.Loss
	// live asks for the unpruned model as teacher.
	live bool
}

// choose finds the loss for labels of that kind and checks that they fit output 0.
func (l *lossFlags) choose(g *graph.Graph, dir string, label data.Label, dims map[string]int) (objective, error) {
	name := l.Loss
	if name == "auto" {
		name = "ce"
		if label.Float {
			name = "mse"
		}
	}
	shape, known := logits(g, dims)
	out := g.Outputs[0].Name
	if label.Float && known && !sameRow(label.Shape, shape) {
		return objective{}, fmt.Errorf("%s: label-00000.npy: rows of %v, output %q of the model has rows of %v", dir, label.Shape, out, shape)
	}
	if !label.Float && known && len(shape) == 0 && name != "mse" {
		return objective{}, fmt.Errorf("%s: output %q has rows of %v, class numbers want [classes]", g.Name, out, shape)
	}
	last := false
	if label.Present && !label.Float && known && len(shape) > 0 {
		axis, err := classAxis(label.Shape, shape)
		if err != nil {
			return objective{}, fmt.Errorf("%s: label-00000.npy: %w", dir, err)
		}
		last = axis > 0
	}
	switch name {
	case "ce":
		if label.Float {
			return objective{}, fmt.Errorf("%s: the labels are float values, --loss ce wants class numbers (int64)", dir)
		}
		return objective{name: "cross-entropy", loss: engine.CrossEntropy{Last: last}}, nil
	case "mse":
		if !label.Float {
			return objective{}, fmt.Errorf("%s: the labels are class numbers, --loss mse wants values (float32)", dir)
		}
		return objective{name: "mean squared error", loss: engine.MeanSquaredError{}}, nil
	}
	if l.LabelWeight > 0 && (label.Float || !label.Present) {
		return objective{}, fmt.Errorf("%s: --label-weight wants class numbers (int64) as labels", dir)
	}
	o := objective{name: "distillation from stored values", loss: engine.Distillation{Temperature: l.Temperature, LabelWeight: l.LabelWeight, Last: last}}
	if !label.Float {
		o.name, o.live = "distillation from the unpruned model", true
	}
	return o, nil
}

// sameRow compares shapes of one sample; a label of one value may have no axis.
func sameRow(label, output []int) bool {
	return slices.Equal(label, output) || len(label) == 0 && slices.Equal(output, []int{1})
}
