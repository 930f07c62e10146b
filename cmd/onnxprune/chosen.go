package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/prune"
	"github.com/onnxprune/onnxprune/report"
)

// chosen are the flags that a training run comes to, defaults and automatic choices
// included: given once more they shape the same result. Names of files are left out, and
// what has no part in this run.
func (c *pruneCmd) chosen(t *prune.Trainer, s *sources, r *report.Run) string {
	var flags []string
	add := func(name string, value any) {
		text := fmt.Sprint(value)
		if strings.HasPrefix(text, "-") {
			flags = append(flags, "--"+name+"="+text)
			return
		}
		flags = append(flags, "--"+name, text)
	}
	say := func(on bool, name string) {
		if on {
			flags = append(flags, "--"+name)
		}
	}
	bip := c.Method == "bip"
	add("method", c.Method)
	add("structure", c.structure)
	if c.structure.Kind != prune.KindNM {
		add("ratio", c.ratio)
	}
	if c.structure.Grouped() {
		c.chosenChannels(add, say)
	}
	for _, p := range c.Exclude {
		add("exclude", p.String())
	}
	add("epochs", c.Epochs)
	if c.Retrain > 0 {
		add("retrain", c.Retrain)
	}
	if c.Rewind != nil {
		add("rewind", *c.Rewind)
	}
	add("batch", t.Config.Batch)
	add("lr", c.LR)
	if c.method.Train != nil && c.Method != "imp" {
		add("mask-lr", c.MaskLR)
	}
	if bip {
		add("gamma", c.Gamma)
		if c.ramps() {
			add("ramp", c.Ramp)
		}
		say(c.BothBatches, "both-batches")
		say(!c.BothBatches, "no-both-batches")
	}
	add("clip", c.Clip)
	add("weight-decay", c.WeightDecay)
	if c.Anchor > 0 || c.GivenAnchor != nil {
		add("anchor", c.Anchor)
	}
	add("momentum", c.Momentum)
	add("augment", s.augment)
	if c.Data != "" && c.Val == "" {
		add("hold-out", c.heldPart(s.held+s.train.Len()))
	}
	rebn := "off"
	if r.Settings.Renormed > 0 {
		rebn = "on"
	}
	add("rebn", rebn)
	say(c.FreezeNorm, "freeze-norm")
	if c.Loss != "auto" {
		add("loss", c.Loss)
	}
	if c.Distill.set {
		flags = append(flags, fmt.Sprintf("--distill=%v", c.Distill.of))
		if len(c.DistillOutputs) > 0 {
			add("distill-outputs", strings.Join(c.DistillOutputs, ","))
		}
	}
	if set := &r.Settings; set.Temperature > 0 {
		add("temperature", set.Temperature)
		if set.LabelWeight > 0 && !c.Distill.set {
			add("label-weight", set.LabelWeight)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Dim)) {
		add("dim", fmt.Sprintf("%s=%d", name, c.Dim[name]))
	}
	if c.Masks == string(graph.AsNode) {
		add("masks", c.Masks)
	}
	say(c.Sparse, "sparse")
	if c.Engine != ownEngine {
		add("engine", c.Engine)
	}
	add("on-divergence", c.OnDivergence)
	add("seed", c.Seed)
	return quoted(flags)
}

// chosenChannels are the flags of structured pruning.
func (c *pruneCmd) chosenChannels(add func(name string, value any), say func(on bool, name string)) {
	add("of", c.Of)
	if !c.ranks() {
		add("importance", c.Importance)
	}
	add("round", c.Round)
	add("min-channels", c.MinChannels)
	add("max-layer-ratio", c.MaxLayerRatio)
	for _, l := range c.LayerRatio {
		add("layer-ratio", fmt.Sprintf("%v=%v", l.Match, l.Ratio))
	}
	say(c.PerLayer, "per-layer")
	say(c.BestEffort, "best-effort")
	say(c.KeepShapes, "keep-shapes")
	if c.Method == "bip" {
		add("masked-epochs", c.maskedEpochs())
	}
}
