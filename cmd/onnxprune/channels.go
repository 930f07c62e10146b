package main

import (
	"fmt"
	"math"
	"runtime/debug"
	"slices"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/export"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/prune"
	"github.com/onnxprune/onnxprune/report"
)

// selection is which channels go, and the values of initializers of the whole model that
// differ from the file.
type selection struct {
	units     *prune.Units
	choice    prune.Choice
	values    map[string][]float32
	corrected []string
}

// channels chooses what to remove, trains where there is data, writes the result and
// enters into r what it saw.
func (c *pruneCmd) channels(con *console, g *graph.Graph, s *sources, pool *kernel.Pool, r *report.Run) error {
	// The model is in memory several times over: as a file, as values, under masks, and twice for the proof. What one step
	// leaves behind must not wait until the next has as much again.
	defer debug.SetGCPercent(debug.SetGCPercent(30))
	r.Dense.Size = sizeOf(g, s.dims)
	r.Settings.Importance, r.Settings.Round, r.Settings.MinChannels = c.Importance, c.Round, c.MinChannels
	r.Settings.MaxLayerRatio, r.Settings.PerLayer, r.Settings.KeepShapes = c.MaxLayerRatio, c.PerLayer, c.KeepShapes
	groups, err := g.Groups(s.dims)
	if err != nil {
		return err
	}
	trained, fold, err := c.renorm(con, g, s, pool, r)
	if err != nil {
		return err
	}
	c.trace.folding(fold)
	own := groups
	if trained != g {
		if own, err = trained.Groups(s.dims); err != nil {
			return err
		}
		if err := own.Match(groups); err != nil {
			return fmt.Errorf("%w\nhint: try --rebn off", err)
		}
	}
	state := engine.NewState(trained)
	r.Frozen = frozen(groups)
	sayFrozen(con, groups)
	units, err := prune.NewUnits(trained, own, state, c.structure, c.limits(c.Exclude))
	if err != nil {
		return err
	}
	units.CountBy(groups)
	importance, err := c.ranker(units, &prune.Saliency{Graph: g, Pool: pool, Seed: c.Seed, Dims: s.dims})
	if err != nil {
		return err
	}
	goal := prune.Goal{Of: prune.Quantity(c.Of), Ratio: c.ratio, BestEffort: c.BestEffort}
	meter := prune.Meter{Graph: g, Groups: groups, Dims: s.dims, Pool: pool}
	if goal.Measure, err = meter.Of(goal.Of); err != nil {
		return err
	}
	var sel *selection
	if s.train != nil {
		sel, err = c.trainChannels(con, g, trained, state, units, goal, importance, s, pool, r)
	} else {
		sel, err = c.rankChannels(con, g, state, units, goal, importance, s, pool, r)
	}
	if err != nil {
		return err
	}
	sel.values = fold(sel.values)
	units.Release()
	return c.writeChannels(con, g, groups, sel, c.ratio, s, pool, r)
}

// writeChannels writes the model without what was selected, proves it, and enters what it
// is like.
func (c *pruneCmd) writeChannels(con *console, g *graph.Graph, groups *graph.Groups, sel *selection, ratio float64, s *sources, pool *kernel.Pool, r *report.Run) error {
	enterChannels(r, g, sel, ratio, c.Of)
	before, err := weightsOf(g, s.dims)
	if err != nil {
		return err
	}
	removal := export.Removal{Values: sel.values, Groups: groups, Removed: sel.units.Removed(), KeepShapes: c.KeepShapes, Pool: pool}
	switch {
	case s.val != nil:
		removal.Inputs = prune.Samples(s.val)
	case s.train != nil:
		removal.Inputs = prune.Samples(s.train)
	}
	proof, err := export.WriteRemoval(g, removal, c.Out)
	if err != nil {
		return err
	}
	return c.finishChannels(con, r, sel, before, proof, s.dims)
}

// rankChannels chooses without training.
func (c *pruneCmd) rankChannels(con *console, g *graph.Graph, state *engine.State, units *prune.Units, goal prune.Goal, importance prune.Importance, s *sources, pool *kernel.Pool, r *report.Run) (*selection, error) {
	evaluate := func() (*report.Score, error) { return nil, nil }
	if s.val != nil {
		plan, err := engine.Compile(s.heads, state, engine.Options{Batch: prune.EvalBatch(g, s.dims, s.val.Len()), Dims: s.dims, Pool: pool})
		if err != nil {
			return nil, err
		}
		r.Settings.ValSamples, r.Settings.Loss = s.val.Len(), s.valLoss.name
		evaluate = func() (*report.Score, error) {
			got, err := prune.Evaluate(plan, s.val, s.valLoss.loss, nil)
			return score(got), err
		}
	}
	units.Untrained()
	var err error
	if r.Dense.Score, err = evaluate(); err != nil {
		return nil, err
	}
	fmt.Fprintf(con.err, "%s: %s without training, %s of channels, ratio %g of %s\n", c.structure, c.Importance, plural(len(units.Groups.Groups), "group"), c.ratio, c.Of)
	choice, err := units.Choose(goal, units.Scores(importance, &prune.Scoring{Graph: g, Pool: pool, Seed: c.Seed}))
	if err != nil {
		return nil, err
	}
	sel := &selection{units: units, choice: choice, values: map[string][]float32{}}
	fixed := units.Compensate(g, state)
	sel.corrected = slices.Concat(fixed.Biases, fixed.Norms)
	for _, name := range sel.corrected {
		sel.values[name] = units.Values(name, state)
	}
	units.Refresh()
	r.Final.Score, err = evaluate()
	return sel, err
}

// trainChannels runs bip on groups, or retraining after a one-shot choice. g is the model
// as read, trained the one with normalisations put in.
func (c *pruneCmd) trainChannels(con *console, g, trained *graph.Graph, state *engine.State, units *prune.Units, goal prune.Goal, importance prune.Importance, s *sources, pool *kernel.Pool, r *report.Run) (*selection, error) {
	heads, err := trained.SameOutputs(s.heads)
	if err != nil {
		return nil, err
	}
	p := &prune.Structured{Graph: heads, State: state, Units: units, Goal: goal, Importance: importance, Train: s.train, Val: s.val, Pool: pool,
		Config: c.config(s), Masked: c.maskedEpochs(), Frozen: c.method.Frozen, Rounds: c.method.Rounds}
	r.Settings.MaskedEpochs = p.Masked
	p.Cut = func(small *graph.Graph, epoch int) {
		params, macs := units.Cost()
		fmt.Fprintf(con.err, "after epoch %d: cut to %s parameters, %s MACs\n", epoch, report.Count(params), report.MACs(&macs))
	}
	b := con.bar()
	p.Progress = c.progress(con, b, func(e prune.Epoch) {
		if e.Epoch == 0 {
			params, macs := units.Cost()
			r.Magnitude = &report.Stage{Size: report.NewSize(params, params, &macs), Score: score(e.Val)}
		}
	})
	if p.Journal, err = c.journal(c.keep); err != nil {
		return nil, err
	}
	if err := c.allowed(con, &prune.Trainer{Graph: p.Graph, State: p.State, Masks: p.Units.Masks, Train: p.Train, Val: p.Val, Pool: p.Pool, Config: p.Config}, s); err != nil {
		return nil, err
	}
	t, err := p.Prepare()
	if err != nil {
		return nil, err
	}
	trace := c.follow(t.Journal, units.Masks, c.epochs())
	defer c.patient()()
	if s.loss.live || s.valLoss.live {
		if err := c.teach(t, s); err != nil {
			return nil, err
		}
	}
	if err := c.announce(con, t, s, r); err != nil {
		return nil, err
	}
	if err := c.rewind(con, t, b, r); err != nil {
		return nil, err
	}
	if c.ranks() && c.method.Gradients {
		if p.Importance, err = c.method.ForUnits(units, t.Saliency()); err != nil {
			return nil, err
		}
	}
	c.trace.channelRungs(c, p, t, s, r)
	err = p.Run(t)
	b.clear()
	if err != nil {
		return nil, err
	}
	enterEpochs(r, p.History, p.Best)
	c.trace.done(c, p.Passes, keptChannels(units))
	c.followed(trace)
	enterDivergences(r, p.Journal)
	return &selection{units: units, choice: p.Choice, values: p.Values}, nil
}

// maskedEpochs is how many epochs bip masks before channels are cut.
func (c *pruneCmd) maskedEpochs() int {
	switch {
	case c.method.Masked == nil:
		return 0
	case c.MaskedEpochs != nil:
		return min(*c.MaskedEpochs, c.Epochs)
	}
	return c.method.Masked(c.Epochs)
}

// enterChannels lists groups and ratio.
func enterChannels(r *report.Run, g *graph.Graph, sel *selection, ratio float64, of string) {
	why := map[string]string{}
	for _, l := range sel.units.Left {
		why[l.Name] = l.Reason
		r.Excluded = append(r.Excluded, l.Name)
	}
	kept, all := sel.units.Widths()
	for i := range sel.units.Groups.Groups {
		name := sel.units.Groups.Groups[i].Name
		r.Groups = append(r.Groups, report.Group{Name: name, Width: all[i], NewWidth: kept[i], Kept: why[name]})
		r.Ratio.Elements += all[i]
		r.Ratio.Removed += all[i] - kept[i]
	}
	r.Ratio.Requested, r.Ratio.Achieved, r.Ratio.Unit = ratio, sel.choice.Achieved, of
	r.Ratio.Before, r.Ratio.After = report.Number(sel.choice.Before), report.Number(sel.choice.After)
	r.Ratio.Largest = sel.choice.Largest
	r.Corrected = sel.corrected
}

// weightsOf lists the prunable weights with the multiply-adds of their nodes.
func weightsOf(g *graph.Graph, dims map[string]int) ([]report.Layer, error) {
	batch := max(1, g.FixedBatch())
	shapes, err := g.Infer(graph.Binding{Batch: batch, Dims: dims})
	if err != nil {
		shapes = nil
	}
	var out []report.Layer
	for _, w := range g.Weights() {
		n := int64(w.Value.Init.Size())
		l := report.Layer{Name: w.Value.Name, Shape: w.Value.Init.Shape, Params: n, Nonzero: nonzeros(w.Value)}
		l.Sparsity = report.Sparsity(n, l.Nonzero)
		total, known := int64(0), shapes != nil
		for _, node := range w.Nodes {
			l.Nodes = append(l.Nodes, node.Title())
			if known {
				var macs int64
				macs, known = shapes.MACs(node)
				total += macs / int64(batch)
			}
		}
		if known {
			l.MACs = &total
		}
		out = append(out, l)
	}
	return out, nil
}

// proven says how it was shown that the pruned model computes what the masked one does.
func proven(p export.Proof) string {
	text := fmt.Sprintf("on %s the outputs of the pruned and of the masked model", plural(p.Samples, "sample"))
	if len(p.Until) > 0 {
		text = fmt.Sprintf("on %s what goes into %s in the pruned and in the masked model", plural(p.Samples, "sample"), list(p.Until))
	}
	if p.Precision == "float64" {
		text += ", computed in float64,"
	}
	if p.MaxRel == 0 {
		text += " are the same to the bit"
	} else {
		text += fmt.Sprintf(" differ by at most %.2g of their largest value", p.MaxRel)
	}
	if p.Precision == "float64" {
		text += fmt.Sprintf(" (in float32, whose rounding this model amplifies, by %.2g)", p.MaxRelFloat32)
	}
	if p.NotFinite > 0 {
		text += fmt.Sprintf("; %s of theirs are infinite or no number in both", plural(p.NotFinite, "value"))
	}
	if len(p.Until) > 0 {
		text += "; what cannot be run begins there, and nothing of it was removed"
	}
	return text
}

// finishChannels reads the written file again for its figures, and prints them.
func (c *pruneCmd) finishChannels(con *console, r *report.Run, sel *selection, before []report.Layer, proof export.Proof, dims map[string]int) error {
	g, err := load(c.Out)
	if err != nil {
		return err
	}
	r.Final.Size = sizeOf(g, dims)
	after, err := weightsOf(g, dims)
	if err != nil {
		return err
	}
	now := map[string]report.Layer{}
	for _, l := range after {
		now[l.Name] = l
	}
	for _, l := range before {
		a := now[l.Name]
		l.Nonzero, l.Sparsity, l.NewShape, l.NewParams, l.NewMACs = a.Nonzero, a.Sparsity, a.Shape, a.Params, a.MACs
		r.Layers = append(r.Layers, l)
	}
	if proof.Ran {
		r.Facts = append(r.Facts, report.Fact{Name: "pruned_equals_masked", Holds: true, Detail: proven(proof)})
	} else {
		fmt.Fprintf(con.err, "nothing is cut, and the masked model was not run: %s\n", proof.Reason)
	}
	if c.KeepShapes {
		zeros, bad := 0, 0
		for name, keep := range sel.units.Groups.Keep(sel.units.Removed()) {
			v := g.Value(name)
			for i, k := range keep {
				if !k && v != nil && v.Init != nil {
					zeros++
					if v.Init.F[i] != 0 {
						bad++
					}
				}
			}
		}
		r.Facts = append(r.Facts, report.Fact{Name: "zeros_stay_zero", Holds: bad == 0, Detail: fmt.Sprintf("%d masked elements are exactly zero in the written model", zeros)})
	}
	holds := r.Ratio.Largest || len(c.LayerRatio) > 0 && r.Ratio.Achieved >= r.Ratio.Requested || math.Abs(r.Ratio.Achieved-r.Ratio.Requested) <= sel.choice.Step+1e-9
	detail := fmt.Sprintf("%.4f of %s removed, the ratio asks for %g; one step more or less is %.4f", r.Ratio.Achieved, c.counted(r), c.ratio, sel.choice.Step)
	if r.Ratio.Largest {
		detail = fmt.Sprintf("%.4f of %s removed, the largest that can be reached; the ratio asks for %g", r.Ratio.Achieved, c.counted(r), c.ratio)
	}
	r.Facts = append(r.Facts, report.Fact{Name: "ratio_delivered", Holds: holds, Detail: detail})
	return nil
}

// counted names what the ratio counts: multiply-adds are not all known where shapes depend on data.
func (c *pruneCmd) counted(r *report.Run) string {
	if c.Of == string(prune.OfMACs) && r.Dense.MACs == nil {
		return "the macs that are known"
	}
	return c.Of
}

// showChannels prints widths, the comparison and what was written.
func (c *pruneCmd) showChannels(con *console, r *report.Run) error {
	if err := r.WriteWidths(con.out); err != nil {
		return err
	}
	fmt.Fprintln(con.out)
	if err := r.Write(con.out); err != nil {
		return err
	}
	if err := showDivergences(con, r); err != nil {
		return err
	}
	line := "wrote " + c.Out
	if len(r.Epochs) > 0 {
		line += fmt.Sprintf(": epoch %d of %d", r.ExportedEpoch, c.epochs())
	}
	line += fmt.Sprintf("; %s of %s channels removed, %s of %s asked, %s achieved", report.Count(int64(r.Ratio.Removed)), report.Count(int64(r.Ratio.Elements)),
		report.Percent(r.Ratio.Requested), c.counted(r), report.Percent(r.Ratio.Achieved))
	if r.Ratio.Largest {
		line += " (the largest that can be reached)"
	}
	if _, err := fmt.Fprintln(con.out, line); err != nil {
		return err
	}
	for _, f := range r.Facts {
		if f.Name == "pruned_equals_masked" {
			_, err := fmt.Fprintln(con.out, "checked: "+f.Detail)
			return err
		}
	}
	return nil
}
