package main

import (
	"io"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/prune"
	"github.com/onnxprune/onnxprune/report"
	"github.com/onnxprune/onnxprune/report/page"
	"github.com/onnxprune/onnxprune/sweep"
)

// paged reports whether --report asks for a page.
func (c *pruneCmd) paged() bool {
	switch strings.ToLower(filepath.Ext(c.Report)) {
	case ".html", ".htm":
		return true
	}
	return false
}

// writeReport writes what --report asks for: a page, or JSON.
func (c *pruneCmd) writeReport(r *report.Run) error {
	if c.Report == "" {
		return nil
	}
	return onnxio.WriteFileAtomic(c.Report, func(w io.Writer) error {
		if !c.paged() {
			return report.WriteJSON(w, r)
		}
		c.page.Report, c.page.Made = r, made(&c.computing, c.arguments)
		return c.page.Write(w)
	})
}

// before enters the sparsity of the weights as read.
func (c *pruneCmd) before(g *graph.Graph) {
	if !c.paged() {
		return
	}
	c.page.Before = map[string]float64{}
	for _, w := range g.Weights() {
		n := int64(w.Value.Init.Size())
		c.page.Before[w.Value.Name] = report.Sparsity(n, nonzeros(w.Value))
	}
}

// follow makes a run with a page keep what that shows.
func (c *pruneCmd) follow(j *prune.Journal, m *prune.Masks, epochs int) (t *prune.Trace) {
	if !c.paged() {
		return nil
	}
	return prune.NewTrace(j, m, epochs)
}

// followed enters what t has kept; nil has nothing.
func (c *pruneCmd) followed(t *prune.Trace) {
	if t == nil {
		return
	}
	for _, l := range t.Losses() {
		c.page.Losses = append(c.page.Losses, page.Loss(l))
	}
	for _, m := range t.Moved() {
		c.page.Moved = append(c.page.Moved, page.Moved(m))
	}
	for _, b := range t.Scores() {
		c.page.Scores = append(c.page.Scores, page.Scores{High: b.High, Kept: b.Kept, Removed: b.Removed})
	}
}

// made says where results come from.
func made(c *computing, arguments []string) sweep.About {
	threads := c.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	return sweep.About{Program: "onnxprune " + version(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Kernel: kernel.Active(), Threads: threads,
		Command: "onnxprune " + quoted(arguments)}
}
