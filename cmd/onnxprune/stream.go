package main

import (
	"slices"

	"github.com/onnxprune/onnxprune/export"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/prune"
	"github.com/onnxprune/onnxprune/report"
)

// prunesInMemory turns streaming off, for tests that compare.
var prunesInMemory = false

// streams reports whether the run needs nothing but magnitudes, so that the weights need not be in memory.
func (c *pruneCmd) streams() bool {
	return c.Method == "omp" && c.structure.Kind == prune.KindWeight && c.Data == "" && c.Val == "" && c.ratio > 0 &&
		c.Masks == string(graph.Fold) && c.trace == nil && !c.Sparse && !prunesInMemory
}

// read reads IN, without its weights where the run streams. Files that have masks, or sparse weights, are pruned in
// memory.
func (c *pruneCmd) read() (g *graph.Graph, streams bool, err error) {
	if c.streams() {
		g, err := outline(c.In)
		if err != nil {
			return nil, false, err
		}
		masked := slices.ContainsFunc(g.Values, func(v *graph.Value) bool { return v.Mask != nil })
		if !masked && len(g.File.Proto.Graph.SparseInitializer) == 0 {
			return g, true, nil
		}
	}
	g, err = c.load()
	return g, false, err
}

// load reads IN, and unties what its layers do not really share, unless nothing comes of it: single weights that are only
// ranked take no notice. A ratio of 0 is a copy, for which functions of the file stay closed.
func (c *pruneCmd) load() (*graph.Graph, error) {
	switch {
	case c.Data == "" && c.ratio == 0 && c.Val == "":
		m, err := onnxio.Load(c.In)
		if err != nil {
			return nil, err
		}
		return graph.New(m, c.In)
	case c.Data == "" && (c.ratio == 0 || !c.structure.Grouped()):
		return load(c.In)
	}
	return loadUntied(c.In)
}

// stream prunes by magnitude from file to file.
func (c *pruneCmd) stream(con *console, g *graph.Graph, pool *kernel.Pool, r *report.Run) (export.Check, error) {
	exclude, err := c.excluded(g)
	if err != nil {
		return export.Check{}, err
	}
	tensors := export.Tensors{}
	defer tensors.Close()
	s, err := prune.NewStream(g, exclude, pool, func(name string) (prune.Source, int, error) {
		e, err := tensors.Open(g.File, name)
		if err != nil {
			return nil, 0, err
		}
		return e, e.Size, nil
	})
	if err != nil {
		return export.Check{}, err
	}
	keep := s.Keep(c.ratio)
	if keep == 0 {
		return export.Check{}, c.allGone(g, s.Total())
	}
	r.Excluded = s.Excluded
	zeros := s.Total() - keep
	r.Ratio = report.Ratio{Requested: c.ratio, Unit: "params", Elements: s.Total(), Removed: zeros,
		Achieved: float64(zeros) / float64(s.Total())}
	c.introduce(con, len(s.Layers), s.Total())
	bar := con.bar()
	defer bar.clear()
	step := func(title string) func(done, total int) {
		return func(done, total int) { bar.update(title, done, total, "weights") }
	}
	if err := s.Select(keep, step("reading")); err != nil {
		return export.Check{}, err
	}
	var elements []*onnxio.Elements
	before, after := int64(0), int64(0)
	layers := map[string]bool{}
	for _, l := range s.Layers {
		elements = append(elements, tensors[l.Name])
		layers[l.Name] = true
	}
	for _, v := range g.Initializers() {
		if v.Init.Type.IsFloat() && !layers[v.Name] {
			n, err := nonzerosOf(g, v)
			if err != nil {
				return export.Check{}, err
			}
			before, after = before+n, after+n
		}
	}
	macs := sampleMACs(g, c.Dim)
	params := g.Params()
	check := export.Check{Unchanged: zeros == 0 && g.Inlined.Calls == 0, Tensors: len(s.Layers), Elements: s.Total(), Zeros: zeros}
	if check.Unchanged {
		err = g.File.Save(c.Out)
	} else {
		written := export.Tensors{}
		defer written.Close()
		err = export.WriteStreamed(g, elements, c.Out,
			func(put func(tensor int, p []byte, first int) error) error { return s.Mask(put, step("writing")) },
			func(m *onnxio.Model) error {
				return s.Check(func(name string) (prune.Source, error) { return written.Open(m, name) })
			})
	}
	if err != nil {
		return check, err
	}
	for _, l := range s.Layers {
		before, after = before+int64(l.Nonzero), after+int64(l.Kept)
		r.Layers = append(r.Layers, report.Layer{Name: l.Name, Nodes: l.Nodes, Shape: l.Shape, Params: int64(l.Len),
			Nonzero: int64(l.Kept), Sparsity: report.Sparsity(int64(l.Len), int64(l.Kept))})
	}
	r.Dense.Size, r.Final.Size = report.NewSize(params, before, macs), report.NewSize(params, after, macs)
	return check, c.facts(r, check, nil)
}
