package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/prune"
	"github.com/onnxprune/onnxprune/report"
	"github.com/onnxprune/onnxprune/sweep"
)

// cells runs those of a sweep; it implements [sweep.Runner].
type cells struct {
	c          *sweepCmd
	from       origin
	dir        string
	train, val int
}

// origin is everything besides its flags that determines the result of a run: digests of
// the model and the data, the program, and the instruction set.
type origin struct {
	Program string `json:"program"`
	Kernel  string `json:"kernel"`
	Model   string `json:"model"`
	Data    string `json:"data"`
	Val     string `json:"val"`
}

// scratch is a directory that goes when the program is ended by a signal.
var scratch atomic.Pointer[string]

// newCells checks model and data.
func newCells(c *sweepCmd) (*cells, error) {
	g, err := load(c.Model)
	if err != nil {
		return nil, err
	}
	if err := declared(g, c.Dim); err != nil {
		return nil, err
	}
	first, err := c.recipe(c.grid().Cells()[0], 0)
	if err != nil {
		return nil, err
	}
	dims := map[string]int{}
	for k, v := range c.Dim {
		dims[k] = v
	}
	heads, err := first.heads(g)
	if err != nil {
		return nil, err
	}
	s, err := first.sources(g, heads, dims)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	r := &cells{c: c, train: s.train.Len(), val: s.val.Len(), from: origin{Program: version(), Kernel: kernel.Active()}}
	files, err := g.File.ExternalFiles()
	if err != nil {
		return nil, err
	}
	if r.from.Model, err = digest(append([]string{c.Model}, files...)); err != nil {
		return nil, err
	}
	if r.from.Data, err = digestData(c.Data); err != nil {
		return nil, err
	}
	if r.from.Val, err = digestData(c.Val); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Out, 0o777); err != nil {
		return nil, fmt.Errorf("%s: cannot be made: %w", c.Out, cause(err))
	}
	if r.dir, err = os.MkdirTemp(c.Out, ".model-*"); err != nil {
		return nil, fmt.Errorf("%s: cannot be written: %w", c.Out, cause(err))
	}
	scratch.Store(&r.dir)
	return r, nil
}

func (r *cells) close() { os.RemoveAll(r.dir) }

// digestData reads the shards of a directory and what describes them.
func digestData(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*.npy"))
	if err != nil {
		return "", err
	}
	if about := filepath.Join(dir, "dataset.json"); exists(about) {
		files = append(files, about)
	}
	return digest(files)
}

// escapeGlob makes a directory's name stand for itself.
func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(dir)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// digest is that of names, without directories, and contents; files that are missing have
// none.
func digest(files []string) (string, error) {
	all := sha256.New()
	for i, path := range files {
		one := sha256.New()
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) && i > 0 {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", path, cause(err))
		}
		_, err = io.Copy(one, f)
		f.Close()
		if err != nil {
			return "", fmt.Errorf("%s: %w", path, cause(err))
		}
		name := filepath.Base(path)
		if i == 0 {
			name = ""
		}
		fmt.Fprintf(all, "%q %x\n", name, one.Sum(nil))
	}
	return hex.EncodeToString(all.Sum(nil)), nil
}

// Key implements [sweep.Runner].
func (r *cells) Key(cell sweep.Cell, epochs int) (json.RawMessage, error) {
	p, err := r.c.recipe(cell, epochs)
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		origin
		Flags pruneCmd `json:"flags"`
	}{r.from, keyFlags(p)})
}

// keyFlags are the flags that shape a result: all but those that name files, whose
// contents count, or say how a run is shown.
func keyFlags(p *pruneCmd) pruneCmd {
	k := *p
	k.In, k.Out, k.Data, k.Val, k.Report, k.Quiet, k.Threads, k.MemoryLimit = "", "", "", "", "", false, 0, ""
	return k
}

// OnItsWay implements [sweep.Runner].
func (r *cells) OnItsWay(cell sweep.Cell) bool {
	s, err := prune.ParseStructure(cell.Structure)
	return err == nil && cell.Method == "imp" && s.Kind != prune.KindNM
}

// length estimates the epochs of a run.
func (r *cells) length(run []sweep.Cell, epochs int) int {
	p, err := r.c.recipe(run[len(run)-1], epochs)
	if err != nil {
		return 1
	}
	n := p.epochs()
	for _, c := range run[:len(run)-1] {
		rounds := math.Log(1-c.Ratio) / math.Log(0.8)
		if math.Abs(rounds-math.Round(rounds)) > 1e-6 {
			n += p.Epochs
		}
	}
	return n
}

// Cost implements [sweep.Runner].
func (r *cells) Cost(run []sweep.Cell, epochs int) float64 {
	top := run[len(run)-1]
	n := float64(r.length(run, epochs))
	if top.Method == "bip" || top.Method == sweep.EqualPasses && epochs == 0 {
		n *= 2
	}
	return n
}

// Run implements [sweep.Runner].
func (r *cells) Run(cell sweep.Cell, epochs int, lower []sweep.Cell, step func(share float64), done func(*sweep.Record) error) error {
	p, err := r.c.recipe(cell, epochs)
	if err != nil {
		return err
	}
	key := func(c sweep.Cell) (json.RawMessage, error) { return r.Key(c, epochs) }
	p.Out = filepath.Join(r.dir, "model.onnx")
	total, steps := r.length(append(slices.Clone(lower), cell), epochs), 0
	t := &trace{onStep: func(n int) {
		steps++
		step(float64(steps) / float64(max(1, total*n)))
	}}
	if r.OnItsWay(cell) {
		for _, c := range lower {
			t.lower = append(t.lower, c.Ratio)
		}
		t.onRung = func(run *report.Run, seen trained) error {
			c := cell
			c.Ratio = run.Ratio.Requested
			k, err := key(c)
			if err != nil {
				return err
			}
			return done(record(c, p, k, run, seen))
		}
	}
	p.trace = t
	con := &console{}
	con.silence()
	defer p.release()
	run, _, err := p.execute(con)
	if err != nil || t.onRung != nil {
		return err
	}
	k, err := key(cell)
	if err != nil {
		return err
	}
	return done(record(cell, p, k, run, t.trained))
}

// record describes a finished cell.
func record(cell sweep.Cell, p *pruneCmd, key json.RawMessage, run *report.Run, seen trained) *sweep.Record {
	r := &sweep.Record{Key: key, Kept: seen.kept, Dense: sweep.Dense{Size: run.Dense.Size, Score: *run.Dense.Score}}
	r.Result = sweep.Result{Cell: cell, Epochs: p.Epochs, Passes: seen.passes, Achieved: run.Ratio.Achieved, Of: run.Ratio.Unit,
		Size: run.Final.Size, Score: *run.Final.Score, BestEpoch: run.ExportedEpoch, Seconds: seen.seconds, Layers: []sweep.LayerResult{}}
	for _, l := range run.Layers {
		r.Result.Layers = append(r.Result.Layers, sweep.LayerResult{Name: l.Name, Params: l.Params, Sparsity: report.Sparsity(l.Params, l.Nonzero)})
	}
	return r
}
