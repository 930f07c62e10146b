package prune

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/internal/onnxtest"
	"pgregory.net/rapid"
)

// residualNet has a stream of 8 channels over two blocks and inner widths 6 and 10.
func residualNet(t testing.TB) *graph.Graph {
	t.Helper()
	b := onnxtest.New(13, 5)
	x := b.Input("x", -1, 1, 8, 8)
	x = b.ConvBlock(x, "stem", 1, 8, 3, 1)
	for _, w := range []struct {
		name  string
		inner int
	}{{"one", 6}, {"two", 10}} {
		y := b.ConvBlock(x, w.name+".a", 8, w.inner, 3, 1)
		y = b.Node("Conv", w.name+".b.conv", []string{y, b.Weight(w.name+".b.weight", 0.3, 8, w.inner, 3, 3)}, "pads", []int64{1, 1, 1, 1})
		y = b.Norm(y, w.name+".b", 8)
		x = b.Node("Relu", w.name+".out", []string{b.Node("Add", w.name+".sum", []string{y, x})})
	}
	x = b.Node("GlobalAveragePool", "pool", []string{x})
	x = b.Node("Flatten", "flat", []string{x})
	b.Node("Gemm", "logits", []string{x, b.Weight("fc.weight", 0.6, 4, 8), b.Weight("fc.bias", 0.1, 4)}, "transB", 1)
	b.Output("logits", -1, 4)
	g, err := graph.New(b.Model(t), "residual.onnx")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func unitsOf(t testing.TB, g *graph.Graph, state *engine.State, s Structure, l Limits) *Units {
	t.Helper()
	groups, err := g.Groups(nil)
	if err != nil {
		t.Fatal(err)
	}
	if l.MaxLayerRatio == 0 {
		l.MaxLayerRatio = 1
	}
	if l.Round == 0 {
		l.Round = 1
	}
	u, err := NewUnits(g, groups, state, s, l)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// randomScores draws scores per group and unit.
func randomScores(u *Units, seed uint64) [][]float64 {
	rng := rand.New(rand.NewPCG(seed, 9))
	scores := make([][]float64, len(u.Groups.Groups))
	for g := range scores {
		scores[g] = make([]float64, u.Groups.Groups[g].Width)
		for i := range scores[g] {
			scores[g][i] = rng.Float64()
		}
	}
	return scores
}

func structuredRun(t *testing.T, g *graph.Graph, threads, masked int, c Config, kind Kind) (*Structured, *Trainer) {
	t.Helper()
	state := engine.NewState(g)
	u := unitsOf(t, g, state, Structure{Kind: kind}, Limits{})
	pool := kernel.NewPool(threads)
	t.Cleanup(pool.Close)
	c.Loss, c.Augment = engine.CrossEntropy{}, data.AugmentNone
	importance, err := FindImportance(TrainedImportance)
	if err != nil {
		t.Fatal(err)
	}
	s := &Structured{Graph: g, State: state, Units: u, Goal: Goal{Of: OfMACs, Ratio: 0.5}, Importance: importance, Masked: masked,
		Train: stripes(t, 600, 1), Val: stripes(t, 200, 2), Pool: pool, Config: c}
	tr, err := s.Prepare()
	if err != nil {
		t.Fatal(err)
	}
	return s, tr
}

// loss is the mean loss of a batch with the gates as they are, BatchNormalization on
// batch statistics.
func (b *UnitBiP) loss(t *testing.T, batch *data.Batch) float64 {
	t.Helper()
	l, err := b.t.gradients(batch)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestUnitSlopes: with γ = ∞ the slope of a unit is the derivative of the loss by a
// factor on everything of the unit that is multiplied while it is masked, kept or
// removed, as finite differences of the real network have it.
func TestUnitSlopes(t *testing.T) {
	c := config()
	s, tr := structuredRun(t, residualNet(t), 2, 1, c, KindChannel)
	b, err := NewUnitBiP(tr, s.Units, s.Goal, randomScores(s.Units, 3))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := s.Train.Batches(data.BatchOptions{Size: 50})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	batch, err := stream.Next()
	if err != nil {
		t.Fatal(err)
	}
	b.loss(t, batch)
	slopes := s.Units.slopes(tr, 0)
	const h = 1e-2
	checked, dead := 0, 0
	for g := range slopes {
		grp := &s.Units.Groups.Groups[g]
		for u := range slopes[g] {
			at := func(delta float32) float64 {
				for i := range grp.Members {
					m := &grp.Members[i]
					if m.Produces || !m.Weight {
						continue
					}
					l := &s.Units.Masks.Layers[s.Units.layerOf[m.Value.Name]]
					for lo, hi := range m.Elements(u) {
						for k := lo; k < hi; k++ {
							l.Z[k] = l.Theta[k] * (l.Gate[k] + delta)
						}
					}
				}
				v := b.loss(t, batch)
				s.Units.Refresh()
				return v
			}
			want := (at(h) - at(-h)) / (2 * h)
			if math.Abs(slopes[g][u]-want) > 2e-3+0.02*math.Abs(want) {
				t.Errorf("%s[%d], removed %v: the slope is %.5f, finite differences give %.5f", grp.Name, u, s.Units.Removed()[g][u], slopes[g][u], want)
			}
			checked++
			if s.Units.Removed()[g][u] && slopes[g][u] == 0 {
				dead++
			}
		}
	}
	if checked < 20 || dead > 2 {
		t.Errorf("%d units checked, %d removed ones have no slope", checked, dead)
	}
}

// TestUnitSlopeIsTheSumOverTheUnit compares with the closed form, element by element.
func TestUnitSlopeIsTheSumOverTheUnit(t *testing.T) {
	s, tr := structuredRun(t, residualNet(t), 3, 1, config(), KindFilter)
	b, err := NewUnitBiP(tr, s.Units, s.Goal, randomScores(s.Units, 4))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := s.Train.Batches(data.BatchOptions{Size: 50})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	batch, err := stream.Next()
	if err != nil {
		t.Fatal(err)
	}
	b.loss(t, batch)
	const gamma = 0.5
	got := s.Units.slopes(tr, 1/gamma)
	for g := range got {
		grp := &s.Units.Groups.Groups[g]
		for u, gone := range s.Units.Removed()[g] {
			want, scale := 0.0, 0.0
			for i := range grp.Members {
				m := &grp.Members[i]
				if !m.Weight {
					continue
				}
				l := &s.Units.Masks.Layers[s.Units.layerOf[m.Value.Name]]
				grad := tr.plan.Grad(l.Name).F
				for lo, hi := range m.Elements(u) {
					theta, mask, g := make([]float64, hi-lo), make([]float64, hi-lo), make([]float64, hi-lo)
					for k := range theta {
						theta[k], mask[k], g[k] = float64(l.Theta[lo+k]), float64(l.Mask[lo+k]), float64(grad[lo+k])
						if m.Produces && l.Gate[lo+k] == 0 {
							theta[k] = 0
						}
					}
					for _, d := range closedForm(theta, g, mask, gamma) {
						want += d
						scale += math.Abs(d)
					}
				}
			}
			if math.Abs(got[g][u]-want) > 1e-4*scale+1e-7 {
				t.Errorf("%s[%d], removed %v: slope %v, the sum of dℓ/dm is %v", grp.Name, u, gone, got[g][u], want)
			}
		}
	}
}

// TestUnitStepsAreRelative: a step moves scores by (d − d̄)/σ, d̄ the mean over the units of the group, σ² that of
// d² over them and the steps so far, the later ones counting more; with weights frozen by d.
func TestUnitStepsAreRelative(t *testing.T) {
	for _, frozen := range []bool{false, true} {
		c := config()
		c.Momentum, c.MaskLR = 0, 1e-3
		s, tr := structuredRun(t, residualNet(t), 2, 1, c, KindFilter)
		b, err := NewUnitBiP(tr, s.Units, s.Goal, randomScores(s.Units, 3))
		if err != nil {
			t.Fatal(err)
		}
		gammaInv := 1 / c.Gamma
		if b.frozen = frozen; frozen {
			gammaInv = 0
		}
		stream, err := s.Train.Batches(data.BatchOptions{Size: 50})
		if err != nil {
			t.Fatal(err)
		}
		squares, weight := make([]float64, len(b.scores)), 0.0
		for step := range 4 {
			batch, err := stream.Next()
			if err != nil {
				t.Fatal(err)
			}
			b.loss(t, batch)
			all := s.Units.slopes(tr, gammaInv)
			var old [][]float64
			for _, v := range b.scores {
				old = append(old, slices.Clone(v))
			}
			if _, err := b.upper(batch); err != nil {
				t.Fatal(err)
			}
			rate := c.MaskLR * tr.maskCosine()
			weight = 0.99*weight + 1
			for g, slopes := range all {
				mean, square := 0.0, 0.0
				for _, d := range slopes {
					mean += d / float64(len(slopes))
					square += d * d / float64(len(slopes))
				}
				squares[g] = 0.99*squares[g] + square
				sigma := math.Sqrt(squares[g] / weight)
				if frozen {
					mean, sigma = 0, 1
				}
				for u, d := range slopes {
					if got, want := b.scores[g][u]-old[g][u], -rate*(d-mean)/sigma; math.Abs(got-want) > 1e-9+1e-5*math.Abs(want) {
						t.Errorf("frozen %v, step %d: the score of %s[%d] moves by %g, wants %g", frozen, step, s.Units.Groups.Groups[g].Name, u, got, want)
					}
				}
			}
			tr.step++
		}
		stream.Close()
	}
}

// TestUnitsStayMasked follows every step of a masked epoch: what reads a removed channel
// is zero, nothing of a removed unit is trained or holds momentum, and MACs are met.
func TestUnitsStayMasked(t *testing.T) {
	c := config()
	c.Epochs = 1
	s, tr := structuredRun(t, residualNet(t), 2, 1, c, KindFilter)
	b, err := NewUnitBiP(tr, s.Units, s.Goal, s.Units.Scores(s.Importance, &Scoring{Graph: s.Graph, Pool: s.Pool}))
	if err != nil {
		t.Fatal(err)
	}
	var before, old [][]float32
	remember := func() {
		before, old = nil, nil
		for _, l := range tr.Masks.Layers {
			before, old = append(before, slices.Clone(l.Theta)), append(old, slices.Clone(l.Mask))
		}
	}
	remember()
	dense := s.Units.Groups.NewRemoval().MACs()
	tr.Progress.Step = func(_, step, _ int, _ float64) {
		_, macs := s.Units.Groups.Cost(s.Units.Removed())
		if got := 1 - float64(macs)/float64(dense); math.Abs(got-0.5) > b.Choice.Step {
			t.Fatalf("step %d: %.4f of the MACs are gone, a step is %.4f", step, got, b.Choice.Step)
		}
		for i, l := range tr.Masks.Layers {
			for j := range l.Mask {
				if l.Gate[j] == 0 && math.Float32bits(l.Z[j]) != 0 || l.Gate[j] == 1 && l.Z[j] != l.Theta[j] || l.Gate[j] < l.Mask[j] {
					t.Fatalf("step %d: %s[%d]: mask %v, gate %v, θ %v, z %v", step, l.Name, j, l.Mask[j], l.Gate[j], l.Theta[j], l.Z[j])
				}
				if old[i][j] == 0 && (l.Theta[j] != before[i][j] || tr.sgd.momenta[l.Name][j] != 0) {
					t.Fatalf("step %d: %s[%d] was masked in the lower step and moved", step, l.Name, j)
				}
			}
		}
		remember()
	}
	if err := b.Run(); err != nil {
		t.Fatal(err)
	}
}

// TestRampOfUnits: the MACs that are gone rise along the cubic from none to the goal over the
// first part of the masked epochs; epoch 0 is at the goal, and no epoch on the way is the best.
func TestRampOfUnits(t *testing.T) {
	c := config()
	c.Epochs, c.Ramp = 5, 0.75
	s, tr := structuredRun(t, residualNet(t), 2, 4, c, KindFilter)
	b, err := NewUnitBiP(tr, s.Units, s.Goal, s.Units.Scores(s.Importance, &Scoring{Graph: s.Graph, Pool: s.Pool}))
	if err != nil {
		t.Fatal(err)
	}
	dense := s.Units.Groups.NewRemoval().MACs()
	gone := func() float64 {
		_, macs := s.Units.Groups.Cost(s.Units.Removed())
		return 1 - float64(macs)/float64(dense)
	}
	at := func(what string, step int) {
		want, x := 0.5, float64(step+1)/(3*float64(tr.steps))
		if x < 1 {
			want = 0.5 - 0.5*math.Pow(1-x, 3)
		}
		if got := b.ratio(step); math.Abs(got-want) > 1e-12 {
			t.Errorf("%s: removes %g, wants %g", what, got, want)
		}
		if got := gone(); math.Abs(got-want) > b.Choice.Step {
			t.Errorf("%s: %.4f of the MACs are gone, wants %.4f, a step is %.4f", what, got, want, b.Choice.Step)
		}
	}
	if got := gone(); math.Abs(got-0.5) > b.Choice.Step {
		t.Errorf("epoch 0 has %.4f of the MACs removed, wants half", got)
	}
	steps := 0
	tr.Progress.Step = func(epoch, step, _ int, _ float64) {
		at(fmt.Sprintf("epoch %d, step %d", epoch, step), steps)
		steps++
	}
	if err := b.Run(); err != nil {
		t.Fatal(err)
	}
	if steps != 4*tr.steps {
		t.Fatalf("%d steps, wants %d", steps, 4*tr.steps)
	}
	for _, e := range tr.History {
		if rises := e.Epoch == 1 || e.Epoch == 2; rises != (e.Ratio > 0 && e.Ratio < 0.5) || !rises && e.Ratio != 0 {
			t.Errorf("epoch %d has ratio %g", e.Epoch, e.Ratio)
		}
	}
	if best, err := tr.Best(); err != nil || best == 1 || best == 2 {
		t.Errorf("epoch %d is the best: %v", best, err)
	}
	tr.step, b.frozen = 0, true
	if r := b.ratio(-1); r != 0.5 {
		t.Errorf("with weights frozen %g goes at first", r)
	}
}

// TestMaskedIsPruned: the masked network that BiP leaves, and the one that is cut out of
// it, score the same; so does the whole one with zeros in place after the cut network was
// trained.
func TestMaskedIsPruned(t *testing.T) {
	c := config()
	for _, kind := range []Kind{KindFilter, KindChannel} {
		s, tr := structuredRun(t, residualNet(t), 2, 1, c, kind)
		var atCut *Score
		s.Cut = func(small *graph.Graph, epoch int) {
			p, err := engine.Compile(small, engine.NewState(small), engine.Options{Batch: 200, Pool: s.Pool})
			if err != nil {
				t.Fatal(err)
			}
			if atCut, err = Evaluate(p, s.Val, engine.CrossEntropy{}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Run(tr); err != nil {
			t.Fatal(err)
		}
		best := s.Best
		if masked := s.History[1].Val; math.Abs(masked.Loss-atCut.Loss) > 1e-5 || masked.Top1 != atCut.Top1 {
			t.Errorf("masked scores %+v, cut %+v", masked, atCut)
		}
		if len(s.History) != 4 || s.History[3].Epoch != 3 || !(s.History[3].TrainLoss < s.History[1].TrainLoss) {
			t.Errorf("history %+v", s.History)
		}
		got := s.measure(t)
		for _, e := range s.History {
			if e.Epoch == best && (math.Abs(e.Val.Loss-got.Loss) > 1e-5 || e.Val.Top1 != got.Top1) {
				t.Errorf("epoch %d scored %+v, its values with zeros in place %+v", best, e.Val, got)
			}
		}
	}
}

func TestUnitBiPSameBitsAtAnyThreads(t *testing.T) {
	var first map[string][]float32
	for _, threads := range []int{1, 3} {
		c := config()
		c.Epochs, c.Ramp = 2, 1
		s, tr := structuredRun(t, residualNet(t), threads, 1, c, KindFilter)
		if err := s.Run(tr); err != nil {
			t.Fatal(err)
		}
		values := s.Values
		if first == nil {
			first = values
			continue
		}
		for name, v := range values {
			for i := range v {
				if math.Float32bits(v[i]) != math.Float32bits(first[name][i]) {
					t.Fatalf("%s[%d] is %v at 1 thread and %v at %d", name, i, first[name][i], v[i], threads)
				}
			}
		}
	}
}

// TestChooseExactly compares a search with its definition: units go in the order of
// their scores, as far as limits allow; where the next one oversteps, smaller ones may
// take its place, and nothing that is nearer to the goal is missed by more than a step.
func TestChooseExactly(t *testing.T) {
	g := residualNet(t)
	state := engine.NewState(g)
	rapid.Check(t, func(t *rapid.T) {
		l := Limits{Round: rapid.SampledFrom([]int{1, 2, 4}).Draw(t, "round"), MinChannels: rapid.IntRange(1, 4).Draw(t, "min"), MaxLayerRatio: rapid.SampledFrom([]float64{1, 0.75, 0.5}).Draw(t, "max"), PerLayer: rapid.Bool().Draw(t, "per layer")}
		groups, err := g.Groups(nil)
		if err != nil {
			t.Fatal(err)
		}
		u, err := NewUnits(g, groups, state, Structure{Kind: KindFilter}, l)
		if err != nil {
			t.Fatal(err)
		}
		goal := Goal{Of: rapid.SampledFrom([]Quantity{OfParams, OfMACs}).Draw(t, "of"), Ratio: rapid.Float64Range(0, 0.95).Draw(t, "ratio"), BestEffort: true}
		scores := randomScores(u, rapid.Uint64().Draw(t, "seed"))
		ch, err := u.Choose(goal, scores)
		if err != nil {
			t.Fatal(err)
		}
		params, macs := groups.Cost(u.Removed())
		after := float64(params)
		if goal.Of == OfMACs {
			after = float64(macs)
		}
		if after != ch.After || math.Abs(ch.Achieved-(1-after/ch.Before)) > 1e-12 {
			t.Fatalf("the choice says %+v, the removal costs %v", ch, after)
		}
		if !ch.Largest && math.Abs(ch.Achieved-goal.Ratio) > ch.Step+1e-9 {
			t.Fatalf("%.4f achieved, %.4f asked, a step is %.4f", ch.Achieved, goal.Ratio, ch.Step)
		}
		kept, all := u.Widths()
		for i := range kept {
			gone := all[i] - kept[i]
			if gone > 0 && (kept[i]%l.Round != 0 || kept[i] < l.MinChannels || float64(gone) > l.MaxLayerRatio*float64(all[i])) {
				t.Fatalf("group %s keeps %d of %d under %+v", groups.Groups[i].Name, kept[i], all[i], l)
			}
			// Within a group the smallest go.
			least, most := math.Inf(1), math.Inf(-1)
			for k, out := range u.Removed()[i] {
				if out {
					most = max(most, scores[i][k])
				} else {
					least = min(least, scores[i][k])
				}
			}
			if most > least {
				t.Fatalf("group %s loses a unit of score %v and keeps one of %v", groups.Groups[i].Name, most, least)
			}
		}
	})
}

func TestChooseErrors(t *testing.T) {
	g := residualNet(t)
	state := engine.NewState(g)
	u := unitsOf(t, g, state, Structure{Kind: KindFilter}, Limits{MinChannels: 4})
	_, err := u.Choose(Goal{Of: OfMACs, Ratio: 0.99}, randomScores(u, 1))
	if err == nil || !regexp.MustCompile(`^residual.onnx: --ratio 0.99 of macs cannot be reached, at most 0\.\d{4} can go under the limits\nhint: --best-effort`).MatchString(err.Error()) {
		t.Errorf("error is %v", err)
	}
	ch, err := u.Choose(Goal{Of: OfMACs, Ratio: 0.99, BestEffort: true}, randomScores(u, 1))
	if err != nil || !ch.Largest {
		t.Errorf("best effort gives %+v, %v", ch, err)
	}
	groups, err := g.Groups(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewUnits(g, groups, state, Structure{Kind: KindFilter}, Limits{Round: 1, MaxLayerRatio: 1,
		Exclude: []*regexp.Regexp{regexp.MustCompile("fc")}, LayerRatios: []LayerRatio{{regexp.MustCompile("^zzz"), 0.5}}})
	if err == nil || !strings.Contains(err.Error(), "--exclude fc matches no layer with channels") || !strings.Contains(err.Error(), "--layer-ratio ^zzz=0.5 matches no layer") {
		t.Errorf("error is %v", err)
	}
	// fc reads channels: as a consumer it can be left out.
	u = unitsOf(t, g, state, Structure{Kind: KindChannel}, Limits{Exclude: []*regexp.Regexp{regexp.MustCompile("fc")}})
	if len(u.Left) != 1 || u.Left[0].Reason != "--exclude" {
		t.Errorf("left whole: %+v", u.Left)
	}
}

// TestLayerRatio: a fixed fraction is met exactly and the rest searched.
func TestLayerRatio(t *testing.T) {
	g := residualNet(t)
	u := unitsOf(t, g, engine.NewState(g), Structure{Kind: KindFilter}, Limits{LayerRatios: []LayerRatio{{regexp.MustCompile(`^two\.a`), 0.3}}})
	ch, err := u.Choose(Goal{Of: OfParams, Ratio: 0.4}, randomScores(u, 2))
	if err != nil {
		t.Fatal(err)
	}
	kept, all := u.Widths()
	for i := range kept {
		if u.Groups.Groups[i].Name == "two.a.weight" && (all[i] != 10 || kept[i] != 7) {
			t.Errorf("%d of %d stay, want 7 of 10", kept[i], all[i])
		}
	}
	if math.Abs(ch.Achieved-0.4) > ch.Step {
		t.Errorf("achieved %+v", ch)
	}
}

// TestGatesAreChecked: where a channel is also summed up without a weight, zeros in the
// slices that read it do not take it out, and gates become masks.
func TestGatesAreChecked(t *testing.T) {
	for _, summed := range []bool{false, true} {
		b := onnxtest.New(13, 5)
		x := b.Input("x", -1, 1, 8, 8)
		x = b.ConvBlock(x, "a", 1, 8, 3, 2)
		y := b.ConvBlock(x, "b", 8, 4, 3, 2)
		y = b.Node("GlobalAveragePool", "pool", []string{y})
		if summed {
			s := b.Node("ReduceSum", "sum", []string{x, b.Ints("axes", 1, 2, 3)}, "keepdims", 1)
			y = b.Node("Mul", "both", []string{y, s})
		}
		b.Node("Flatten", "logits", []string{y})
		b.Output("logits", -1, 4)
		g, err := graph.New(b.Model(t), "summed.onnx")
		if err != nil {
			t.Fatal(err)
		}
		s, tr := structuredRun(t, g, 2, 1, config(), KindFilter)
		s.Goal = Goal{Of: OfParams, Ratio: 0.4}
		if _, err := NewUnitBiP(tr, s.Units, s.Goal, randomScores(s.Units, 1)); err != nil {
			t.Fatal(err)
		}
		if err := s.Units.checkGates(tr); err != nil {
			t.Fatal(err)
		}
		if s.Units.whole != summed {
			t.Errorf("summed without a weight: %v, gates are masks: %v", summed, s.Units.whole)
		}
	}
}
