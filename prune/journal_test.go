package prune

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/checkpoint"
	"github.com/onnxprune/onnxprune/engine"
)

// course is a run that can be made again: it returns all that is written of it.
type course func(j *Journal) ([]Epoch, map[string][]float32, error)

// weightRun is one of a method on single weights, patterns or blocks, from dense training
// on where rewind is not negative.
func weightRun(t *testing.T, name string, s Structure, rewind int, change func(c *Config)) course {
	c := config()
	c.Ratio, c.Epochs, c.Structure = 0.5, 2, s
	if change != nil {
		change(&c)
	}
	return func(j *Journal) ([]Epoch, map[string][]float32, error) {
		tr := trainer(t, stripeNet(t), 2, c)
		tr.Journal = j
		if err := tr.Prepare(); err != nil {
			return nil, nil, err
		}
		if c.LabelShare > 0 {
			var err error
			if tr.Config.Teacher, err = engine.Compile(tr.Graph, engine.NewState(tr.Graph), engine.Options{Batch: c.Batch, Pool: tr.Pool}); err != nil {
				return nil, nil, err
			}
		}
		if rewind >= 0 {
			if err := tr.RewindTo(nil, rewind); err != nil {
				return nil, nil, err
			}
		}
		if err := tr.Run(method(t, name)); err != nil {
			return nil, nil, err
		}
		if _, err := tr.Best(); err != nil {
			return nil, nil, err
		}
		values := map[string][]float32{}
		for _, n := range tr.State.Names() {
			values[n] = tr.State.Tensor(n).F
		}
		for _, l := range tr.Masks.Layers {
			values["mask of "+l.Name], values["theta of "+l.Name] = l.Mask, l.Theta
		}
		return tr.History, values, nil
	}
}

// unitRun is one on channels, likewise.
func unitRun(t *testing.T, kind Kind, masked, rewind int, change func(s *Structured)) course {
	return func(j *Journal) ([]Epoch, map[string][]float32, error) {
		s, _ := structuredRun(t, residualNet(t), 2, masked, config(), kind)
		s.Journal = j
		if change != nil {
			change(s)
		}
		tr, err := s.Prepare()
		if err != nil {
			return nil, nil, err
		}
		if rewind >= 0 {
			if err := tr.RewindTo(nil, rewind); err != nil {
				return nil, nil, err
			}
		}
		if err := s.Run(tr); err != nil {
			return nil, nil, err
		}
		best, values := s.Best, maps.Clone(s.Values)
		values["best"], values["choice"] = []float32{float32(best)}, []float32{float32(s.Choice.After), float32(s.Choice.Step)}
		for g, removed := range s.Units.Removed() {
			for i, gone := range removed {
				if gone {
					values["removed"] = append(values["removed"], float32(g), float32(i))
				}
			}
		}
		return s.History, values, nil
	}
}

func sameHistory(a, b []Epoch) error {
	if len(a) != len(b) {
		return fmt.Errorf("%d epochs, want %d", len(a), len(b))
	}
	for i := range a {
		x, y := a[i].record(), b[i].record()
		if (x.Val == nil) != (y.Val == nil) || x.Val != nil && *x.Val != *y.Val {
			return fmt.Errorf("epoch %d scores %+v, want %+v", i, x.Val, y.Val)
		}
		if x.Val, y.Val = nil, nil; x != y {
			return fmt.Errorf("epoch %+v, want %+v", x, y)
		}
	}
	return nil
}

func sameValues(a, b map[string][]float32) error {
	if len(a) != len(b) {
		return fmt.Errorf("%d values, want %d", len(a), len(b))
	}
	for name := range b {
		same := slices.EqualFunc(a[name], b[name], func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
		if !same {
			return fmt.Errorf("%s differs", name)
		}
	}
	return nil
}

// file writes and reads a checkpoint.
func file(t *testing.T, s *checkpoint.State) *checkpoint.State {
	t.Helper()
	var b bytes.Buffer
	if _, err := s.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	got, err := checkpoint.Parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestGoOn makes every kind of run once through with a checkpoint after every step, and
// again from some of them: history and values are the same to the bit.
func TestGoOn(t *testing.T) {
	runs := map[string]course{
		"bip":           weightRun(t, "bip", Structure{}, -1, nil),
		"bip 2:4":       weightRun(t, "bip", Structure{Kind: KindNM, N: 2, M: 4}, -1, nil),
		"bip block":     weightRun(t, "bip", Structure{Kind: KindBlock, Rows: 2, Columns: 2}, -1, nil),
		"bip rewind":    weightRun(t, "bip", Structure{}, 2, func(c *Config) { c.Retrain = 2 }),
		"bip diverging": weightRun(t, "bip", Structure{}, -1, func(c *Config) { c.LR, c.Retries = 40, 3 }),
		"bip ramp":      weightRun(t, "bip", Structure{}, -1, func(c *Config) { c.Ratio, c.Ramp, c.Epochs, c.Retrain = 0.8, 0.6, 3, 1 }),
		"imp rewind":    weightRun(t, "imp", Structure{}, 1, nil),
		"imp":           weightRun(t, "imp", Structure{}, -1, func(c *Config) { c.Epochs = 1 }),
		"hydra rewind":  weightRun(t, "hydra", Structure{}, 1, func(c *Config) { c.Retrain = 1 }),
		"omp":           weightRun(t, "omp", Structure{}, -1, nil),
		"snip":          weightRun(t, "snip", Structure{}, 0, func(c *Config) { c.Retrain = 1 }),
		"grasp":         weightRun(t, "grasp", Structure{}, -1, nil),
		"synflow":       weightRun(t, "synflow", Structure{}, -1, func(c *Config) { c.BothBatches = true }),
		"random":        weightRun(t, "random", Structure{}, -1, nil),
		"distilled": weightRun(t, "bip", Structure{}, -1, func(c *Config) {
			c.LabelShare, c.Loss, c.EvalLoss = 0.5, engine.Distillation{Temperature: 4, LabelWeight: 0.5}, engine.CrossEntropy{}
		}),
		"filter":            unitRun(t, KindFilter, 1, -1, nil),
		"filter one-shot":   unitRun(t, KindFilter, 0, -1, nil),
		"filter omp rewind": unitRun(t, KindFilter, 0, 2, func(s *Structured) { s.Config.Retrain = 1 }),
		"filter masked":     unitRun(t, KindFilter, 3, -1, nil),
		"filter taylor":     unitRun(t, KindFilter, 1, -1, func(s *Structured) { s.Importance = importances["taylor"] }),
		"channel":           unitRun(t, KindChannel, 1, -1, func(s *Structured) { s.Config.BothBatches = true }),
		"filter hydra":      unitRun(t, KindFilter, 2, 1, func(s *Structured) { s.Frozen, s.Config.Retrain = true, 1 }),
		"filter retrain":    unitRun(t, KindFilter, 3, 0, func(s *Structured) { s.Config.Retrain = 1 }),
		"filter imp":        unitRun(t, KindFilter, 0, -1, func(s *Structured) { s.Rounds, s.Config.Epochs = true, 1 }),
		"filter imp rewind": unitRun(t, KindFilter, 0, 1, func(s *Structured) {
			s.Rounds, s.Config.Epochs, s.Config.Retrain, s.Importance = true, 1, 1, importances["taylor"]
		}),
		"channel imp":      unitRun(t, KindChannel, 0, -1, func(s *Structured) { s.Rounds, s.Config.Epochs, s.Val = true, 2, nil }),
		"filter diverging": unitRun(t, KindFilter, 1, -1, func(s *Structured) { s.Config.LR, s.Config.Retries = 150, 3 }),
	}
	for name, run := range runs {
		t.Run(name, func(t *testing.T) {
			var all []*checkpoint.State
			whole := &Journal{Steps: 1, Epochs: true, Write: func(s *checkpoint.State) error {
				all = append(all, file(t, s))
				return nil
			}}
			history, values, err := run(whole)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(whole.Divergences()) > 0; got != strings.Contains(name, "diverging") {
				t.Fatalf("divergences: %v", whole.Divergences())
			}
			alone, same, err := run(nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(sameHistory(history, alone), sameValues(values, same)); err != nil {
				t.Fatalf("with checkpoints and without: %v", err)
			}
			rng := rand.New(rand.NewPCG(1, uint64(len(all))))
			picks := []int{0, len(all) - 1}
			for range 2 {
				picks = append(picks, rng.IntN(len(all)))
			}
			for _, k := range picks {
				var again []*checkpoint.State
				j := &Journal{Steps: 1, Epochs: true, Write: func(s *checkpoint.State) error {
					again = append(again, file(t, s))
					return nil
				}}
				if err := j.GoOn(all[k]); err != nil {
					t.Fatal(err)
				}
				h, v, err := run(j)
				if err != nil {
					t.Fatalf("from %d of %d: %v", k, len(all), err)
				}
				if err := errors.Join(sameHistory(h, history), sameValues(v, values)); err != nil {
					t.Errorf("from %d of %d (%s): %v", k, len(all), all[k].Position, err)
				}
				if !slices.Equal(j.Divergences(), whole.Divergences()) {
					t.Errorf("from %d of %d: divergences %v, want %v", k, len(all), j.Divergences(), whole.Divergences())
				}
				if want := len(all) - 1 - k; len(again) != want {
					t.Errorf("from %d of %d: %d checkpoints were written, want %d", k, len(all), len(again), want)
				}
			}
		})
	}
}
