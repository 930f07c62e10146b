package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/prune"
	"github.com/onnxprune/onnxprune/report"
)

type evalCmd struct {
	Model string `arg:"" help:"ONNX file."`
	Data  string `required:"" help:"Dataset directory with labels." placeholder:"DIR"`
	Batch int    `help:"Samples of a step (default: up to 200)." placeholder:"N"`
	computing
	engineFlag
	JSON  bool `help:"Print JSON."`
	Quiet bool `help:"Show no progress."`
}

// Validate is called by kong.
func (c *evalCmd) Validate() error {
	if c.Batch < 0 {
		return fmt.Errorf("--batch is %d, wants at least 1", c.Batch)
	}
	return c.check()
}

// evaluation is the JSON of eval.
type evaluation struct {
	report.Score
	// MeanIoU is the mean over classes of the intersection over the union of labelled and output positions.
	MeanIoU         *float64 `json:"mean_iou,omitempty"`
	ImagesPerSecond float64  `json:"images_per_second"`
}

// Run implements the command.
func (c *evalCmd) Run(con *console) error {
	g, err := load(c.Model)
	if err != nil {
		return err
	}
	sayInlined(con, g)
	if err := declared(g, c.Dim); err != nil {
		return err
	}
	dims := maps.Clone(c.Dim)
	if dims == nil {
		dims = map[string]int{}
	}
	d, err := openData(g, c.Data, dims, labelsWanted)
	if err != nil {
		return err
	}
	defer d.Close()
	o, err := (&lossFlags{Loss: "auto"}).choose(g, c.Data, d.Label(), dims)
	if err != nil {
		return err
	}
	batch := prune.EvalBatch(g, dims, d.Len())
	if c.Batch > 0 {
		batch = min(c.Batch, d.Len())
	}
	pool := c.pool()
	defer pool.Close()
	plan, err := engine.Compile(g, engine.NewState(g), engine.Options{Batch: batch, Dims: dims, Pool: pool, Lower: c.lowering(), Constant: true})
	if err != nil {
		return err
	}
	b := con.bar()
	s, err := prune.Evaluate(plan, d, o.loss, func(done, total int) {
		if !c.Quiet {
			b.update("eval", done, total, "")
		}
	})
	b.clear()
	if err != nil {
		return err
	}
	e := evaluation{Score: *score(s), ImagesPerSecond: s.ImagesPerSecond}
	if s.Classes && len(d.Label().Shape) > 0 {
		e.MeanIoU = &s.MeanIoU
	}
	if c.JSON {
		return report.WriteJSON(con.out, e)
	}
	head := []string{">samples", ">loss", ">top-1", ">top-5", ">images/s"}
	if e.MeanIoU != nil {
		head = slices.Insert(head, 4, ">mean IoU")
	}
	t := report.NewTable(head...)
	top1, top5 := "-", "-"
	if e.Top1 != nil {
		top1, top5 = report.Percent(*e.Top1), report.Percent(*e.Top5)
	}
	row := []string{report.Count(int64(e.Samples)), report.Loss(float64(e.Loss)), top1, top5, fmt.Sprintf("%.0f", e.ImagesPerSecond)}
	if e.MeanIoU != nil {
		row = slices.Insert(row, 4, report.Percent(*e.MeanIoU))
	}
	t.Row(row...)
	return t.Write(con.out)
}

// score brings an evaluation into its report.
func score(s *prune.Score) *report.Score {
	if s == nil {
		return nil
	}
	r := &report.Score{Loss: report.Number(s.Loss), Samples: s.Samples}
	if s.Classes {
		top1, top5 := s.Top1, s.Top5
		r.Top1, r.Top5 = &top1, &top5
	}
	return r
}
