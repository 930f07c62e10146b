package prune

import (
	"math"
	"slices"
	"testing"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"pgregory.net/rapid"
)

// roundsRun is imp on channels.
func roundsRun(t *testing.T, threads int, ratio float64, epochs int, kind Kind) (*Structured, *Trainer) {
	t.Helper()
	c := config()
	c.Epochs = epochs
	s, tr := structuredRun(t, residualNet(t), threads, 0, c, kind)
	s.Rounds, s.Goal.Ratio = true, ratio
	return s, tr
}

// TestUnitRounds: every round leaves four fifths of the MACs to within a step, what is
// gone stays gone, it is what the importance of the weights at that time ranks last, and
// the result is epoch 0 or one of the last round.
func TestUnitRounds(t *testing.T) {
	want := []float64{0.2, 0.36, 0.488, 0.5}
	for _, kind := range []Kind{KindFilter, KindChannel} {
		s, tr := roundsRun(t, 2, 0.5, 1, kind)
		s.Config.LR = 0.3
		tr.Config.LR = 0.3
		var was [][]bool
		round := 0
		dense := s.Units.Groups.NewRemoval().MACs()
		s.Cut = func(small *graph.Graph, epoch int) {
			if epoch != round {
				t.Errorf("round %d is cut after epoch %d", round+1, epoch)
			}
			removed := clone(s.Units.Removed())
			_, macs := s.Units.Groups.Cost(removed)
			if got := 1 - float64(macs)/float64(dense); math.Abs(got-want[round]) > s.Choice.Step+1e-9 {
				t.Errorf("round %d: %.4f are gone, want %.4f within %.4f", round+1, got, want[round], s.Choice.Step)
			}
			for _, v := range small.Initializers() {
				if x := s.Values[v.Name]; x == nil || len(v.Init.F) > len(x) {
					t.Fatalf("round %d: %s is not of the model", round+1, v.Name)
				}
			}
			scores := s.Units.Scores(s.Importance, &Scoring{Graph: s.Graph, Pool: s.Pool})
			for g := range removed {
				for a, gone := range removed[g] {
					if was != nil && was[g][a] && !gone {
						t.Errorf("round %d: unit %d of group %d came back", round+1, a, g)
					}
					for b, other := range removed[g] {
						if gone && !other && scores[g][a] > scores[g][b] && (was == nil || !was[g][a]) {
							t.Errorf("round %d: unit %d of group %d, %.4f, is removed, and unit %d, %.4f, is not", round+1, a, g, scores[g][a], b, scores[g][b])
						}
					}
				}
			}
			was = removed
			round++
		}
		if err := s.Run(tr); err != nil {
			t.Fatal(err)
		}
		if round != 4 || len(s.History) != 5 || s.History[4].Epoch != 4 {
			t.Errorf("%d rounds and %d epochs, want 4 and 4", round, len(s.History)-1)
		}
		if s.Best != 0 && s.Best != 4 {
			t.Errorf("the result is epoch %d, of a round before the last", s.Best)
		}
		if s.Passes != 4 {
			t.Errorf("%v passes, want 4", s.Passes)
		}
	}
}

// measure evaluates the whole model with the values of the result and zeros for the channels
// that are removed.
func (s *Structured) measure(t *testing.T) *Score {
	t.Helper()
	whole := engine.NewState(s.Graph)
	for name, v := range s.Values {
		copy(whole.Tensor(name).F, v)
	}
	for name, keep := range s.Units.Groups.Keep(s.Units.Removed()) {
		for i, k := range keep {
			if !k {
				whole.Tensor(name).F[i] = 0
			}
		}
	}
	p, err := engine.Compile(s.Graph, whole, engine.Options{Batch: 200, Pool: s.Pool})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Evaluate(p, s.Val, engine.CrossEntropy{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestUnitResult: values and channels of the result score what the history says of the
// best epoch, also where that is epoch 0, whose channels are others than the last ones.
func TestUnitResult(t *testing.T) {
	zero := 0
	for _, c := range []struct {
		rounds bool
		masked int
		lr     float64
		rewind int
	}{{true, 0, 0.1, -1}, {true, 0, 1e-9, -1}, {true, 0, 3, -1}, {true, 0, 0.1, 1}, {false, 0, 0.1, 0}, {false, 1, 0.1, 1}, {false, 1, 3, -1}, {false, 2, 3, -1}} {
		cfg := config()
		cfg.LR, cfg.Epochs, cfg.MaskLR = c.lr, 2, 0.3
		s, tr := structuredRun(t, residualNet(t), 2, c.masked, cfg, KindFilter)
		s.Rounds = c.rounds
		if c.rewind >= 0 {
			if err := tr.RewindTo(nil, c.rewind); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Run(tr); err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(s.History, func(e Epoch) bool { return e.Epoch == s.Best })
		want, got := s.History[at].Val, s.measure(t)
		if math.Abs(want.Loss-got.Loss) > 1e-5*max(1, want.Loss) || want.Top1 != got.Top1 {
			t.Errorf("%+v: epoch %d scored %+v, the result %+v", c, s.Best, want, got)
		}
		_, macs := s.Units.Groups.Cost(s.Units.Removed())
		if float64(macs) != s.Choice.After {
			t.Errorf("%+v: %d MACs are left, the choice says %v", c, macs, s.Choice.After)
		}
		for _, e := range s.History[1:] {
			if s.Best == 0 && e.Val.better(s.History[0].Val) && !(c.rounds && e.Epoch <= 6) && e.Epoch >= c.masked {
				t.Errorf("%+v: epoch 0 is the result, and epoch %d is better", c, e.Epoch)
			}
		}
		if s.Best == 0 {
			zero++
		}
	}
	if zero == 0 || zero == 8 {
		t.Errorf("epoch 0 is the result of %d runs, the test shows nothing", zero)
	}
}

// TestUnitRungs: as [TestRungs], on channels.
func TestUnitRungs(t *testing.T) {
	type end struct {
		values  map[string][]float32
		removed [][]bool
		choice  Choice
		history []Epoch
		best    int
		passes  float64
	}
	finish := func(s *Structured, passes float64) end {
		e := end{values: map[string][]float32{}, removed: clone(s.Units.Removed()), choice: s.Choice, history: slices.Clone(s.History), best: s.Best, passes: passes}
		for name, v := range s.Values {
			e.values[name] = slices.Clone(v)
		}
		return e
	}
	for _, rewind := range []bool{false, true} {
		prepared := func(ratio float64) (*Structured, *Trainer) {
			s, tr := roundsRun(t, 2, ratio, 1, KindFilter)
			s.Config.BothBatches = rewind
			if rewind {
				if err := tr.RewindTo(nil, 1); err != nil {
					t.Fatal(err)
				}
				tr.batches = 0
			}
			return s, tr
		}
		got := map[float64]end{}
		var order []float64
		s, tr := prepared(0.6)
		s.Rungs = &Rungs{Ratios: []float64{0.5904, 0.3, 0.2, 0.5}, Reached: func(ratio, seconds, passes float64) error {
			if !(seconds > 0) {
				t.Errorf("ratio %v took %v seconds", ratio, seconds)
			}
			order = append(order, ratio)
			got[ratio] = finish(s, passes)
			return nil
		}}
		if err := s.Run(tr); err != nil {
			t.Fatal(err)
		}
		if want := []float64{0.2, 0.3, 0.5, 0.5904, 0.6}; !slices.Equal(order, want) {
			t.Errorf("reached %v, want %v", order, want)
		}
		for ratio, g := range got {
			s, tr := prepared(ratio)
			if err := s.Run(tr); err != nil {
				t.Fatal(err)
			}
			w := finish(s, s.Passes)
			if err := sameValues(g.values, w.values); err != nil {
				t.Errorf("rewinding %v, ratio %v: %v from a run to it alone", rewind, ratio, err)
			}
			if err := sameHistory(g.history, w.history); err != nil {
				t.Errorf("rewinding %v, ratio %v: %v", rewind, ratio, err)
			}
			if !slices.EqualFunc(g.removed, w.removed, slices.Equal[[]bool]) || g.choice != w.choice || g.best != w.best || g.passes != w.passes {
				t.Errorf("rewinding %v, ratio %v: best %d of %v passes, %+v, alone %d, %v, %+v", rewind, ratio, g.best, g.passes, g.choice, w.best, w.passes, w.choice)
			}
		}
	}
}

// TestUnitRoundsSameBitsAtAnyThreads makes the rounds at one and three threads.
func TestUnitRoundsSameBitsAtAnyThreads(t *testing.T) {
	var first map[string][]float32
	for _, threads := range []int{1, 3} {
		s, tr := roundsRun(t, threads, 0.4, 1, KindChannel)
		if err := s.Run(tr); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = s.Values
		} else if err := sameValues(first, s.Values); err != nil {
			t.Error(err)
		}
	}
}

// TestChooseMore: what is gone stays, limits hold for all of it, and the rest is chosen as
// near to the goal as from the beginning.
func TestChooseMore(t *testing.T) {
	g := residualNet(t)
	state := engine.NewState(g)
	groups, err := g.Groups(nil)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		l := Limits{Round: rapid.SampledFrom([]int{1, 2, 4}).Draw(t, "round"), MinChannels: rapid.IntRange(1, 4).Draw(t, "min"), MaxLayerRatio: rapid.SampledFrom([]float64{1, 0.75, 0.5}).Draw(t, "max"), PerLayer: rapid.Bool().Draw(t, "per layer")}
		u, err := NewUnits(g, groups, state, Structure{Kind: KindFilter}, l)
		if err != nil {
			t.Fatal(err)
		}
		of := rapid.SampledFrom([]Quantity{OfMACs, OfParams}).Draw(t, "of")
		var was [][]bool
		last := Choice{}
		for i, ratio := range []float64{0.2, 0.36, 0.488, 0.7} {
			goal := Goal{Of: of, Ratio: ratio, BestEffort: true}
			choice, err := u.chooseMore(goal, randomScores(u, rapid.Uint64().Draw(t, "seed")))
			if err != nil {
				t.Fatal(err)
			}
			if i > 0 && choice.After > last.After {
				t.Fatalf("%v are left of %v", choice.After, last.After)
			}
			for g, removed := range u.Removed() {
				n := 0
				for k, gone := range removed {
					if was != nil && was[g][k] && !gone {
						t.Fatalf("unit %d of group %d came back", k, g)
					}
					if gone {
						n++
					}
				}
				w := u.shape[g]
				if n > w.most || n > 0 && n < w.most && (n-w.first)%w.step != 0 {
					t.Fatalf("%d of group %d are gone, at most %d in steps of %d after %d", n, g, w.most, w.step, w.first)
				}
			}
			if !choice.Largest && choice.After != last.After && math.Abs(choice.Achieved-ratio) > choice.Step+1e-9 {
				t.Fatalf("%.4f are gone, want %.4f within %.4f", choice.Achieved, ratio, choice.Step)
			}
			was, last = clone(u.Removed()), choice
		}
	})
}

// TestRewoundChannels: at rate 0 what is left ends as what it was put back to, for every
// kind of run, and retraining goes back once more.
func TestRewoundChannels(t *testing.T) {
	for name, change := range map[string]func(s *Structured){
		"omp":     func(*Structured) {},
		"imp":     func(s *Structured) { s.Rounds = true },
		"bip":     func(s *Structured) { s.Masked = 1 },
		"retrain": func(s *Structured) { s.Masked, s.Config.Retrain = 3, 1 },
	} {
		c := config()
		c.LR, c.FreezeNorm, c.WeightDecay = 0, true, 0
		s, tr := structuredRun(t, residualNet(t), 1, 0, c, KindFilter)
		change(s)
		s.Val, s.Config.FreezeNorm = nil, true
		tr, err := s.Prepare()
		if err != nil {
			t.Fatal(err)
		}
		tr.Rewind = &Rewind{tr.State.Snapshot()}
		for _, name := range tr.State.Names() {
			for i := range tr.Rewind.state.Floats(name) {
				tr.Rewind.state.Floats(name)[i] *= 1.5
			}
		}
		if err := s.Run(tr); err != nil {
			t.Fatal(err)
		}
		if n := s.History[len(s.History)-1].Epoch; n < 3 || s.Best != n {
			t.Errorf("%s: epoch %d of %d is the result", name, s.Best, n)
		}
		plan, err := s.Units.Groups.Plan(s.Units.Removed())
		if err != nil {
			t.Fatal(err)
		}
		early := map[string][]float32{}
		for _, n := range s.State.Names() {
			early[n] = tr.Rewind.state.Floats(n)
		}
		var both [2]*graph.Graph
		for i, values := range []map[string][]float32{s.Values, early} {
			if both[i], err = cut(s.Graph, plan, values); err != nil {
				t.Fatal(err)
			}
		}
		for i, v := range both[0].Initializers() {
			if w := both[1].Initializers()[i]; !slices.Equal(v.Init.F, w.Init.F) {
				t.Errorf("%s: %s is not what it was put back to", name, v.Name)
			}
		}
	}
}
