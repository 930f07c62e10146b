package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/prune"
	"github.com/onnxprune/onnxprune/report"
)

// training are the flags of the training loop.
type training struct {
	Epochs      int      `help:"Passes over the training data." default:"5"`
	GivenBatch  *int     `name:"batch" help:"Samples of a step (default: 64, or the one batch size that the file can be run at)." placeholder:"N"`
	GivenLR     *float64 `name:"lr" help:"First learning rate of the weights; cosine to 0 (default: 0.05; for filter and channel 0.02, but with bip 0.05 where --ratio is above 0.9, unless in sweep)." placeholder:"RATE"`
	GivenMaskLR *float64 `name:"mask-lr" help:"First learning rate of the mask scores; cosine to 0 (default: 0.03; for filter and channel 0.001 of a group's mean importance, with hydra 0.02)." placeholder:"RATE"`
	GivenRamp   *float64 `name:"ramp" help:"Part of the run in which bip comes to --ratio, from a half on (default: 0.4); for filter and channel part of the masked epochs, from nothing on (default: 1). 0: at once. Not for N:M." placeholder:"PART"`
	BothBatches bool     `help:"Train the weights on both batches of bip's iterations." default:"true" negatable:""`
	Gamma       float64  `help:"Regulariser of the lower level in the implicit gradient." default:"1"`
	GivenClip   *float64 `name:"clip" help:"Bound of the gradient of a batch, as a share of the norm of all that is trained; 0: none (default: 0, for the squared error of --distill 0.1)." placeholder:"SHARE"`
	WeightDecay float64  `help:"L2 weight decay." default:"5e-4"`
	GivenAnchor *float64 `name:"anchor" help:"Pull of the weights to those of the model as read, in place of weight decay; 0: none (default: 200·(1−ratio)/samples for classes and fewer than 2,000 samples, but for imp, rewinding and sweep; else 0). Weights, patterns and blocks." placeholder:"PULL"`
	Momentum    float64  `help:"Momentum of weights and scores." default:"0.9"`
	Seed        uint64   `help:"Seed of all that is random." default:"1"`
	Augment     string   `help:"Augmentation of training images (${enum})." enum:"auto,crop-flip,flip,none" default:"auto"`
	FreezeNorm  bool     `help:"Keep BatchNormalization on its running statistics while training."`

	OnDivergence string `help:"What to do when the loss becomes NaN or explodes (${enum}): retry goes back to the beginning of the epoch with a quarter of the learning rates, three times." enum:"retry,stop" default:"retry"`

	// LR, MaskLR, Ramp, Clip and Anchor are the given ones, or the defaults of structure, loss and data.
	LR     float64 `kong:"-"`
	MaskLR float64 `kong:"-"`
	Ramp   float64 `kong:"-"`
	Clip   float64 `kong:"-"`
	Anchor float64 `kong:"-"`
	// Alike keeps the default of LR from depending on ratio and method, which a sweep compares.
	Alike bool `kong:"-" json:",omitempty"`
}

// trainBatch is the number of samples of a step.
const trainBatch = 64

// First learning rates. Those of the scores of channels are parts of the mean score of a group for bip, whose
// slopes are relative; hydra's are the sums of the gradients of many weights, and wander at the rate of single ones.
//
// A squared error over its variance has gradients some times those of a cross-entropy, and
// the models that learn by it often have no BatchNormalization to bear large steps.
const (
	errorLR      = 0.005
	errorClip    = 0.1
	weightLR     = 0.05
	weightMaskLR = 0.03
	weightRamp   = 0.4
	channelLR    = 0.02
	// Above mostChannels what bip leaves is small, and larger steps bring it further.
	mostChannels   = 0.9
	mostChannelsLR = 0.05
	channelMaskLR  = 0.02
	relativeMaskLR = 0.001
	channelRamp    = 1
)

// pull is the anchor of a run by default. As a prior of the weights it counts the less, the more samples there
// are; the more weights go, the further the others have to move. Steps of SGD with momentum m and rate α overshoot
// from (1+m)·2/α on; at (1−m)/α all that follows from one of them comes to the whole way back.
func pull(ratio float64, samples int, lr, momentum float64) float64 {
	if samples >= manySamples {
		return 0
	}
	a, _ := strconv.ParseFloat(fmt.Sprintf("%.2g", min(200*(1-ratio)/float64(samples), (1-momentum)/lr)), 64)
	return a
}

// retries is how often a run that diverges goes back.
func (t *training) retries() int {
	if t.OnDivergence == "stop" {
		return 0
	}
	return 3
}

func (t *training) check(s prune.Structure, m prune.Method, ratio float64) error {
	t.LR, t.MaskLR, t.Ramp = weightLR, weightMaskLR, weightRamp
	if s.Grouped() {
		t.LR, t.MaskLR, t.Ramp = channelLR, channelMaskLR, channelRamp
		if m.Masked != nil && !m.Frozen {
			t.MaskLR = relativeMaskLR
			if ratio > mostChannels && !t.Alike {
				t.LR = mostChannelsLR
			}
		}
	}
	if t.GivenRamp != nil {
		t.Ramp = *t.GivenRamp
	}
	if t.GivenMaskLR != nil {
		t.MaskLR = *t.GivenMaskLR
	}
	if t.GivenLR != nil {
		t.LR = *t.GivenLR
	}
	t.Clip = 0
	if t.GivenClip != nil {
		t.Clip = *t.GivenClip
	}
	t.Anchor = 0
	if t.GivenAnchor != nil {
		t.Anchor = *t.GivenAnchor
	}
	var errs []error
	want := func(ok bool, flag string, value any, wants string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s is %v, wants %s", flag, value, wants))
		}
	}
	finite := func(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
	want(t.Epochs >= 1, "--epochs", t.Epochs, "at least 1")
	if t.GivenBatch != nil {
		want(*t.GivenBatch >= 1, "--batch", *t.GivenBatch, "at least 1")
	}
	want(finite(t.LR) && t.LR > 0, "--lr", t.LR, "more than 0")
	want(finite(t.MaskLR) && t.MaskLR >= 0, "--mask-lr", t.MaskLR, "0 or more")
	want(t.Ramp >= 0 && t.Ramp <= 1, "--ramp", t.Ramp, "0 to 1")
	want(finite(t.Gamma) && t.Gamma > 0, "--gamma", t.Gamma, "more than 0")
	want(finite(t.Clip) && t.Clip >= 0, "--clip", t.Clip, "0 or more")
	want(finite(t.WeightDecay) && t.WeightDecay >= 0, "--weight-decay", t.WeightDecay, "0 or more")
	want(finite(t.Anchor) && t.Anchor >= 0, "--anchor", t.Anchor, "0 or more")
	if t.Anchor > 0 && s.Grouped() {
		errs = append(errs, fmt.Errorf("--anchor is for weights, patterns and blocks, --structure %s cuts channels out", s))
	}
	want(t.Momentum >= 0 && t.Momentum < 1, "--momentum", t.Momentum, "0 up to, but not including, 1")
	return errors.Join(errs...)
}

// sources are the data of a run with the losses that fit them; train and val may be nil.
type sources struct {
	train, val *data.Dataset
	loss       objective
	valLoss    objective
	// labelShare is that of float labels in the teacher's values.
	labelShare float64
	// others are further outputs that a squared error reads.
	others  []int
	augment data.Augment
	dims    map[string]int
	// heads is the model as read, with the outputs to learn from.
	heads *graph.Graph
	// batch is the number of samples of a step.
	batch int
	// held is the number of samples of --data in val.
	held int
}

// Close releases the files.
func (s *sources) Close() {
	for _, d := range []*data.Dataset{s.train, s.val} {
		if d != nil {
			d.Close()
		}
	}
}

// sources opens what --data and --val name and checks it against heads: the model, with the
// outputs to learn from.
func (c *pruneCmd) sources(g, heads *graph.Graph, dims map[string]int) (s *sources, err error) {
	s = &sources{dims: dims, heads: heads}
	ofTrain, ofVal := c.labels(g.Outputs[0] != heads.Outputs[0])
	g = heads
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if c.Data == "" && c.Distill.set {
		if err = c.generate(g, s, dims); err != nil {
			return s, err
		}
	}
	if c.Data != "" {
		if s.train, err = openData(g, c.Data, dims, ofTrain); err != nil {
			return s, err
		}
		if !c.Distill.set {
			if s.loss, err = c.choose(g, c.Data, s.train.Label(), dims); err != nil {
				return s, err
			}
		}
		way, err := data.ParseAugment(c.Augment)
		if err != nil {
			return s, err
		}
		if s.augment, err = s.train.ResolveAugment(way); err != nil {
			return s, fmt.Errorf("%s: %w", c.Data, err)
		}
	}
	if s.held, err = c.heldOut(s.train); err != nil {
		return s, err
	}
	if c.Val != "" {
		if s.val, err = openData(g, c.Val, dims, ofVal); err != nil {
			return s, err
		}
	}
	if s.held > 0 {
		if s.val, err = s.train.HoldOut(s.held, c.Seed); err != nil {
			return s, err
		}
		if !s.val.Label().Present && s.loss.live {
			s.valLoss = s.loss
		}
	}
	if c.Distill.set {
		if err = c.distillation(g, s, dims); err != nil {
			return s, err
		}
	}
	if s.train != nil {
		s.batch = batchSize(c.GivenBatch, g, dims, trainBatch)
	}
	if s.val == nil || s.valLoss.live {
		return s, nil
	}
	// Class numbers are measured by their cross-entropy, whatever training minimises.
	measure := c.lossFlags
	measure.LabelWeight = 0
	if c.Distill.set {
		measure.Loss = "auto"
	}
	if !s.val.Label().Float || c.Loss == "ce" {
		measure.Loss = "ce"
	}
	s.valLoss, err = measure.choose(g, cmp.Or(c.Val, c.Data), s.val.Label(), dims)
	return s, err
}

// config are the settings of a training run.
func (c *pruneCmd) config(s *sources) prune.Config {
	if _, ok := s.loss.loss.(engine.NormalizedSquaredError); ok {
		if c.GivenLR == nil {
			c.LR = errorLR
		}
		if c.GivenClip == nil {
			c.Clip = errorClip
		}
	}
	if c.GivenAnchor == nil && !c.structure.Grouped() && c.Rewind == nil && c.Method != "imp" && c.Data != "" && s.classes() {
		c.Anchor = pull(c.ratio, s.train.Len(), c.LR, c.Momentum)
	}
	return prune.Config{
		Ratio: c.ratio, Structure: c.structure, Epochs: c.Epochs, Retrain: c.Retrain, Batch: s.batch, LR: c.LR, MaskLR: c.MaskLR, Gamma: c.Gamma,
		BothBatches: c.BothBatches && c.Method == "bip", Ramp: c.Ramp, Clip: c.Clip, WeightDecay: c.WeightDecay, Anchor: c.Anchor, Momentum: c.Momentum, Seed: c.Seed, Augment: s.augment, Dims: s.dims,
		Others: s.others, FreezeNorm: c.FreezeNorm, Lower: c.lowering(), Retries: c.retries(), Loss: s.loss.loss, EvalLoss: s.valLoss.loss,
	}
}

// announce says what will be done, and measures the model before it.
func (c *pruneCmd) announce(con *console, t *prune.Trainer, s *sources, r *report.Run) error {
	c.settings(t, s, r)
	augment := s.augment.String()
	if s.augment == data.AugmentNone {
		augment = "no"
	}
	what := "training sample"
	if s.train.Generated() {
		what = "made-up sample"
	}
	line := fmt.Sprintf("%s: %s, %s augmentation, loss %s, %s of %s at batch %d", c.Method, plural(s.train.Len(), what),
		augment, s.loss.name, plural(c.epochs(), "epoch"), plural(t.StepsPerEpoch(), "step"), t.Config.Batch)
	switch {
	case s.held > 0:
		line += fmt.Sprintf(", measured on %s held out of --data", plural(s.held, "other"))
	case s.val != nil:
		line += fmt.Sprintf(", measured on %s", plural(s.val.Len(), "sample"))
	}
	c.sayLost(con, t)
	for _, remark := range batchRemarks(t.Graph) {
		fmt.Fprintln(con.err, remark)
	}
	sayMixed(con, s.heads, s.dims, t.Pool)
	r.Settings.Flags = c.chosen(t, s, r)
	fmt.Fprintf(con.err, "%s\nsettings: %s\n", line, r.Settings.Flags)
	if err := c.keep.known(r); err != nil {
		return err
	}
	if c.resumed != nil {
		fmt.Fprintf(con.err, "resumed: from %s\n", t.Journal.Reached())
	}
	if s.val == nil || r.Dense.Score != nil {
		return nil
	}
	dense, err := t.Evaluate(s.val)
	r.Dense.Score = score(dense)
	return err
}

// progress draws a bar within epochs and prints a line after each.
func (c *pruneCmd) progress(con *console, b *bar, after func(e prune.Epoch)) prune.Progress {
	return prune.Progress{
		Step: func(epoch, step, steps int, loss float64) {
			b.update(fmt.Sprintf("epoch %d/%d", epoch, c.epochs()), step, steps, "loss "+report.Loss(loss))
			c.trace.step(steps)
		},
		Epoch: func(e prune.Epoch) {
			b.clear()
			first := cmp.Or(c.ranking(), "magnitude") + " mask"
			if c.structure.Grouped() {
				first = "masked"
			}
			fmt.Fprintln(con.err, epochLine(e, c.epochs(), first))
			after(e)
		},
		Diverged: func(d prune.Divergence) {
			b.clear()
			fmt.Fprintln(con.err, d)
		},
	}
}

// epochs is the length of the run.
func (c *pruneCmd) epochs() int {
	return c.method.Total(&prune.Config{Ratio: c.ratio, Structure: c.structure, Epochs: c.Epochs, Retrain: c.Retrain})
}

// train runs the method and leaves the best epoch in t; g is the model as read.
func (c *pruneCmd) train(con *console, t *prune.Trainer, g *graph.Graph, s *sources, r *report.Run) error {
	t.Config = c.config(s)
	err := c.allowed(con, t, s)
	if err != nil {
		return err
	}
	if t.Journal, err = c.journal(c.keep); err != nil {
		return err
	}
	if err := t.Prepare(); err != nil {
		return err
	}
	trace := c.follow(t.Journal, t.Masks, c.epochs())
	defer c.patient()()
	if s.loss.live || s.valLoss.live {
		if err := c.teach(t, s); err != nil {
			return err
		}
	}
	if err := c.announce(con, t, s, r); err != nil {
		return err
	}
	b := con.bar()
	t.Progress = c.progress(con, b, func(e prune.Epoch) {
		if e.Epoch == 0 {
			r.Magnitude = &report.Stage{Size: underMasks(r.Dense.Size, g, t.State), Score: score(e.Val)}
		}
	})
	if err := c.rewind(con, t, b, r); err != nil {
		return err
	}
	c.trace.rungs(c, t, s, r)
	err = t.Run(c.method)
	b.clear()
	if err != nil {
		return err
	}
	best, err := t.Best()
	if err != nil {
		return err
	}
	enterEpochs(r, t.History, best)
	c.trace.done(c, t.Passes(), keptWeights(t.Masks))
	c.followed(trace)
	enterDivergences(r, t.Journal)
	return nil
}

// allowed refuses a run that takes more memory than there is.
func (c *pruneCmd) allowed(con *console, t *prune.Trainer, s *sources) error {
	has := settledMemory()
	need, err := t.Need(c.method, s.loss.live, s.val != nil && s.valLoss.live && !s.val.Label().Present)
	if err != nil {
		return err
	}
	if c.Rewind != nil {
		need += prune.ParameterBytes(t.Graph, t.State)
	}
	total, err := c.allow(t.Graph.Name, has, need, t.Config.Batch)
	if err == nil && total >= 1<<30 {
		fmt.Fprintf(con.err, "memory: about %s\n", mebibytes(total))
	}
	return err
}

// patient makes signals wait for the end of a step, where checkpoints are written.
func (c *pruneCmd) patient() (over func()) {
	if c.keep == nil {
		return func() {}
	}
	signals.patient.Store(true)
	return func() { signals.patient.Store(false) }
}

func enterDivergences(r *report.Run, j *prune.Journal) {
	for _, d := range j.Divergences() {
		r.Divergences = append(r.Divergences, report.Divergence{Epoch: d.Epoch, Step: d.Step, Loss: report.Number(d.Loss), LR: d.LR, MaskLR: d.MaskLR})
	}
}

// showDivergences says that a run had to go back.
func showDivergences(con *console, r *report.Run) error {
	n := len(r.Divergences)
	if n == 0 {
		return nil
	}
	last := r.Divergences[n-1]
	_, err := fmt.Fprintf(con.out, "diverged: %s, went back each time; from epoch %d on with --lr %g and --mask-lr %g\n", plural(n, "time"), last.Epoch, last.LR, last.MaskLR)
	return err
}

// enterEpochs lists the epochs of a run of which the best is written.
func enterEpochs(r *report.Run, history []prune.Epoch, best int) {
	r.BestEpoch, r.ExportedEpoch = best, best
	for _, e := range history {
		re := report.Epoch{Epoch: e.Epoch, MaskChanged: e.Changed, Ratio: e.Ratio, Val: score(e.Val)}
		if e.Epoch > 0 {
			loss := report.Number(e.TrainLoss)
			re.TrainLoss = &loss
		}
		if e.Epoch == best {
			r.Final.Score = re.Val
		}
		r.Epochs = append(r.Epochs, re)
	}
}

func epochLine(e prune.Epoch, epochs int, first string) string {
	line := fmt.Sprintf("epoch %d/%d", e.Epoch, epochs)
	if e.Epoch > 0 {
		line += ": train loss " + report.Loss(e.TrainLoss)
	} else {
		line += ": " + first + ", untrained"
	}
	if e.Val != nil {
		if e.Val.Classes {
			line += ", top-1 " + report.Percent(e.Val.Top1)
		}
		line += ", loss " + report.Loss(e.Val.Loss)
	}
	if e.Ratio > 0 {
		line += fmt.Sprintf(", %s removed so far", report.Percent(e.Ratio))
	}
	if e.Changed > 0 {
		line += fmt.Sprintf(", %.2f %% of the mask changed", 100*e.Changed)
	}
	return line
}

// ramps reports whether bip's ratio rises.
func (c *pruneCmd) ramps() bool {
	return c.structure.Ramps() && (!c.structure.Grouped() || c.maskedEpochs() > 0)
}

// settings enters the choices of a training run.
func (c *pruneCmd) settings(t *prune.Trainer, s *sources, r *report.Run) {
	set := &r.Settings
	set.TrainSamples, set.Loss, set.Augment = s.train.Len(), s.loss.name, s.augment.String()
	set.Epochs, set.Steps, set.Batch = c.Epochs, t.StepsPerEpoch(), t.Config.Batch
	set.LR, set.Clip, set.WeightDecay, set.Momentum, set.FreezeNorm = c.LR, c.Clip, c.WeightDecay, c.Momentum, c.FreezeNorm
	if c.method.Train != nil && c.Method != "imp" {
		set.MaskLR = c.MaskLR
	}
	if c.Method == "bip" {
		set.Gamma, set.BothBatches = c.Gamma, c.BothBatches
		if c.ramps() {
			set.Ramp = c.Ramp
		}
	}
	if d, ok := s.loss.loss.(engine.Distillation); ok {
		set.Temperature, set.LabelWeight = d.Temperature, d.LabelWeight
	}
	set.Distill, set.Anchor = c.Distill.of, c.Anchor
	if s.val != nil {
		set.ValSamples = s.val.Len()
	}
	set.HeldOut = s.held
}

// underMasks is the size of the model as it is in the course of training.
func underMasks(dense report.Size, g *graph.Graph, state *engine.State) report.Size {
	nonzero := int64(0)
	for _, v := range g.Initializers() {
		t := state.Tensor(v.Name)
		if t == nil {
			continue
		}
		for _, x := range t.F {
			if x != 0 {
				nonzero++
			}
		}
	}
	return report.NewSize(g.Params(), nonzero, dense.MACs)
}
