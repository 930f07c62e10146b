package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/prune"
	"github.com/onnxprune/onnxprune/report"
	"github.com/onnxprune/onnxprune/report/page"
	"github.com/onnxprune/onnxprune/sweep"
)

type sweepCmd struct {
	Model string `arg:"" help:"ONNX file to prune."`

	Data         string    `required:"" help:"Dataset directory to train on." placeholder:"DIR"`
	Val          string    `required:"" help:"Dataset directory to measure on; the best epoch counts." placeholder:"DIR"`
	Out          string    `required:"" help:"Directory for results.csv, results.json, report.html and the finished cells, which are not run again." placeholder:"DIR"`
	Methods      []string  `help:"Methods to compare, of those of --method. Where bip and omp both are, omp is also given the passes over the data that bip takes (${equal_passes})." default:"bip,imp,omp" placeholder:"NAME,…"`
	Ratios       []string  `help:"Ratios: numbers, or paper for 0.2, 0.36, 0.488, … 0.956, what rounds of a fifth come to. A number of seeds may follow a colon, as 0.8:3." default:"paper" placeholder:"R,…"`
	Structures   []string  `help:"Structures to compare, of those of --structure." default:"weight" placeholder:"NAME,…"`
	Seeds        int       `help:"Number of seeds, from --seed on." default:"1" placeholder:"N"`
	Rewinds      []string  `help:"Epochs of dense training to rewind to, and none: every method that trains under fixed masks is run with each; bip of single weights, patterns and blocks is retrained for --epochs then." default:"none" placeholder:"EPOCH,…"`
	RewindRatios []float64 `help:"Ratios to rewind at (default: all)." placeholder:"R,…"`
	Exclude      []pattern `help:"Leave out weights whose initializer or node name matches; groups that hold one, for filter and channel. Repeatable." sep:"none" placeholder:"REGEX"`
	JSON         bool      `help:"Print JSON."`
	Quiet        bool      `help:"Show no progress."`

	channelFlags
	training
	lossFlags
	distillFlag
	renormFlag
	memoryFlag
	computing

	ratios  []sweep.Ratio
	rewinds []sweep.Rewind
}

// Validate is called by kong.
func (c *sweepCmd) Validate() error {
	var errs []error
	for _, f := range []struct{ name, value string }{{"MODEL", c.Model}, {"--data", c.Data}, {"--val", c.Val}, {"--out", c.Out}} {
		if f.value == "" {
			errs = append(errs, fmt.Errorf("%s is empty", f.name))
		}
	}
	if c.Seeds < 1 {
		errs = append(errs, fmt.Errorf("--seeds is %d, wants at least 1", c.Seeds))
	}
	for _, list := range []*[]string{&c.Methods, &c.Structures} {
		for i, name := range *list {
			(*list)[i] = strings.TrimSpace(name)
		}
	}
	for _, l := range []struct {
		flag  string
		items []string
	}{{"--methods", c.Methods}, {"--structures", c.Structures}} {
		if len(l.items) == 0 {
			errs = append(errs, fmt.Errorf("%s is empty", l.flag))
		}
		for i, name := range l.items {
			if slices.Contains(l.items[:i], name) {
				errs = append(errs, fmt.Errorf("%s names %s twice", l.flag, name))
			}
		}
	}
	var err error
	if c.ratios, err = sweep.ParseRatios(c.Ratios); err != nil {
		errs = append(errs, err)
	}
	if c.rewinds, err = sweep.ParseRewinds(c.Rewinds); err != nil {
		errs = append(errs, err)
	}
	for _, r := range c.RewindRatios {
		if !slices.ContainsFunc(c.ratios, func(o sweep.Ratio) bool { return o.Value == r }) && len(c.ratios) > 0 {
			errs = append(errs, fmt.Errorf("--rewind-ratios has %g, which --ratios has not", r))
		}
	}
	if slices.Contains(c.Methods, sweep.EqualPasses) && !(slices.Contains(c.Methods, "bip") && slices.Contains(c.Methods, "omp")) {
		errs = append(errs, fmt.Errorf("--methods: %s wants bip and omp beside it", sweep.EqualPasses))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return c.checkCells()
}

// checkCells says once what is wrong with any number of cells.
func (c *sweepCmd) checkCells() error {
	var errs []error
	seen := map[string]bool{}
	for _, cell := range c.grid().Cells() {
		if _, err := c.recipe(cell, 0); err != nil && !seen[err.Error()] {
			seen[err.Error()] = true
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// grid is that of the flags.
func (c *sweepCmd) grid() *sweep.Grid {
	structure := func(name string) prune.Structure {
		s, _ := prune.ParseStructure(name)
		return s
	}
	return &sweep.Grid{
		Methods: c.Methods, Structures: c.Structures, Ratios: c.ratios, Seeds: c.Seeds, First: c.Seed, Rewinds: c.rewinds, RewindRatios: c.RewindRatios,
		Own: func(name string) float64 { return structure(name).Share() },
	}
}

// recipe is the run of a cell; epochs is 0 for --epochs.
func (c *sweepCmd) recipe(cell sweep.Cell, epochs int) (*pruneCmd, error) {
	structure, err := prune.ParseStructure(cell.Structure)
	if err != nil {
		return nil, err
	}
	p := &pruneCmd{In: c.Model, Out: "cell.onnx", Data: c.Data, Val: c.Val, Exclude: c.Exclude, Masks: "fold", Quiet: true,
		training: c.training, lossFlags: c.lossFlags, distillFlag: c.distillFlag, renormFlag: c.renormFlag, memoryFlag: c.memoryFlag, computing: c.computing}
	// The defaults of anchor and learning rate depend on ratio, method and rewinding, which are what cells are compared by.
	if p.GivenAnchor == nil {
		p.GivenAnchor = new(float64)
	}
	p.Alike = true
	if structure.Kind != prune.KindNM {
		p.Ratio = &cell.Ratio
	}
	p.Structure = cell.Structure
	if structure.Grouped() {
		p.channelFlags = c.channelFlags
	} else {
		p.channelFlags = channelFlags{Of: "params", Round: "auto", MinChannels: 1}
	}
	p.Seed = cell.Seed
	if epochs > 0 {
		p.Epochs = epochs
	}
	p.Method = cell.Method
	if cell.Method == sweep.EqualPasses {
		p.Method = "omp"
	}
	if cell.Rewind != sweep.NoRewind {
		epoch := int(cell.Rewind)
		p.Rewind = &epoch
		if p.Method == "bip" && !structure.Grouped() {
			p.Retrain = p.Epochs
		}
		if epoch > p.Epochs {
			return nil, fmt.Errorf("--rewinds has %d, wants 0 to --epochs (%d), or none", epoch, p.Epochs)
		}
	}
	return p, p.Validate()
}

// Run implements the command.
func (c *sweepCmd) Run(con *console) error {
	out := con.out
	if c.Quiet {
		con.silence()
	}
	cells, err := newCells(c)
	if err != nil {
		return err
	}
	defer cells.close()
	store, err := sweep.NewStore(filepath.Join(c.Out, "cells"))
	if err != nil {
		return err
	}
	b := con.bar()
	s := &sweep.Sweep{Grid: c.grid(), Store: store, Runner: cells, About: cells.about(), Watch: sweep.Watch{
		Begin: func(planned, present int) {
			line := "sweep: " + plural(planned, "cell")
			if present > 0 {
				line += fmt.Sprintf(", %s finished before", report.Count(int64(present)))
			}
			fmt.Fprintln(con.err, line)
		},
		Step: func(cell sweep.Cell, finished, planned int, share float64) {
			b.share(fmt.Sprintf("%d/%d", finished, planned), share, cell.String())
		},
		Done: func(r *sweep.Result, finished, planned int) {
			b.hide()
			line := fmt.Sprintf("%d/%d %s: ", finished, planned, r.Cell)
			if r.Top1 != nil {
				line += "top-1 " + report.Percent(*r.Top1) + ", "
			}
			fmt.Fprintf(con.err, "%sloss %s, %.1f passes, %.1f s\n", line, report.Loss(float64(r.Loss)), r.Passes, r.Seconds)
		},
		Failed: func(cell sweep.Cell, err error) {
			b.hide()
			fmt.Fprintf(con.err, "%s failed: %s\n", cell, strings.ReplaceAll(err.Error(), "\n", "; "))
		},
		Results: c.write,
	}}
	results, failed := s.Run()
	b.clear()
	if results == nil {
		return failed
	}
	if c.JSON {
		return errors.Join(report.WriteJSON(out, results), failed)
	}
	if err := results.WriteText(con.out); err != nil {
		return err
	}
	fmt.Fprintf(con.out, "wrote results.csv, results.json and report.html to %s: %d of %d cells\n", c.Out, len(results.Cells), results.Planned)
	return failed
}

// write replaces the files of results.
func (c *sweepCmd) write(r *sweep.Results) error {
	return errors.Join(
		onnxio.WriteFileAtomic(filepath.Join(c.Out, "results.csv"), r.WriteCSV),
		onnxio.WriteFileAtomic(filepath.Join(c.Out, "results.json"), func(w io.Writer) error { return report.WriteJSON(w, r) }),
		onnxio.WriteFileAtomic(filepath.Join(c.Out, "report.html"), func(w io.Writer) error { return page.Sweep(w, r) }))
}

// about describes program, machine and data.
func (r *cells) about() sweep.About {
	a := made(&r.c.computing, os.Args[1:])
	a.Model, a.Data, a.Val = filepath.Base(r.c.Model), filepath.Base(r.c.Data), filepath.Base(r.c.Val)
	a.TrainSamples, a.ValSamples, a.Epochs = r.train, r.val, r.c.Epochs
	return a
}
