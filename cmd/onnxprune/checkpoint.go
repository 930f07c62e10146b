package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/onnxprune/onnxprune/checkpoint"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/prune"
	"github.com/onnxprune/onnxprune/report"
)

// saving are the flags for runs that may be interrupted.
type saving struct {
	Checkpoint      string `help:"Keep checkpoints in this directory, from which onnxprune resume DIR goes on after an interruption, with the same result." placeholder:"DIR"`
	CheckpointEvery string `help:"When to write one: after that many steps, after a time as 90s or 10m, or epoch." default:"10m" placeholder:"STEPS|TIME"`

	steps int
	every time.Duration
	epoch bool
	// arguments are those of the command, from what a resumed run goes on.
	arguments []string
	resumed   *resumed
}

func (s *saving) check(trains bool) error {
	switch {
	case s.Checkpoint != "" && !trains:
		return errors.New("--checkpoint needs --data or --distill: without training there is nothing to go on with")
	case s.Checkpoint == "" && s.CheckpointEvery == "":
		return nil
	case s.CheckpointEvery == "epoch":
		s.epoch = true
		return nil
	}
	if n, err := strconv.Atoi(s.CheckpointEvery); err == nil && n >= 1 {
		s.steps = n
		return nil
	}
	d, err := time.ParseDuration(s.CheckpointEvery)
	if err != nil || d <= 0 {
		return fmt.Errorf("--checkpoint-every is %q, wants a number of steps, a time as 90s or 10m, or epoch", s.CheckpointEvery)
	}
	s.every = d
	return nil
}

// runRecord is what checkpoints keep of a command.
type runRecord struct {
	Program   string   `json:"program"`
	Kernel    string   `json:"kernel"`
	Arguments []string `json:"arguments"`
	// Directory is where the command was given.
	Directory string      `json:"directory"`
	Output    string      `json:"output"`
	Files     []inputFile `json:"files"`
	// Settings are those of the report, Dense and Magnitude what it has of the model before
	// training.
	Settings  json.RawMessage `json:"settings,omitempty"`
	Dense     *report.Score   `json:"dense,omitempty"`
	Magnitude *report.Stage   `json:"magnitude,omitempty"`
	// Seconds is the time that the run has taken so far.
	Seconds float64 `json:"seconds"`
}

// resumed is the checkpoint that a run goes on from.
type resumed struct {
	name  string
	state *checkpoint.State
	run   runRecord
}

// keeper writes the checkpoints of a run.
type keeper struct {
	c   *pruneCmd
	dir *checkpoint.Dir
	run runRecord
	// report is what the run has found so far.
	report *report.Run
	start  time.Time
	before float64 // seconds before start
}

// keeper opens the directory for checkpoints, nil where none are asked for. It writes the
// first, from which the run begins, or compares model, data and settings with those of
// the checkpoint that it goes on from.
func (c *pruneCmd) keeper(con *console, g *graph.Graph, s *sources) (*keeper, error) {
	if c.Checkpoint == "" {
		return nil, nil
	}
	k := &keeper{c: c, start: time.Now()}
	if c.resumed != nil {
		k.before = c.resumed.run.Seconds
	}
	var err error
	if k.dir, err = checkpoint.OpenDir(c.Checkpoint); err != nil {
		return nil, err
	}
	if err := k.open(con, g, s); err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

func (k *keeper) open(con *console, g *graph.Graph, s *sources) error {
	c := k.c
	if c.resumed == nil {
		if err := k.fresh(); err != nil {
			return err
		}
	}
	files, err := c.inputs(con, g, s)
	if err != nil {
		return err
	}
	if c.resumed != nil {
		k.run = c.resumed.run
		k.announce()
		return compareFiles(c.resumed.name, files, k.run.Files)
	}
	where, err := os.Getwd()
	if err != nil {
		return err
	}
	k.run = runRecord{Program: version(), Kernel: kernel.Active(), Arguments: c.arguments, Directory: where, Output: c.Out, Files: files}
	if err := k.write(prune.Start()); err != nil {
		return err
	}
	k.announce()
	return nil
}

// fresh refuses a directory with the checkpoints of a run that is not complete.
func (k *keeper) fresh() error {
	s, name, err := checkpoint.Latest(k.c.Checkpoint)
	switch {
	case errors.Is(err, checkpoint.ErrNone):
		return nil
	case err == nil && s.Complete:
		return k.dir.Clear()
	}
	return fmt.Errorf("%s: --checkpoint has those of a run that is not complete: %s\nhint: onnxprune resume %s goes on with it; name another directory, or remove its files, to begin anew", k.c.Checkpoint, filepath.Base(name), quoted([]string{k.c.Checkpoint}))
}

// Close lets others use the directory.
func (k *keeper) Close() {
	if k != nil {
		k.dir.Close()
	}
}

// announce lets signals say how to go on.
func (k *keeper) announce() {
	cmd := "onnxprune resume " + quoted([]string{k.c.Checkpoint})
	signals.resume.Store(&cmd)
}

func (k *keeper) write(s *checkpoint.State) error {
	if k.report != nil {
		k.run.Dense, k.run.Magnitude = k.report.Dense.Score, k.report.Magnitude
	}
	k.run.Seconds = k.before + time.Since(k.start).Seconds()
	var err error
	if s.Run, err = json.Marshal(k.run); err != nil {
		return err
	}
	return k.dir.Write(s)
}

// journal is that of a run: it writes checkpoints, and ends where a signal asks for it.
func (c *pruneCmd) journal(k *keeper) (*prune.Journal, error) {
	j := &prune.Journal{}
	if k == nil {
		return j, nil
	}
	j.Write, j.Stop = k.write, signals.asked.Load
	j.Steps, j.Every, j.Epochs = c.steps, c.every, c.epoch
	if c.resumed != nil {
		if err := j.GoOn(c.resumed.state); err != nil {
			return nil, fmt.Errorf("%s: %w", c.resumed.name, err)
		}
	}
	return j, nil
}

// known makes r the report that checkpoints keep, and takes over what one has that the run
// goes on from. Settings that differ from those are an error.
func (k *keeper) known(r *report.Run) error {
	if k == nil {
		return nil
	}
	text, err := json.Marshal(r.Settings)
	if err != nil {
		return err
	}
	if from := k.c.resumed; from != nil && from.run.Settings != nil && !bytes.Equal(text, from.run.Settings) {
		return fmt.Errorf("%s: the settings are %s, the checkpoint was made with %s\nhint: it is of onnxprune %s, this is %s", from.name, text, from.run.Settings, from.run.Program, version())
	}
	k.run.Settings, k.report = text, r
	if from := k.c.resumed; from != nil {
		r.Dense.Score, r.Magnitude = from.run.Dense, from.run.Magnitude
	}
	return nil
}

// complete leaves a checkpoint that says so, in place of the others.
func (k *keeper) complete() error {
	if k == nil {
		return nil
	}
	s := prune.Start()
	s.Complete = true
	return k.write(s)
}

// hint says how to go on after an error that comes from outside.
func (k *keeper) hint(err error) error {
	var d *prune.DivergedError
	if k == nil || err == nil || errors.Is(err, prune.ErrStopped) || errors.As(err, &d) {
		return err
	}
	return fmt.Errorf("%w\nhint: onnxprune resume %s goes on from the last checkpoint", err, k.c.Checkpoint)
}

// resumeCmd goes on with a run.
type resumeCmd struct {
	Checkpoint string `arg:"" help:"Directory of --checkpoint, or one file of it."`
	Threads    int    `help:"Threads to compute with (default: as before). The result does not depend on it." placeholder:"N"`
	Quiet      bool   `help:"Print nothing but errors."`
	Show       bool   `help:"Show what the checkpoint is of, and go on with nothing."`
	JSON       bool   `help:"Print that as JSON."`
}

// Validate is called by kong.
func (c *resumeCmd) Validate() error {
	if c.JSON && !c.Show {
		return errors.New("--json goes with --show")
	}
	return (&computing{Threads: c.Threads}).check()
}

// Run implements the command.
func (c *resumeCmd) Run(con *console) error {
	state, name, err := checkpoint.Latest(c.Checkpoint)
	if errors.Is(err, checkpoint.ErrNone) {
		return fmt.Errorf("%w\nhint: the run was ended before its first checkpoint; start it again", err)
	}
	if err != nil {
		return err
	}
	r := &resumed{name: name, state: state}
	d := json.NewDecoder(bytes.NewReader(state.Run))
	d.DisallowUnknownFields()
	if err := d.Decode(&r.run); err != nil {
		return fmt.Errorf("%s: run: %w", name, err)
	}
	if c.Show {
		return c.show(con, r)
	}
	dir, err := filepath.Abs(c.Checkpoint)
	if err != nil {
		return err
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		dir = filepath.Dir(dir)
	}
	if r.name, err = filepath.Abs(r.name); err != nil {
		return err
	}
	if err := os.Chdir(r.run.Directory); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: the directory of the run, %s: %w", name, r.run.Directory, cause(err))
	}
	if state.Complete {
		return c.completed(con, r, dir)
	}
	p, err := parsePrune(r.run.Arguments)
	if err != nil {
		return fmt.Errorf("%s: arguments %q: %w", name, r.run.Arguments, err)
	}
	p.Checkpoint, p.resumed, p.Quiet = dir, r, p.Quiet || c.Quiet
	if c.Threads > 0 {
		p.Threads = c.Threads
	}
	if r.run.Kernel != kernel.Active() {
		if err := kernel.Force(r.run.Kernel); err != nil {
			fmt.Fprintf(con.err, "warning: the run was begun with the kernels %s, which this processor lacks: with %s the result will differ by rounding\n", r.run.Kernel, kernel.Active())
		}
	}
	return p.Run(con)
}

// completed says that nothing is left to do, and takes away what a process that was killed
// after that may have left.
func (c *resumeCmd) completed(con *console, r *resumed, dir string) error {
	d, err := checkpoint.OpenDir(dir)
	if err != nil {
		return err
	}
	d.Close()
	places := []string{r.run.Output}
	if p, err := parsePrune(r.run.Arguments); err == nil && p.Report != "" {
		places = append(places, p.Report)
	}
	for _, path := range places {
		if lock, err := onnxio.LockFile(path); err == nil {
			lock.Release()
		}
	}
	if c.Quiet {
		return nil
	}
	_, err = fmt.Fprintf(con.out, "the run is complete: %s was written\n", r.run.Output)
	return err
}

// parsePrune reads the arguments of a run.
func parsePrune(args []string) (*pruneCmd, error) {
	var cmd commands
	parser, err := newParser(&cmd, func(int) {})
	if err != nil {
		return nil, err
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		return nil, err
	}
	if node := ctx.Selected(); node == nil || node.Name != "prune" {
		return nil, errors.New("no pruning")
	}
	cmd.Prune.arguments = args
	return &cmd.Prune, nil
}

// show prints what a checkpoint is of.
func (c *resumeCmd) show(con *console, r *resumed) error {
	j := &prune.Journal{}
	if err := j.GoOn(r.state); err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	facts := struct {
		Checkpoint string    `json:"checkpoint"`
		Complete   bool      `json:"complete"`
		Position   string    `json:"position"`
		Run        runRecord `json:"run"`
	}{r.name, r.state.Complete, j.Reached(), r.run}
	if c.JSON {
		return report.WriteJSON(con.out, facts)
	}
	if facts.Complete {
		facts.Position = "complete"
	}
	t := report.NewTable("", "")
	for _, row := range [][2]string{{"checkpoint", r.name}, {"position", facts.Position}, {"command", "onnxprune " + quoted(r.run.Arguments)}, {"directory", r.run.Directory}, {"program", r.run.Program}, {"kernels", r.run.Kernel}} {
		t.Row(row[0], row[1])
	}
	return t.Write(con.out)
}

// quoted writes arguments as a shell reads them.
func quoted(args []string) string {
	var b bytes.Buffer
	for i, a := range args {
		if i > 0 {
			b.WriteByte(' ')
		}
		plain := a != "" && !slices.ContainsFunc([]rune(a), func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || bytes.ContainsRune([]byte("-_=./:,+@%"), r))
		})
		if plain {
			b.WriteString(a)
		} else {
			b.WriteString("'" + string(bytes.ReplaceAll([]byte(a), []byte("'"), []byte(`'\''`))) + "'")
		}
	}
	return b.String()
}
