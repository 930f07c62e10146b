package prune

import (
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
	"github.com/onnxprune/onnxprune/onnxio"
)

// stripes writes n images of 1×8×8 with a bright row, its number the label.
func stripes(t *testing.T, n int, seed uint64) *data.Dataset {
	t.Helper()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(seed, 2))
	x := make([]float32, n*64)
	labels := make([]int64, n)
	for i := range labels {
		labels[i] = int64(rng.IntN(4))
		for j := 0; j < 64; j++ {
			v := rng.NormFloat64() * 0.4
			if j/16 == int(labels[i]) {
				v += 0.7
			}
			x[i*64+j] = float32(v)
		}
	}
	writeShards(t, dir, "input", []int{1, 8, 8}, x)
	writeShards(t, dir, "label", nil, labels)
	d, err := data.Open(dir, []data.InputSpec{{Name: "x", Shape: []int{1, 8, 8}}}, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func writeShards[T data.Element](t *testing.T, dir, name string, shape []int, v []T) {
	t.Helper()
	w, err := data.NewWriter[T](dir, name, shape, 200)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(v); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func stripeNet(t *testing.T) *graph.Graph {
	t.Helper()
	b := onnxtest.New(13, 3)
	x := b.Input("x", -1, 1, 8, 8)
	y := b.ConvBlock(x, "a", 1, 8, 3, 1)
	y = b.ConvBlock(y, "b", 8, 8, 3, 2)
	y = b.Node("Flatten", "flat", []string{y})
	b.Node("Gemm", "logits", []string{y, b.Weight("fc.weight", 0.6, 4, 128), b.Weight("fc.bias", 0.1, 4)}, "transB", 1)
	b.Output("logits", -1, 4)
	g, err := graph.New(b.Model(t), "stripes.onnx")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func trainer(t *testing.T, g *graph.Graph, threads int, c Config) *Trainer {
	t.Helper()
	state := engine.NewState(g)
	m, err := NewMasks(g, state, nil)
	if err != nil {
		t.Fatal(err)
	}
	pool := kernel.NewPool(threads)
	t.Cleanup(pool.Close)
	if c.Loss == nil {
		c.Loss = engine.CrossEntropy{}
	}
	c.Augment = data.AugmentNone
	tr := &Trainer{Graph: g, State: state, Masks: m, Train: stripes(t, 600, 1), Val: stripes(t, 200, 2), Pool: pool, Config: c}
	if err := tr.Prepare(); err != nil {
		t.Fatal(err)
	}
	return tr
}

func config() Config {
	return Config{Ratio: 0.8, Epochs: 3, Batch: 50, LR: 0.05, MaskLR: 0.1, Gamma: 1, WeightDecay: 5e-4, Momentum: 0.9, Seed: 7}
}

func TestBiPLearns(t *testing.T) {
	g := stripeNet(t)
	tr := trainer(t, g, 2, config())
	if err := NewBiP(tr).Run(); err != nil {
		t.Fatal(err)
	}
	first, last := tr.History[0].Val, tr.History[len(tr.History)-1].Val
	if !(last.Top1 > 0.9) || !(last.Top1 > first.Top1+0.2) {
		t.Errorf("top-1 went from %.3f to %.3f", first.Top1, last.Top1)
	}
	best, err := tr.Best()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range tr.History {
		if e.Val.better(tr.History[best].Val) {
			t.Errorf("epoch %d is better than the exported %d", e.Epoch, best)
		}
	}
	again, err := tr.Evaluate(tr.Val)
	if err != nil {
		t.Fatal(err)
	}
	if again.Top1 != tr.History[best].Val.Top1 || again.Loss != tr.History[best].Val.Loss {
		t.Errorf("the restored epoch scores %v, it scored %v", again, tr.History[best].Val)
	}
	moved := 0.0
	for _, e := range tr.History {
		moved += e.Changed
	}
	if moved == 0 {
		t.Error("the mask never changed")
	}
}

// TestMaskedStayZero follows every step of a run: the masks keep exactly k, what
// they mask is zero, keeps its θ and has no momentum.
func TestMaskedStayZero(t *testing.T) {
	g := stripeNet(t)
	c := config()
	c.Epochs = 1
	tr := trainer(t, g, 2, c)
	b := NewBiP(tr)
	keep := tr.Masks.Keep(c.Ratio)
	type spot struct{ theta []float32 }
	var before []spot
	remember := func() {
		before = before[:0]
		for _, l := range tr.Masks.Layers {
			before = append(before, spot{append([]float32(nil), l.Theta...)})
		}
	}
	masks := func() (m [][]float32) {
		for _, l := range tr.Masks.Layers {
			m = append(m, append([]float32(nil), l.Mask...))
		}
		return m
	}
	remember()
	old := masks()
	steps := 0
	tr.Progress.Step = func(int, int, int, float64) {
		steps++
		kept := 0
		for i, l := range tr.Masks.Layers {
			for j, m := range l.Mask {
				kept += int(m)
				if m == 0 && math.Float32bits(l.Z[j]) != 0 {
					t.Fatalf("step %d: %s[%d] is masked and %v", steps, l.Name, j, l.Z[j])
				}
				if m == 1 && l.Z[j] != l.Theta[j] {
					t.Fatalf("step %d: %s[%d] is kept and differs from θ", steps, l.Name, j)
				}
				if old[i][j] == 0 && (l.Theta[j] != before[i].theta[j] || tr.sgd.momenta[l.Name][j] != 0) {
					t.Fatalf("step %d: %s[%d] was masked in the lower step and moved", steps, l.Name, j)
				}
			}
		}
		if kept != keep {
			t.Fatalf("step %d keeps %d weights, want %d", steps, kept, keep)
		}
		remember()
		old = masks()
	}
	if err := b.Run(); err != nil {
		t.Fatal(err)
	}
	if steps != 12 {
		t.Errorf("%d steps, want 12", steps)
	}
}

func TestSameBitsAtAnyThreads(t *testing.T) {
	var first *Trainer
	for _, threads := range []int{1, 2, 3, 8} {
		c := config()
		c.Epochs = 1
		tr := trainer(t, stripeNet(t), threads, c)
		if err := NewBiP(tr).Run(); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = tr
			continue
		}
		for _, name := range tr.State.Names() {
			a, b := first.State.Tensor(name).F, tr.State.Tensor(name).F
			for i := range a {
				if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
					t.Fatalf("%s[%d] is %v at 1 thread and %v at %d", name, i, a[i], b[i], threads)
				}
			}
		}
	}
}

func TestRetrainKeepsTheMask(t *testing.T) {
	tr := trainer(t, stripeNet(t), 2, config())
	OMP(tr.Masks, Structure{}, 0.5, tr.Pool)
	var before [][]float32
	for _, l := range tr.Masks.Layers {
		before = append(before, append([]float32(nil), l.Mask...))
	}
	if err := tr.Retrain(); err != nil {
		t.Fatal(err)
	}
	for i, l := range tr.Masks.Layers {
		for j, m := range l.Mask {
			if m != before[i][j] || m == 0 && l.Z[j] != 0 {
				t.Fatalf("%s[%d]: mask %v was %v, z %v", l.Name, j, m, before[i][j], l.Z[j])
			}
		}
	}
	if s := tr.History[len(tr.History)-1].Val; !(s.Top1 > 0.9) {
		t.Errorf("top-1 after retraining is %.3f", s.Top1)
	}
}

func TestDivergenceNamesTheStep(t *testing.T) {
	c := config()
	c.LR = 1e30
	tr := trainer(t, stripeNet(t), 2, c)
	err := NewBiP(tr).Run()
	if err == nil || !strings.Contains(err.Error(), "the loss became") || !strings.Contains(err.Error(), "of epoch 1") || !strings.Contains(err.Error(), "hint: try a smaller --lr") {
		t.Errorf("error is %v", err)
	}
}

// TestLossOfTheMaskIsNoDivergence: where the ratio rises, losses come from near 0 to that of the final mask without any
// divergence, as those of a detector did whose outputs hardly vary. Once it is reached, losses are compared with those before.
func TestLossOfTheMaskIsNoDivergence(t *testing.T) {
	for _, c := range []struct {
		times  float64
		rising bool
		fails  bool
	}{{0.9 * explosion, true, false}, {1.1 * explosion, true, true}, {0.9 * explosion, false, true}} {
		tr := trainer(t, stripeNet(t), 2, config())
		tr.Val = nil
		fc := tr.State.Tensor("fc.weight").F
		for i := range fc {
			fc[i] *= 100
		}
		OMP(tr.Masks, Structure{}, 0.5, tr.Pool)
		before := tr.State.Snapshot()
		if err := tr.measureGoal(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(tr.State.Tensor("fc.weight").F, before.Floats("fc.weight")) || tr.batches != 0 {
			t.Error("measuring the loss of the mask is no step, and left a trace")
		}
		goal := float64(tr.Journal.at.Goal)
		if goal < 2 {
			t.Fatalf("the loss of the mask is %v", goal)
		}
		ratio := 0.5
		if c.rising {
			ratio = 0.4
		}
		tr.arrives(ratio, 0.5)
		step := 0
		_, err := tr.epoch(1, func(*data.Batch) (float64, error) {
			step++
			if step > 1 {
				return c.times * goal, nil
			}
			return 1e-3, nil
		})
		if (err != nil) != c.fails {
			t.Errorf("%v times the loss of the mask, rising %v: error %v", c.times, c.rising, err)
		}
	}
}

func TestOMPIsExactMagnitude(t *testing.T) {
	for _, ratio := range []float64{0, 0.001, 0.5, 0.8, 0.999} {
		g := stripeNet(t)
		state := engine.NewState(g)
		m, err := NewMasks(g, state, nil)
		if err != nil {
			t.Fatal(err)
		}
		pool := kernel.NewPool(2)
		defer pool.Close()
		OMP(m, Structure{}, ratio, pool)
		want := int(math.Round(ratio * float64(m.Total())))
		if m.Zeros() != want {
			t.Errorf("ratio %v: %d of %d masked, want %d", ratio, m.Zeros(), m.Total(), want)
		}
		smallest, largest := math.Inf(1), 0.0
		for _, l := range m.Layers {
			for i, k := range l.Mask {
				a := math.Abs(float64(l.Theta[i]))
				if k == 1 {
					smallest = min(smallest, a)
				} else {
					largest = max(largest, a)
				}
			}
		}
		if largest > smallest {
			t.Errorf("ratio %v: a weight of %v is masked, one of %v kept", ratio, largest, smallest)
		}
	}
}

func TestExclude(t *testing.T) {
	g := stripeNet(t)
	state := engine.NewState(g)
	m, err := NewMasks(g, state, []*regexp.Regexp{regexp.MustCompile(`^fc\.`), regexp.MustCompile(`a\.conv`)})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Layers) != 1 || m.Layers[0].Name != "b.weight" || len(m.Excluded) != 2 {
		t.Errorf("layers %v, excluded %v", m.Layers, m.Excluded)
	}
	_, err = NewMasks(g, state, []*regexp.Regexp{regexp.MustCompile(`.`)})
	if err == nil || !strings.Contains(err.Error(), "--exclude matches all 3 weights") {
		t.Errorf("error is %v", err)
	}
}

func TestCheckRatio(t *testing.T) {
	for _, r := range []float64{0, 0.5, 0.9999} {
		if err := CheckRatio(r); err != nil {
			t.Errorf("%v: %v", r, err)
		}
	}
	for _, r := range []float64{-0.1, 1, 1.5, math.NaN(), math.Inf(1)} {
		if CheckRatio(r) == nil {
			t.Errorf("%v is accepted", r)
		}
	}
}

// TestExcludedKeepsItsMask: a weight that the file masks and --exclude leaves out
// is trained under its mask, and the mask is written again.
func TestExcludedKeepsItsMask(t *testing.T) {
	g := stripeNet(t)
	keep := make([]bool, g.Value("b.weight").Init.Size())
	for i := range keep {
		keep[i] = i%4 != 0
	}
	if err := g.WriteMasks(map[string][]bool{"b.weight": keep}, graph.AsNode); err != nil {
		t.Fatal(err)
	}
	m, err := onnxio.LoadBytes("masked.onnx", g.File.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if g, err = graph.New(m, "masked.onnx"); err != nil {
		t.Fatal(err)
	}
	state := engine.NewState(g)
	masks, err := NewMasks(g, state, []*regexp.Regexp{regexp.MustCompile("^b")})
	if err != nil {
		t.Fatal(err)
	}
	tr := trainer(t, g, 2, config())
	tr.State, tr.Masks = state, masks
	if err := tr.Prepare(); err != nil {
		t.Fatal(err)
	}
	OMP(masks, Structure{}, 0.5, tr.Pool)
	if err := tr.Retrain(); err != nil {
		t.Fatal(err)
	}
	for i, v := range state.Tensor("b.weight").F {
		if (v == 0) == keep[i] {
			t.Fatalf("element %d is %v, the file's mask keeps it: %v", i, v, keep[i])
		}
	}
	if got := masks.Bools()["b.weight"]; got == nil || got[0] || !got[1] {
		t.Errorf("the mask to write is %v", got)
	}
}

// TestEvalBatchOfBoundModel: a model whose Reshape mixes the batch with other axes runs
// at the file's own batch only, and is evaluated there.
func TestEvalBatchOfBoundModel(t *testing.T) {
	b := onnxtest.New(13, 3)
	x := b.Input("x", 4, 6)
	x = b.Node("Transpose", "t", []string{x}, "perm", []int64{1, 0})
	x = b.Node("Reshape", "r", []string{x, b.Ints("s", 8, 3)})
	b.Node("Gemm", "y", []string{x, b.Weight("w", 1, 3, 2)})
	b.Output("y", 8, 2)
	bound, err := graph.New(b.Model(t), "bound.onnx")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bound.FreeBatch(nil); err == nil {
		t.Fatal("the model is not bound to its batch")
	}
	if got := EvalBatch(bound, nil, 1000); got != 4 {
		t.Errorf("batch is %d, want the file's 4", got)
	}
	if got := EvalBatch(stripeNet(t), nil, 1000); got != 200 {
		t.Errorf("batch is %d, want 200", got)
	}
}
