package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/prune"
	"github.com/onnxprune/onnxprune/report"
)

type benchCmd struct {
	Model string `arg:"" optional:"" help:"ONNX file."`
	Batch *int   `help:"Samples of a step (default: 32, or the one batch size that the file can be run at)." placeholder:"N"`
	Train bool   `help:"Measure a training step (forward, loss, backward, SGD with momentum) instead of forward."`
	Runs  int    `help:"Steps to take the median of." default:"11"`
	memoryFlag
	computing
	engineFlag
	Calls   bool `help:"Also list the time of every call, slowest first."`
	Kernels bool `help:"List the kernel variants of this processor and their peak rates instead."`
	JSON    bool `help:"Print JSON."`
}

// Validate is called by kong.
func (c *benchCmd) Validate() error {
	switch {
	case c.Model == "" && !c.Kernels:
		return errors.New("no model\nhint: onnxprune bench MODEL measures a model, onnxprune bench --kernels the processor")
	case c.Batch != nil && *c.Batch < 1:
		return fmt.Errorf("--batch is %d, wants at least 1", *c.Batch)
	case c.Runs < 1:
		return fmt.Errorf("--runs is %d, wants at least 1", c.Runs)
	}
	return errors.Join(c.memoryFlag.check(), c.computing.check())
}

// estimate is what the process will take, which must be there.
func (c *benchCmd) estimate(g *graph.Graph, state *engine.State, opts engine.Options) (int64, error) {
	has := settledMemory()
	need, err := engine.Need(g, state, opts)
	if err != nil {
		return 0, err
	}
	if opts.Loss != nil {
		need += prune.ParameterBytes(g, state)
	}
	// The model as it was read goes once it is compiled.
	for _, v := range g.Initializers() {
		has -= 4 * int64(len(v.Init.F))
	}
	has -= int64(len(g.File.Bytes()))
	return c.allow(g.Name, has, need, opts.Batch)
}

// measurement is the JSON of bench.
type measurement struct {
	TrainMS   *float64 `json:"train_ms,omitempty"`
	ForwardMS *float64 `json:"forward_ms,omitempty"`
	Batch     int      `json:"batch"`
	Runs      int      `json:"runs"`
	Threads   int      `json:"threads"`
	Kernel    string   `json:"kernel"`
	// MACs are those of one forward pass of the whole batch.
	MACs       int64         `json:"macs"`
	GFLOPS     report.Number `json:"gflops"`
	PeakGFLOPS report.Number `json:"peak_gflops"`
	PeakShare  report.Number `json:"peak_share"`
	ArenaBytes int64         `json:"arena_bytes"`
	// EstimateBytes is what the process was expected to take at most, before the first
	// step, PeakBytes what it took; 0 where the system does not tell.
	EstimateBytes int64         `json:"estimate_bytes"`
	PeakBytes     int64         `json:"peak_bytes"`
	PerSecond     report.Number `json:"images_per_second"`
	Calls         []callTime    `json:"calls,omitempty"`
}

// benchRate is the learning rate of measured steps: small, since the data are noise.
const benchRate = 1e-4

// Run implements the command.
func (c *benchCmd) Run(con *console) error {
	if c.Kernels {
		return c.kernels(con)
	}
	g, err := load(c.Model)
	if err != nil {
		return err
	}
	sayInlined(con, g)
	if err := declared(g, c.Dim); err != nil {
		return err
	}
	pool := c.pool()
	defer pool.Close()
	opts := engine.Options{Batch: batchSize(c.Batch, g, c.Dim, 32), Dims: maps.Clone(c.Dim), Pool: pool, Lower: c.lowering(), Constant: !c.Train}
	if c.Train {
		opts.Loss = engine.MeanSquaredError{}
		if shape, ok := logits(g, c.Dim); ok && len(shape) == 1 {
			opts.Loss = engine.CrossEntropy{}
		}
	}
	state := engine.NewState(g)
	estimate, err := c.estimate(g, state, opts)
	if err != nil {
		return err
	}
	plan, err := engine.Compile(g, state, opts)
	if err != nil {
		return err
	}
	y := plan.Scored(nil)
	classes := 0
	if _, ok := opts.Loss.(engine.CrossEntropy); ok {
		classes = y.Shape[1]
	}
	b, err := randomBatch(plan, g, classes, 1)
	if err != nil {
		return err
	}
	plan.Feed(b.Inputs, b.Rows)
	target := &engine.Target{Labels: b.Labels}
	if classes == 0 {
		target.Values = make([]float32, y.Size())
		for i := range target.Values {
			target.Values[i] = b.Inputs[0][i%len(b.Inputs[0])]
		}
	}
	step := plan.Forward
	passes := int64(1)
	if c.Train {
		passes = 3
		sgd := prune.NewSGD(pool, plan, state, nil)
		step = func() error {
			if _, err := plan.Step(target); err != nil {
				return err
			}
			sgd.Step(benchRate, 0.9, 5e-4)
			return nil
		}
	}
	ms, err := c.median(step)
	if err != nil {
		return err
	}
	var calls []engine.CallTime
	if c.Calls {
		if calls, err = plan.Profile(c.Runs, step); err != nil {
			return err
		}
	}
	_, peakBytes, _ := engine.UsedMemory()
	m := measurement{EstimateBytes: estimate, PeakBytes: peakBytes, Batch: opts.Batch, Runs: c.Runs, Threads: pool.Threads(), Kernel: kernel.Active(), MACs: plan.MACs(), ArenaBytes: plan.ArenaBytes()}
	if c.Engine != ownEngine {
		m.Kernel = c.Engine
	}
	if c.Train {
		m.TrainMS = &ms
	} else {
		m.ForwardMS = &ms
	}
	peak := kernel.PeakGFLOPS(pool)
	gflops := float64(2*passes*plan.MACs()) / ms / 1e6
	m.GFLOPS, m.PeakGFLOPS, m.PeakShare = report.Number(gflops), report.Number(peak), report.Number(gflops/peak)
	m.PerSecond = report.Number(float64(opts.Batch) / ms * 1e3)
	m.Calls = callTimes(calls)
	if c.JSON {
		return report.WriteJSON(con.out, m)
	}
	if err := writeCalls(con, m.Calls, ms); err != nil {
		return err
	}
	what := "forward"
	if c.Train {
		what = "training step"
	}
	t := report.NewTable("", ">batch", ">median ms", ">images/s", ">GFLOP/s", ">peak GFLOP/s", ">share", ">buffers MiB", ">threads", "kernel")
	t.Row(what, fmt.Sprint(opts.Batch), fmt.Sprintf("%.2f", ms), fmt.Sprintf("%.0f", float64(m.PerSecond)), fmt.Sprintf("%.1f", gflops),
		fmt.Sprintf("%.1f", peak), report.Percent(gflops/peak), fmt.Sprintf("%.1f", float64(m.ArenaBytes)/(1<<20)), fmt.Sprint(m.Threads), m.Kernel)
	return t.Write(con.out)
}

// variantPeak is the JSON of a line of bench --kernels.
type variantPeak struct {
	Kernel     string        `json:"kernel"`
	Active     bool          `json:"active"`
	Threads    int           `json:"threads"`
	PeakGFLOPS report.Number `json:"peak_gflops"`
}

// kernels lists the variants, fastest first, and measures each.
func (c *benchCmd) kernels(con *console) error {
	pool := c.pool()
	defer pool.Close()
	active := kernel.Active()
	defer kernel.Force(active)
	var peaks []variantPeak
	for _, name := range kernel.Variants() {
		if err := kernel.Force(name); err != nil {
			return err
		}
		peaks = append(peaks, variantPeak{name, name == active, pool.Threads(), report.Number(kernel.PeakGFLOPS(pool))})
	}
	if c.JSON {
		return report.WriteJSON(con.out, peaks)
	}
	t := report.NewTable("kernel", "in use", ">threads", ">peak GFLOP/s")
	for _, p := range peaks {
		use := ""
		if p.Active {
			use = "yes"
		}
		t.Row(p.Kernel, use, fmt.Sprint(p.Threads), fmt.Sprintf("%.1f", float64(p.PeakGFLOPS)))
	}
	return t.Write(con.out)
}

// median times step after two runs to warm up, in milliseconds.
func (c *benchCmd) median(step func() error) (float64, error) {
	var times []float64
	for i := range c.Runs + 2 {
		start := time.Now()
		if err := step(); err != nil {
			return 0, err
		}
		if i >= 2 {
			times = append(times, time.Since(start).Seconds()*1e3)
		}
	}
	slices.Sort(times)
	return (times[(len(times)-1)/2] + times[len(times)/2]) / 2, nil
}
