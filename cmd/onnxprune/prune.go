package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/export"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/prune"
	"github.com/onnxprune/onnxprune/report"
	"github.com/onnxprune/onnxprune/report/page"
)

// pattern is a regular expression flag.
type pattern struct{ *regexp.Regexp }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *pattern) UnmarshalText(text []byte) (err error) {
	p.Regexp, err = regexp.Compile(string(text))
	return err
}

type pruneCmd struct {
	In  string `arg:"" help:"ONNX file to prune."`
	Out string `arg:"" help:"ONNX file to write; may be IN."`

	Ratio   *float64  `help:"Fraction of the prunable weights to remove, in [0,1); for filter and channel of what --of counts in the whole model." placeholder:"R"`
	Data    string    `help:"Dataset directory to train on." placeholder:"DIR"`
	Val     string    `help:"Dataset directory to measure each epoch on; the best epoch is written." placeholder:"DIR"`
	Exclude []pattern `help:"Leave out weights whose initializer or node name matches; groups that hold one, for filter and channel. Repeatable." sep:"none" placeholder:"REGEX"`
	Masks   string    `help:"How masks are written: fold puts exact zeros into the weights, node adds Mul(W, W.mask) (${enum})." enum:"fold,node" default:"fold"`
	Sparse  bool      `help:"Store masked weights as sparse initializers where these are smaller: above two thirds of zeros in float32. Few runtimes read them; ONNX Runtime does."`
	Report  string    `help:"Write a report: JSON, or a page with plots where the name ends in .html." placeholder:"FILE"`
	JSON    bool      `help:"Print the report in place of tables."`
	Quiet   bool      `help:"Print nothing but errors."`

	structural
	methodFlags
	training
	holdOutFlag
	lossFlags
	distillFlag
	renormFlag
	saving
	memoryFlag
	computing
	engineFlag

	// keep writes checkpoints; nil for none.
	keep  *keeper
	locks []*onnxio.Lock
	// ratio is Ratio, or what the structure sets.
	ratio float64
	start time.Time
	trace *trace
	page  page.Run
}

// Validate is called by kong.
func (c *pruneCmd) Validate() error {
	if c.Out == "" {
		return errors.New("OUT is empty, wants a file name")
	}
	var err error
	if c.ratio, err = c.structural.check(c.Ratio); err != nil {
		return err
	}
	if err := c.methodFlags.check(c.structure, c.Importance, c.trains()); err != nil {
		return err
	}
	if c.Rewind != nil && c.GivenAnchor != nil && *c.GivenAnchor > 0 {
		return errors.New("--anchor pulls weights to those of the model as read, --rewind puts others back")
	}
	if c.Rewind != nil && c.structure.Grouped() && c.maskedEpochs() == c.Epochs && c.Retrain == 0 {
		return fmt.Errorf("--rewind: all %s train masks, and nothing is trained without the removed channels\nhint: more --epochs, fewer --masked-epochs, or --retrain", plural(c.Epochs, "epoch"))
	}
	switch {
	case c.structure.Grouped() && c.ranks():
		c.Importance = c.method.Name
	case c.structure.Grouped() && c.Importance == "":
		c.Importance = prune.UntrainedImportance
		if c.trains() {
			c.Importance = prune.TrainedImportance
		}
	}
	if i, err := prune.FindImportance(c.Importance); err == nil && i.Gradients && c.structure.Grouped() && !c.trains() {
		return fmt.Errorf("--importance %s needs --data", c.Importance)
	}
	if c.structure.Grouped() && c.Masks == string(graph.AsNode) {
		return errors.New("--masks node is for single weights, patterns and blocks; --keep-shapes leaves zeros in place of channels")
	}
	switch {
	case c.Sparse && c.structure.Grouped():
		return fmt.Errorf("--sparse is for single weights, patterns and blocks, not for --structure %s", c.structure)
	case c.Sparse && c.Masks == string(graph.AsNode):
		return errors.New("--sparse is for --masks fold, which has the zeros in the weights")
	}
	if err := c.training.check(c.structure, c.method, c.ratio); err != nil {
		return err
	}
	if err := c.lossFlags.check(); err != nil {
		return err
	}
	if err := c.distillFlag.check(&c.lossFlags, c.Data != ""); err != nil {
		return err
	}
	if err := c.holdOutFlag.check(c.Data, c.Val); err != nil {
		return err
	}
	if err := c.renormFlag.check(c.trains()); err != nil {
		return err
	}
	if err := c.saving.check(c.trains()); err != nil {
		return err
	}
	return errors.Join(c.memoryFlag.check(), c.computing.check())
}

// Run implements the command.
func (c *pruneCmd) Run(con *console) error {
	if c.Quiet {
		con.silence()
	}
	r, check, err := c.execute(con)
	defer c.release()
	if err != nil {
		return c.keep.hint(err)
	}
	if err := c.writeReport(r); err != nil {
		return c.keep.hint(err)
	}
	if err := c.keep.complete(); err != nil {
		return err
	}
	switch {
	case c.JSON:
		return report.WriteJSON(con.out, r)
	case c.structure.Grouped():
		return c.showChannels(con, r)
	}
	return c.show(con, r, check)
}

// execute prunes and writes the model.
func (c *pruneCmd) execute(con *console) (*report.Run, export.Check, error) {
	c.start = time.Now()
	r := &report.Run{Format: 1, Layers: []report.Layer{}, Input: filepath.Base(c.In), Output: filepath.Base(c.Out)}
	r.Settings = report.Settings{Method: c.Method, Ranking: c.ranking(), Structure: c.structure.String(), Masks: c.Masks, Seed: c.Seed}
	check, err := c.transform(con, r)
	r.Seconds = time.Since(c.start).Seconds()
	if c.resumed != nil {
		r.Seconds += c.resumed.run.Seconds
	}
	return r, check, err
}

// transform checks all that can be checked before, prunes, writes, and enters into r what
// it saw.
func (c *pruneCmd) transform(con *console, r *report.Run) (export.Check, error) {
	none := export.Check{}
	if err := prune.CheckRatio(c.ratio); err != nil {
		return none, err
	}
	if c.Data == "" {
		frugal()
	}
	g, streams, err := c.read()
	if err != nil {
		return none, err
	}
	if err := c.distinct(g); err != nil {
		return none, err
	}
	if c.Masks == string(graph.AsNode) {
		if err := g.CheckMaskNodes(); err != nil {
			return none, err
		}
	}
	if err := c.methodFlags.open(); err != nil {
		return none, err
	}
	if err := errors.Join(declared(g, c.Dim), writable(c.Out), writable(c.Report)); err != nil {
		return none, err
	}
	if err := c.lockOutputs(); err != nil {
		return none, err
	}
	dims := maps.Clone(c.Dim)
	if dims == nil {
		dims = map[string]int{}
	}
	heads, err := c.heads(g)
	if err != nil {
		return none, err
	}
	s, err := c.sources(g, heads, dims)
	if err != nil {
		return none, err
	}
	g = c.within(g, heads)
	defer s.Close()
	pool := c.pool()
	defer pool.Close()
	if c.keep, err = c.keeper(con, g, s); err != nil {
		return none, err
	}
	if !streams {
		c.before(g)
	}
	sayInlined(con, g)
	sayUntied(con, g)
	r.Settings.Untied = len(g.Untied)
	if c.structure.Grouped() {
		return none, c.channels(con, g, s, pool, r)
	}
	sayInside(con, g)
	sayComputed(con, g)
	if streams {
		return c.stream(con, g, pool, r)
	}
	return c.weights(con, g, s, pool, r)
}

// lockOutputs keeps other processes from writing what this one writes, until release.
func (c *pruneCmd) lockOutputs() error {
	for _, path := range []string{c.Out, c.Report} {
		if path == "" {
			continue
		}
		lock, err := onnxio.LockFile(path)
		if err != nil {
			return err
		}
		c.locks = append(c.locks, lock)
	}
	return nil
}

// release lets others write the outputs and the checkpoints.
func (c *pruneCmd) release() {
	c.keep.Close()
	for _, lock := range c.locks {
		lock.Release()
	}
}

// weights removes single weights, patterns or blocks, and writes the result.
func (c *pruneCmd) weights(con *console, g *graph.Graph, s *sources, pool *kernel.Pool, r *report.Run) (export.Check, error) {
	result, err := c.prune(con, g, s, pool, r)
	if err != nil {
		return export.Check{}, err
	}
	result.Sparse = c.Sparse
	check, err := export.Write(g, result, graph.MaskForm(c.Masks), c.Out)
	if err != nil {
		return export.Check{}, err
	}
	if check.Sparse > 0 {
		fmt.Fprintf(con.err, "%s of %d are sparse initializers, which few runtimes read; ONNX Runtime and onnxprune do\n", plural(check.Sparse, "weight tensor"), check.Tensors)
	}
	return check, c.finish(r, check, s.dims)
}

// distinct refuses outputs that would replace what the run reads or writes besides.
func (c *pruneCmd) distinct(g *graph.Graph) error {
	data, err := g.File.ExternalFiles()
	if err != nil {
		return err
	}
	for _, path := range data {
		if sameFile(c.Out, path) {
			return fmt.Errorf("%s: OUT holds data of IN", c.Out)
		}
	}
	if c.Report == "" {
		return nil
	}
	for _, path := range data {
		if sameFile(c.Report, path) {
			return fmt.Errorf("%s: --report names a file that holds data of IN", c.Report)
		}
	}
	for _, file := range []struct{ name, path string }{{"IN", c.In}, {"OUT", c.Out}} {
		if sameFile(file.path, c.Report) {
			return fmt.Errorf("%s: %s and --report are the same file", c.Report, file.name)
		}
	}
	return nil
}

// prune finds masks and values, and enters into r what it saw.
func (c *pruneCmd) prune(con *console, g *graph.Graph, s *sources, pool *kernel.Pool, r *report.Run) (export.Result, error) {
	r.Dense.Size = sizeOf(g, s.dims)
	exclude, err := c.excluded(g)
	if err != nil {
		return export.Result{}, err
	}
	if c.ratio == 0 && s.train == nil && s.val == nil && len(g.Weights()) == 0 {
		return export.Result{}, nil
	}
	trained, fold, err := c.renorm(con, g, s, pool, r)
	if err != nil {
		return export.Result{}, err
	}
	c.trace.folding(fold)
	state := engine.NewState(trained)
	masks, err := prune.NewMasks(trained, state, exclude)
	if err != nil {
		return export.Result{}, err
	}
	if err := masks.CheckAxes(g.Name, c.structure); err != nil {
		return export.Result{}, err
	}
	if masks.Keep(c.ratio) == 0 {
		return export.Result{}, c.allGone(g, masks.Total())
	}
	r.Excluded = masks.Excluded
	var result export.Result
	switch {
	case s.train != nil:
		heads, err := trained.SameOutputs(s.heads)
		if err != nil {
			return export.Result{}, err
		}
		t := &prune.Trainer{Graph: heads, State: state, Masks: masks, Train: s.train, Val: s.val, Pool: pool}
		if err := c.train(con, t, g, s, r); err != nil {
			return export.Result{}, err
		}
		result.Values = fold(values(state, masks))
	default:
		if err := c.untrained(con, g, state, masks, s, pool, r); err != nil {
			return export.Result{}, err
		}
	}
	enter(r, masks, c.ratio)
	if c.ratio > 0 || s.train != nil {
		result.Masks = masks.Bools()
	}
	return result, nil
}

// excluded are the expressions of --exclude, each of which must match a weight.
func (c *pruneCmd) excluded(g *graph.Graph) ([]*regexp.Regexp, error) {
	var exclude []*regexp.Regexp
	var errs []error
	for _, p := range c.Exclude {
		exclude = append(exclude, p.Regexp)
		if !excludes(g, p) {
			errs = append(errs, fmt.Errorf("%s: --exclude %s matches no weight", g.Name, p))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(append(errs, errors.New("hint: onnxprune inspect lists their names"))...)
	}
	return exclude, nil
}

func (c *pruneCmd) allGone(g *graph.Graph, total int) error {
	return fmt.Errorf("%s: --ratio %v removes all %d weights, wants one that keeps some", g.Name, c.ratio, total)
}

// introduce says what a run without training begins with.
func (c *pruneCmd) introduce(con *console, tensors, elements int) {
	how := "pruning"
	if !c.ranks() {
		how = "magnitude pruning"
	}
	fmt.Fprintf(con.err, "%s: %s without training, %d weight tensors with %s elements, ratio %g\n", c.Method, how, tensors, report.Count(int64(elements)), c.ratio)
}

// excludes reports whether p matches a weight of g, or a node that uses one.
func excludes(g *graph.Graph, p pattern) bool {
	for _, w := range g.Weights() {
		if p.MatchString(w.Value.Name) || slices.ContainsFunc(w.Nodes, func(n *graph.Node) bool { return p.MatchString(n.Title()) }) {
			return true
		}
	}
	return false
}

// untrained prunes without training, and measures before and after where there is
// validation data.
func (c *pruneCmd) untrained(con *console, g *graph.Graph, state *engine.State, masks *prune.Masks, s *sources, pool *kernel.Pool, r *report.Run) error {
	evaluate := func() (*report.Score, error) { return nil, nil }
	if s.val != nil {
		plan, err := engine.Compile(s.heads, state, engine.Options{Batch: prune.EvalBatch(g, s.dims, s.val.Len()), Dims: s.dims, Pool: pool})
		if err != nil {
			return err
		}
		r.Settings.ValSamples, r.Settings.Loss = s.val.Len(), s.valLoss.name
		evaluate = func() (*report.Score, error) {
			got, err := prune.Evaluate(plan, s.val, s.valLoss.loss, nil)
			return score(got), err
		}
	}
	var err error
	if r.Dense.Score, err = evaluate(); err != nil {
		return err
	}
	c.introduce(con, len(masks.Layers), masks.Total())
	if c.ratio > 0 {
		t := c.follow(&prune.Journal{}, masks, 1)
		saliency := &prune.Saliency{Graph: g, Masks: masks, Structure: c.structure, Ratio: c.ratio, Pool: pool, Seed: c.Seed, Dims: s.dims, Trace: t}
		if err := saliency.Prune(c.method); err != nil {
			return err
		}
		c.followed(t)
	}
	r.Final.Score, err = evaluate()
	return err
}

// values are the trained elements of all initializers, masks not applied.
func values(state *engine.State, masks *prune.Masks) map[string][]float32 {
	v := map[string][]float32{}
	for _, name := range state.Names() {
		v[name] = state.Tensor(name).F
	}
	for _, l := range masks.Layers {
		v[l.Name] = l.Theta
	}
	return v
}

// enter lists layers and ratio.
func enter(r *report.Run, masks *prune.Masks, ratio float64) {
	for _, l := range masks.Layers {
		n := int64(0)
		for _, z := range l.Z {
			if z != 0 {
				n++
			}
		}
		all := int64(len(l.Z))
		r.Layers = append(r.Layers, report.Layer{Name: l.Name, Nodes: l.Nodes, Shape: l.Shape, Params: all, Nonzero: n, Sparsity: report.Sparsity(all, n)})
	}
	zeros := masks.Zeros()
	r.Ratio = report.Ratio{Requested: ratio, Unit: "params", Elements: masks.Total(), Removed: zeros}
	r.Ratio.Achieved = float64(zeros) / float64(masks.Total())
}

// finish reads the written file again for its figures.
func (c *pruneCmd) finish(r *report.Run, check export.Check, dims map[string]int) error {
	g, err := load(c.Out)
	if err != nil {
		return err
	}
	r.Final.Size = sizeOf(g, dims)
	return c.facts(r, check, g)
}

// facts enters what was checked in the written model g, which only patterns are looked for in.
func (c *pruneCmd) facts(r *report.Run, check export.Check, g *graph.Graph) error {
	how := "exactly zero in the written model"
	if c.Masks == string(graph.AsNode) {
		how = "multiplied by an exact zero in the written model"
	}
	detail := fmt.Sprintf("%d masked elements in %d tensors are %s", check.Zeros, check.Tensors, how)
	r.Facts = append(r.Facts, report.Fact{Name: "zeros_stay_zero", Holds: check.Zeros >= r.Ratio.Removed, Detail: detail})
	if c.structure.Kind == prune.KindNM {
		var names []string
		for _, l := range r.Layers {
			names = append(names, l.Name)
		}
		p, err := prune.CheckPattern(g, c.structure, names)
		if err != nil {
			return err
		}
		r.Facts = append(r.Facts, report.Fact{Name: "pattern", Holds: true, Detail: fmt.Sprintf("every group of %d input channels has at most %d weights other than zero: %d groups in %d tensors of the written model", c.structure.M, c.structure.N, p.Groups, p.Tensors)})
	} else {
		slack := c.structure.Slack()
		want := int(math.Round(r.Ratio.Requested * float64(r.Ratio.Elements)))
		detail := fmt.Sprintf("%d of %d elements removed, the ratio asks for %g", r.Ratio.Removed, r.Ratio.Elements, r.Ratio.Requested)
		if slack > 0 {
			detail += fmt.Sprintf(" and blocks go as a whole: within %d elements", slack)
		}
		r.Facts = append(r.Facts, report.Fact{Name: "ratio_delivered", Holds: max(r.Ratio.Removed-want, want-r.Ratio.Removed) <= slack, Detail: detail})
	}
	if check.Unchanged {
		r.Facts = append(r.Facts, report.Fact{Name: "unchanged", Holds: true, Detail: "the written file has the bytes of the one read"})
	}
	return nil
}

// show prints the table and what was written.
func (c *pruneCmd) show(con *console, r *report.Run, check export.Check) error {
	if err := r.Write(con.out); err != nil {
		return err
	}
	if err := showDivergences(con, r); err != nil {
		return err
	}
	line := "wrote " + c.Out
	switch {
	case check.Unchanged:
		line += ", unchanged"
	case len(r.Epochs) > 0 && r.Settings.HeldOut > 0:
		line += fmt.Sprintf(": epoch %d of %d, the best on the %s held out", r.ExportedEpoch, c.epochs(), plural(r.Settings.HeldOut, "sample"))
	case len(r.Epochs) > 0 && r.Final.Score != nil:
		line += fmt.Sprintf(": epoch %d of %d, the best on --val", r.ExportedEpoch, c.epochs())
	case len(r.Epochs) > 0:
		line += fmt.Sprintf(": epoch %d, the last (--val or --hold-out would pick the best)", r.ExportedEpoch)
	}
	if !check.Unchanged {
		line += fmt.Sprintf("; %s of %s masked weights are zero, checked", report.Count(int64(check.Zeros)), report.Count(int64(check.Elements)))
	}
	_, err := fmt.Fprintln(con.out, line)
	return err
}

// writable finds out early whether a file can be written at path; "" always can.
func writable(path string) error {
	if path == "" {
		return nil
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s: exists and is not a regular file", path)
	}
	target := path
	if t, err := filepath.EvalSymlinks(path); err == nil {
		target = t
	}
	// Named as what LockFile removes, should the process be killed here.
	f, err := os.CreateTemp(filepath.Dir(target), fmt.Sprintf(".%s.%d.*.tmp", filepath.Base(target), os.Getpid()))
	if err != nil {
		return fmt.Errorf("%s: cannot be written: %w", path, cause(err))
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// sameFile compares places that need not exist yet.
func sameFile(a, b string) bool {
	place := func(path string) string {
		if t, err := filepath.EvalSymlinks(path); err == nil {
			path = t
		} else if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
			path = filepath.Join(dir, filepath.Base(path))
		}
		if abs, err := filepath.Abs(path); err == nil {
			path = abs
		}
		return path
	}
	return place(a) == place(b)
}

// cause strips operation and path from an error of package os.
func cause(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// plural writes a number with its noun.
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return report.Count(int64(n)) + " " + one + "s"
}
