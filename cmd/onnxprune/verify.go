package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/report"
)

type verifyCmd struct {
	A         string  `arg:"" help:"ONNX file."`
	B         string  `arg:"" help:"ONNX file with the same inputs and outputs."`
	Data      string  `help:"Dataset directory to take inputs from (default: random numbers)." placeholder:"DIR"`
	Batch     *int    `help:"Samples of a step; without --data, samples in all (default: 16, or the one batch size that the file can be run at)." placeholder:"N"`
	Tolerance float64 `help:"Largest absolute difference that is accepted." default:"1e-4"`
	Seed      uint64  `help:"Seed of random inputs." default:"1"`
	Partial   bool    `help:"Where nodes cannot be run, compare what goes into them; what is behind them is not looked at."`
	computing
	JSON bool `help:"Print JSON."`
}

// Validate is called by kong.
func (c *verifyCmd) Validate() error {
	switch {
	case c.Batch != nil && *c.Batch < 1:
		return fmt.Errorf("--batch is %d, wants at least 1", *c.Batch)
	case !(c.Tolerance >= 0):
		return fmt.Errorf("--tolerance is %g, wants 0 or more", c.Tolerance)
	}
	return c.check()
}

// Run implements the command.
func (c *verifyCmd) Run(con *console) error {
	a, err := load(c.A)
	if err != nil {
		return err
	}
	b, err := load(c.B)
	if err != nil {
		return err
	}
	if err := errors.Join(declared(a, c.Dim), sameInputs(a, b)); err != nil {
		return err
	}
	v := &verification{Tolerance: c.Tolerance}
	if err := c.compare(a, b, v); err != nil {
		return err
	}
	v.finish()
	if c.JSON {
		err = report.WriteJSON(con.out, v)
	} else {
		err = v.print(con)
	}
	if err == nil && !v.Equal {
		err = fmt.Errorf("%s and %s differ by %.3g, --tolerance is %g", c.A, c.B, float64(v.MaxAbs), c.Tolerance)
		if v.First != "" {
			err = fmt.Errorf("%w; first at %s", err, v.First)
		}
	}
	return err
}

// sameInputs checks that the models take the same inputs.
func sameInputs(a, b *graph.Graph) error {
	if len(a.Inputs) != len(b.Inputs) {
		return fmt.Errorf("%s has %d inputs, %s has %d", a.Name, len(a.Inputs), b.Name, len(b.Inputs))
	}
	var errs []error
	for i, x := range a.Inputs {
		y := b.Inputs[i]
		if x.Type != y.Type || len(x.Dims) != len(y.Dims) {
			errs = append(errs, fmt.Errorf("%s: input %q is %s of rank %d, input %q of %s is %s of rank %d", a.Name, x.Name, x.Type, len(x.Dims), y.Name, b.Name, y.Type, len(y.Dims)))
		}
	}
	return errors.Join(errs...)
}

// frontiers are both models up to the nodes of a that cannot be run, which until names.
func frontiers(a, b *graph.Graph, dims map[string]int) (fa, fb *graph.Graph, until []string, err error) {
	own := graph.Binding{Batch: max(1, a.FixedBatch()), Dims: dims}
	fa, until, err = a.Frontier(own)
	if err != nil || until == nil {
		return a, b, nil, err
	}
	if fb, err = b.TakeBranches(graph.Binding{Batch: own.Batch, Dims: alias(a, b, dims)}); err != nil {
		return nil, nil, nil, err
	}
	fa.Outputs = slices.DeleteFunc(fa.Outputs, func(v *graph.Value) bool { return v.Producer == nil })
	if len(fa.Outputs) == 0 {
		return nil, nil, nil, fmt.Errorf("%s: no value of it can be computed", a.Name)
	}
	var names []string
	for _, v := range fa.Outputs {
		names = append(names, v.Name)
	}
	if fb, err = fb.Heads(names); err != nil {
		return nil, nil, nil, fmt.Errorf("%w\nhint: these go into nodes of %s that cannot be run", err, a.Name)
	}
	return fa, fb, until, nil
}

// match returns, per output of a, the index of b's output.
func match(a, b *graph.Graph) ([]int, error) {
	if len(a.Outputs) != len(b.Outputs) {
		return nil, fmt.Errorf("%s has %d outputs, %s has %d", a.Name, len(a.Outputs), b.Name, len(b.Outputs))
	}
	var order []int
	for i, x := range a.Outputs {
		k := slices.IndexFunc(b.Outputs, func(y *graph.Value) bool { return y.Name == x.Name })
		if k < 0 {
			k = i
		}
		order = append(order, k)
	}
	return order, nil
}

// compare runs both models on all batches and enters the differences into v.
func (c *verifyCmd) compare(a, b *graph.Graph, v *verification) error {
	dims := maps.Clone(c.Dim)
	if dims == nil {
		dims = map[string]int{}
	}
	var d *data.Dataset
	if c.Data != "" {
		var err error
		if d, err = openData(a, c.Data, dims, labelsIgnored); err != nil {
			return err
		}
		defer d.Close()
		if err := bind(b, d, c.Data, dims); err != nil {
			return err
		}
	}
	if c.Partial {
		var err error
		if a, b, v.Until, err = frontiers(a, b, dims); err != nil {
			return err
		}
	}
	order, err := match(a, b)
	if err != nil {
		return err
	}
	for _, out := range a.Outputs {
		v.Outputs = append(v.Outputs, &difference{Output: out.Name})
	}
	batch := batchSize(c.Batch, a, dims, 16)
	if d != nil {
		batch = min(batch, d.Len())
	}
	pool := c.pool()
	defer pool.Close()
	pa, err := compile(a, batch, dims, pool)
	if err != nil {
		if _, until, e := a.Frontier(graph.Binding{Batch: max(1, a.FixedBatch()), Dims: dims}); e == nil && until != nil && !c.Partial {
			err = fmt.Errorf("%w\nhint: --partial compares what goes into nodes that cannot be run", err)
		}
		return err
	}
	pb, err := compile(b, batch, alias(a, b, dims), pool)
	if err != nil {
		return err
	}
	for i, x := range pa.Inputs {
		if y := pb.Inputs[i]; !slices.Equal(x.Shape, y.Shape) {
			return fmt.Errorf("%s: input %q is %v, input %q of %s is %v", a.Name, a.Inputs[i].Name, x.Shape, b.Inputs[i].Name, b.Name, y.Shape)
		}
	}
	for i, x := range pa.Outputs {
		if y := pb.Outputs[order[i]]; !slices.Equal(x.Shape, y.Shape) {
			return fmt.Errorf("%s: output %q is %v, output %q of %s is %v", a.Name, a.Outputs[i].Name, x.Shape, b.Outputs[order[i]].Name, b.Name, y.Shape)
		}
	}
	err = c.batches(pa, d, a, func(x *data.Batch) error {
		pa.Feed(x.Inputs, x.Rows)
		pb.Feed(x.Inputs, x.Rows)
		if err := pa.Forward(); err != nil {
			return err
		}
		if err := pb.Forward(); err != nil {
			return err
		}
		v.Samples += x.Rows
		for i, out := range v.Outputs {
			out.add(pa.Outputs[i], pb.Outputs[order[i]], x.Rows, batch)
		}
		return nil
	})
	if err == nil && slices.ContainsFunc(v.Outputs, func(o *difference) bool { return o.top > c.Tolerance }) {
		v.First = c.locate(a, b, batch, d, dims, pool)
	}
	return err
}

// alias gives the dimensions of b's inputs the sizes of a's at the same place.
func alias(a, b *graph.Graph, dims map[string]int) map[string]int {
	all := maps.Clone(dims)
	for i, x := range a.Inputs {
		for k, d := range x.Dims {
			other := b.Inputs[i].Dims[k]
			size, ok := dims[d.Symbol]
			if d.Size >= 0 {
				size, ok = d.Size, true
			}
			if _, have := all[other.Symbol]; ok && !have && other.Size < 0 {
				all[other.Symbol] = size
			}
		}
	}
	return all
}

// batches hands the inputs to f: those of the dataset, or one random batch.
func (c *verifyCmd) batches(p *engine.Plan, d *data.Dataset, g *graph.Graph, f func(*data.Batch) error) error {
	if d == nil {
		b, err := randomBatch(p, g, 0, c.Seed)
		if err != nil {
			return err
		}
		return f(b)
	}
	it, err := d.Batches(data.BatchOptions{Size: p.Batch, Augment: data.AugmentNone})
	if err != nil {
		return err
	}
	defer it.Close()
	for {
		b, err := it.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(b); err != nil {
			return err
		}
		b.Release()
	}
}

// randomBatch makes inputs for a plan, and labels if there are classes.
func randomBatch(p *engine.Plan, g *graph.Graph, classes int, seed uint64) (*data.Batch, error) {
	var inputs []data.InputSpec
	for i, t := range p.Inputs {
		s := data.InputSpec{Name: g.Inputs[i].Name, Integer: !t.Type.IsFloat(), Below: g.Inputs[i].Below()}
		if t.Rank() > 0 {
			s.Shape = t.Shape[1:]
			if g.Inputs[i].BatchAxis < 0 {
				s.Shape = t.Shape
			}
		}
		inputs = append(inputs, s)
	}
	return data.RandomBatch(inputs, p.Batch, classes, seed)
}
