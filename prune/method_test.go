package prune

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/internal/onnxtest"
)

// tanhNet is the network of smallNetwork with its 12 samples as one batch, and the
// weights z of both layers, rounded to float32.
func tanhNet(t *testing.T, threads int, c Config) (tr *Trainer, l problem, z []float64) {
	t.Helper()
	l, size := smallNetwork()
	rng := rand.New(rand.NewPCG(2, 3))
	x, labels := make([]float32, 12*3), make([]int64, 12)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	for i := range labels {
		labels[i] = int64(rng.IntN(3))
	}
	b := onnxtest.New(13, 21)
	in := b.Input("x", -1, 3)
	h := b.Node("Gemm", "a", []string{in, b.Weight("a.weight", 1, 4, 3)}, "transB", 1)
	h = b.Node("Tanh", "h", []string{h})
	b.Node("Gemm", "y", []string{h, b.Weight("b.weight", 1, 3, 4)}, "transB", 1)
	b.Output("y", -1, 3)
	g, err := graph.New(b.Model(t), "tanh.onnx")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeShards(t, dir, "input", []int{3}, x)
	writeShards(t, dir, "label", nil, labels)
	d, err := data.Open(dir, []data.InputSpec{{Name: "x", Shape: []int{3}}}, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	pool := kernel.NewPool(threads)
	t.Cleanup(pool.Close)
	c.Batch, c.Loss, c.Augment = 12, engine.CrossEntropy{}, data.AugmentNone
	tr = &Trainer{Graph: g, State: engine.NewState(g), Train: d, Pool: pool, Config: c}
	if tr.Masks, err = NewMasks(g, tr.State, nil); err != nil {
		t.Fatal(err)
	}
	if err := tr.Prepare(); err != nil {
		t.Fatal(err)
	}
	for _, layer := range tr.Masks.Layers {
		for _, v := range layer.Theta {
			z = append(z, float64(v))
		}
	}
	if len(z) != size {
		t.Fatalf("%d weights, want %d", len(z), size)
	}
	return tr, l, z
}

func method(t *testing.T, name string) Method {
	t.Helper()
	m, err := FindMethod(name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// flat joins scores of layers; near compares them with want, up to a common factor
// where scaled is set.
func flat(scores [][]float32) (out []float64) {
	for _, s := range scores {
		for _, v := range s {
			out = append(out, float64(v))
		}
	}
	return out
}

func near(t *testing.T, got, want []float64, tolerance float64, scaled bool) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d scores, want %d", len(got), len(want))
	}
	factor, largest := 1.0, 0.0
	if scaled {
		var a, b float64
		for i := range got {
			a, b = a+got[i]*want[i], b+got[i]*got[i]
		}
		factor = a / b
	}
	for _, v := range want {
		largest = max(largest, math.Abs(v))
	}
	for i := range got {
		if d := math.Abs(got[i]*factor - want[i]); !(d <= tolerance*largest) {
			t.Errorf("score %d is %g, want %g", i, got[i]*factor, want[i])
		}
	}
}

// TestScores compares the scores of all methods that have some with naive ones in
// double precision.
func TestScores(t *testing.T) {
	// pathSums is SynFlow without its network: two layers, 3 to 4 to 3.
	pathSums := func(z []float64) []float64 {
		out := make([]float64, len(z))
		for i := range 3 {
			for j := range 4 {
				for k := range 3 {
					path := math.Abs(z[12+i*4+j] * z[j*3+k])
					out[12+i*4+j] += path
					out[j*3+k] += path
				}
			}
		}
		return out
	}
	for _, c := range []struct {
		method    string
		want      func(l problem, z []float64) []float64
		tolerance float64
		scaled    bool
	}{
		{"omp", func(_ problem, z []float64) []float64 {
			out := make([]float64, len(z))
			for i, v := range z {
				out[i] = math.Abs(v)
			}
			return out
		}, 0, false},
		{"snip", func(l problem, z []float64) []float64 {
			_, g := l(z)
			for i := range g {
				g[i] = math.Abs(g[i] * z[i])
			}
			return g
		}, 1e-5, false},
		{"grasp", func(l problem, z []float64) []float64 {
			// Hessian by columns, then times the gradient.
			const h = 1e-5
			_, g := l(z)
			out := make([]float64, len(z))
			for j := range z {
				p := slices.Clone(z)
				p[j] = z[j] + h
				_, up := l(p)
				p[j] = z[j] - h
				_, down := l(p)
				for i := range z {
					out[i] += z[i] * (up[i] - down[i]) / (2 * h) * g[j]
				}
			}
			return out
		}, 2e-3, false},
		{"synflow", func(_ problem, z []float64) []float64 { return pathSums(z) }, 1e-5, true},
	} {
		t.Run(c.method, func(t *testing.T) {
			var first []float64
			for _, threads := range []int{1, 3} {
				config := config()
				config.Ratio = 0
				tr, l, z := tanhNet(t, threads, config)
				before := tr.State.Snapshot()
				scores, err := method(t, c.method).Score(tr.Saliency())
				if err != nil {
					t.Fatal(err)
				}
				got := flat(scores)
				near(t, got, c.want(l, z), c.tolerance, c.scaled)
				if first == nil {
					first = got
				} else if !slices.Equal(first, got) {
					t.Errorf("scores differ between 1 and %d threads", threads)
				}
				after := tr.State.Snapshot()
				tr.State.Restore(before)
				for i, v := range tr.Masks.Layers {
					for k := range v.Z {
						if v.Z[k] != v.Theta[k] || tr.State.Tensor(v.Name).F[k] != v.Z[k] {
							t.Fatalf("layer %d element %d moved", i, k)
						}
					}
				}
				tr.State.Restore(after)
			}
		})
	}
}

// TestGradientsLeaveStatistics: BatchNormalization's running statistics are after the
// scores what they were before.
func TestGradientsLeaveStatistics(t *testing.T) {
	for _, name := range []string{"snip", "grasp"} {
		tr := trainer(t, stripeNet(t), 2, config())
		want := engine.NewState(tr.Graph)
		if _, err := method(t, name).Score(tr.Saliency()); err != nil {
			t.Fatal(err)
		}
		for _, n := range want.Names() {
			if !slices.Equal(want.Tensor(n).F, tr.State.Tensor(n).F) {
				t.Errorf("%s: %s has moved", name, n)
			}
		}
	}
}

// TestSynFlowConserves: what flows through every layer of a chain is the same, R, with
// biases and normalisations in between (theorem 1 of the paper).
func TestSynFlowConserves(t *testing.T) {
	c := config()
	c.Ratio = 0
	tr := trainer(t, stripeNet(t), 2, c)
	scores, err := synflow(tr.Saliency())
	if err != nil {
		t.Fatal(err)
	}
	var sums []float64
	for _, s := range scores {
		sum := 0.0
		for _, v := range s {
			sum += float64(v)
		}
		sums = append(sums, sum)
	}
	for i, s := range sums {
		if !(s > 0) || math.Abs(s/sums[0]-1) > 1e-5 {
			t.Errorf("the flow through %s is %g, through the first layer %g", tr.Masks.Layers[i].Name, s, sums[0])
		}
	}
}

// TestSynFlowRounds follows all rounds in double precision.
func TestSynFlowRounds(t *testing.T) {
	c := config()
	c.Ratio = 0.7
	tr, _, z := tanhNet(t, 2, c)
	if err := tr.Saliency().Prune(method(t, "synflow")); err != nil {
		t.Fatal(err)
	}
	kept := make([]bool, len(z))
	for i := range kept {
		kept[i] = true
	}
	for round := 1; round <= 100; round++ {
		scores := make([]float64, len(z))
		for i := range 3 {
			for j := range 4 {
				for k := range 3 {
					a, b := 12+i*4+j, j*3+k
					if kept[a] && kept[b] {
						path := math.Abs(z[a] * z[b])
						scores[a] += path
						scores[b] += path
					}
				}
			}
		}
		order := make([]int, len(z))
		for i := range order {
			order[i] = i
			if !kept[i] {
				scores[i] = -1
			}
		}
		slices.SortStableFunc(order, func(a, b int) int {
			switch {
			case scores[a] > scores[b]:
				return -1
			case scores[a] < scores[b]:
				return 1
			}
			return 0
		})
		keep := len(z) - int(math.Round((1-math.Pow(0.3, float64(round)/100))*float64(len(z))))
		for rank, i := range order {
			kept[i] = rank < keep
		}
	}
	i := 0
	for _, l := range tr.Masks.Layers {
		for k, m := range l.Mask {
			if (m == 1) != kept[i] {
				t.Errorf("%s[%d]: mask %v, in double precision kept: %v", l.Name, k, m, kept[i])
			}
			i++
		}
	}
}

// TestSynFlowRange: a deep network whose sums leave float32 for an input of ones is
// scored all the same; one that leaves it for any input is an error.
func TestSynFlowRange(t *testing.T) {
	build := func(weight float32, layers int) *Saliency {
		b := onnxtest.New(13, 1)
		x := b.Input("x", -1, 2)
		for i := range layers {
			name := "l" + string(rune('a'+i))
			x = b.Node("Gemm", name, []string{x, b.Floats(name+".weight", []float32{weight, weight / 2, -weight / 4, weight}, 2, 2)}, "transB", 1)
		}
		b.Proto.Graph.Output = nil
		b.Output(x, -1, 2)
		g, err := graph.New(b.Model(t), "deep.onnx")
		if err != nil {
			t.Fatal(err)
		}
		masks, err := NewMasks(g, engine.NewState(g), nil)
		if err != nil {
			t.Fatal(err)
		}
		pool := kernel.NewPool(1)
		t.Cleanup(pool.Close)
		return &Saliency{Graph: g, Masks: masks, Ratio: 0.5, Pool: pool}
	}
	s := build(1e5, 9)
	if err := s.Prune(method(t, "synflow")); err != nil {
		t.Fatal(err)
	}
	if got, want := s.Masks.Zeros(), 18; got != want {
		t.Errorf("%d weights are masked, want %d", got, want)
	}
	for _, l := range s.Masks.Layers {
		if slices.Max(l.Mask) == 0 {
			t.Errorf("%s has lost all its weights", l.Name)
		}
	}
	err := build(1e15, 9).Prune(method(t, "synflow"))
	if err == nil || !strings.Contains(err.Error(), "deep.onnx: synflow: ") || !strings.Contains(err.Error(), "the range of float32") {
		t.Errorf("error is %v", err)
	}
}

// TestHydraStep: one step moves scores from |θ| by −β·θ⊙g, g taken under the mask of
// the largest |θ|, and leaves weights alone.
func TestHydraStep(t *testing.T) {
	c := config()
	c.Ratio, c.Epochs, c.MaskLR = 0.5, 1, 2
	tr, l, z := tanhNet(t, 1, c)
	top := func(s []float64) []float64 {
		sorted := slices.Clone(s)
		slices.Sort(sorted)
		m := make([]float64, len(s))
		for i, v := range s {
			if v >= sorted[len(s)/2] {
				m[i] = 1
			}
		}
		return m
	}
	scores := make([]float64, len(z))
	for i, v := range z {
		scores[i] = math.Abs(v)
	}
	first := top(scores)
	_, g := l(masked(first, z))
	for i := range scores {
		scores[i] -= 2 * z[i] * g[i]
	}
	want := top(scores)
	if slices.Equal(first, want) {
		t.Fatal("the step moves no weight in or out, the test shows nothing")
	}
	if err := tr.Run(method(t, "hydra")); err != nil {
		t.Fatal(err)
	}
	i := 0
	for _, l := range tr.Masks.Layers {
		for k, m := range l.Mask {
			if float64(m) != want[i] {
				t.Errorf("%s[%d]: mask %v, want %v", l.Name, k, m, want[i])
			}
			if float64(l.Theta[k]) != z[i] {
				t.Errorf("%s[%d]: the frozen weight went from %v to %v", l.Name, k, z[i], l.Theta[k])
			}
			i++
		}
	}
}

// TestIMPRounds: the ratios are those of fifths, masks only shrink, and the exported
// epoch is epoch 0 or one of the last round.
func TestIMPRounds(t *testing.T) {
	c := config()
	c.Ratio, c.Epochs = 0.6, 2
	want := []float64{0.2, 0.36, 0.488, 0.5904, 0.6}
	for i, r := range impRatios(&c) {
		if math.Abs(r-want[i]) > 1e-12 {
			t.Errorf("round %d has ratio %v, want %v", i+1, r, want[i])
		}
	}
	if got := method(t, "imp").Total(&c); got != 10 {
		t.Errorf("%d epochs, want 10", got)
	}
	for _, exact := range []struct {
		ratio  float64
		rounds int
	}{{0, 1}, {0.1, 1}, {0.2, 1}, {0.36, 2}, {0.488, 3}, {0.5, 4}, {0.95, 14}} {
		c := c
		c.Ratio = exact.ratio
		if got := len(impRatios(&c)); got != exact.rounds {
			t.Errorf("ratio %v takes %d rounds, want %d", exact.ratio, got, exact.rounds)
		}
	}
	tr := trainer(t, stripeNet(t), 2, c)
	var last [][]float32
	steps := 0
	tr.Progress.Step = func(int, int, int, float64) {
		if steps%(c.Epochs*tr.steps) == 0 {
			kept, round := 0, steps/(c.Epochs*tr.steps)
			for i, l := range tr.Masks.Layers {
				for k, m := range l.Mask {
					kept += int(m)
					if last != nil && last[i][k] == 0 && m != 0 {
						t.Fatalf("round %d: %s[%d] came back", round+1, l.Name, k)
					}
				}
			}
			if kept != tr.Masks.Keep(want[round]) {
				t.Errorf("round %d keeps %d weights, want %d", round+1, kept, tr.Masks.Keep(want[round]))
			}
			last = nil
			for _, l := range tr.Masks.Layers {
				last = append(last, slices.Clone(l.Mask))
			}
		}
		steps++
	}
	if err := tr.Run(method(t, "imp")); err != nil {
		t.Fatal(err)
	}
	if n := 10 * tr.steps; steps != n || len(tr.History) != 11 || tr.History[10].Epoch != 10 {
		t.Errorf("%d steps and %d epochs, want %d and 10", steps, len(tr.History)-1, n)
	}
	best, err := tr.Best()
	if err != nil {
		t.Fatal(err)
	}
	if best < 9 {
		t.Errorf("epoch %d is exported, of a round before the last", best)
	}
	if got := tr.Masks.Zeros(); got != tr.Masks.Total()-tr.Masks.Keep(0.6) {
		t.Errorf("%d weights are masked", got)
	}
}

// TestRungs: a ratio on the way, whether a round serves it or a branch, ends with the
// bits and the history of a run to that ratio alone, and so does the way itself.
func TestRungs(t *testing.T) {
	c := config()
	c.Ratio, c.Epochs = 0.6, 1
	type end struct {
		weights []float32
		history []Epoch
		passes  float64
	}
	finish := func(tr *Trainer, passes float64) end {
		e := end{history: slices.Clone(tr.History), passes: passes}
		for _, name := range tr.State.Names() {
			e.weights = append(e.weights, tr.State.Tensor(name).F...)
		}
		for _, l := range tr.Masks.Layers {
			e.weights = append(append(e.weights, l.Mask...), l.Theta...)
		}
		return e
	}
	for _, rewind := range []bool{false, true} {
		prepared := func(c Config) *Trainer {
			tr := trainer(t, stripeNet(t), 2, c)
			tr.Val = tr.Train
			if rewind {
				if err := tr.RewindTo(nil, 1); err != nil {
					t.Fatal(err)
				}
				tr.batches = 0
			}
			return tr
		}
		got := map[float64]end{}
		var order []float64
		tr := prepared(c)
		tr.Rungs = &Rungs{Ratios: []float64{0.5904, 0.3, 0.2, 0.5}, Reached: func(ratio, seconds, passes float64) error {
			if !(seconds > 0) {
				t.Errorf("ratio %v took %v seconds", ratio, seconds)
			}
			order = append(order, ratio)
			got[ratio] = finish(tr, passes)
			return nil
		}}
		if err := tr.Run(method(t, "imp")); err != nil {
			t.Fatal(err)
		}
		if want := []float64{0.2, 0.3, 0.5, 0.5904, 0.6}; !slices.Equal(order, want) {
			t.Errorf("reached %v, want %v", order, want)
		}
		// 0.2 and 0.5904 are rounds, 0.3, 0.5 and 0.6 take one more each.
		if want := 4.0 + 3; tr.Passes() != want {
			t.Errorf("%v passes over the data, want %v", tr.Passes(), want)
		}
		for ratio, g := range got {
			alone := c
			alone.Ratio = ratio
			tr := prepared(alone)
			if err := tr.Run(method(t, "imp")); err != nil {
				t.Fatal(err)
			}
			if _, err := tr.Best(); err != nil {
				t.Fatal(err)
			}
			w := finish(tr, tr.Passes())
			if !slices.Equal(g.weights, w.weights) {
				t.Errorf("rewinding %v, ratio %v: weights differ from those of a run to it alone", rewind, ratio)
			}
			if g.passes != w.passes || len(g.history) != len(w.history) {
				t.Fatalf("rewinding %v, ratio %v: %v passes and %d epochs, alone %v and %d", rewind, ratio, g.passes, len(g.history), w.passes, len(w.history))
			}
			for i, e := range g.history {
				o := w.history[i]
				if e.Epoch != o.Epoch || e.TrainLoss != o.TrainLoss || e.Val.Loss != o.Val.Loss {
					t.Errorf("rewinding %v, ratio %v: epoch %d is %+v, alone %+v", rewind, ratio, i, e, o)
				}
			}
		}
	}
}

// TestRewind: at rate 0 kept weights end as what they were put back to; the second round
// of imp ranks these.
func TestRewind(t *testing.T) {
	c := config()
	c.Ratio, c.Epochs, c.LR, c.FreezeNorm = 0.36, 1, 0, true
	tr := trainer(t, stripeNet(t), 2, c)
	b := onnxtest.New(13, 77)
	x := b.Input("x", -1, 1, 8, 8)
	y := b.ConvBlock(x, "a", 1, 8, 3, 1)
	y = b.ConvBlock(y, "b", 8, 8, 3, 2)
	y = b.Node("Flatten", "flat", []string{y})
	b.Node("Gemm", "logits", []string{y, b.Weight("fc.weight", 0.6, 4, 128), b.Weight("fc.bias", 0.1, 4)}, "transB", 1)
	b.Output("logits", -1, 4)
	from, err := graph.New(b.Model(t), "early.onnx")
	if err != nil {
		t.Fatal(err)
	}
	want, own := engine.NewState(from), engine.NewState(tr.Graph)
	if err := tr.RewindTo(from, 0); err != nil {
		t.Fatal(err)
	}
	for _, l := range tr.Masks.Layers {
		if !slices.Equal(l.Theta, own.Tensor(l.Name).F) || !slices.Equal(l.Z, own.Tensor(l.Name).F) {
			t.Fatalf("%s is not as it was", l.Name)
		}
	}
	tr.Val = nil
	if err := tr.Run(method(t, "imp")); err != nil {
		t.Fatal(err)
	}
	for _, l := range tr.Masks.Layers {
		for k, z := range l.Z {
			if v := want.Tensor(l.Name).F[k] * l.Mask[k]; z != v {
				t.Fatalf("%s[%d] is %v, want %v", l.Name, k, z, v)
			}
		}
	}
	for _, name := range []string{"fc.bias", "a.var"} {
		w := want.Tensor(name)
		if w == nil {
			continue
		}
		if !slices.Equal(w.F, tr.State.Tensor(name).F) {
			t.Errorf("%s is not that of the file", name)
		}
	}
	// The first round's mask is by the model's own magnitudes, the second's by the others.
	largest, smallest := 0.0, math.Inf(1)
	round := trainer(t, stripeNet(t), 1, c)
	impRound(round, 0.2)
	for i, l := range tr.Masks.Layers {
		for k, m := range l.Mask {
			v := math.Abs(float64(want.Tensor(l.Name).F[k]))
			switch {
			case round.Masks.Layers[i].Mask[k] == 0 && m != 0:
				t.Fatalf("%s[%d] was removed in the first round and is there", l.Name, k)
			case round.Masks.Layers[i].Mask[k] != 0 && m == 0:
				largest = max(largest, v)
			case m != 0:
				smallest = min(smallest, v)
			}
		}
	}
	if largest == 0 || largest > smallest {
		t.Errorf("the second round removes a weight of %g and keeps one of %g", largest, smallest)
	}
}

// TestRewindToEpoch: the weights to go back to are those of a dense run.
func TestRewindToEpoch(t *testing.T) {
	c := config()
	dense := trainer(t, stripeNet(t), 1, c)
	for epoch := 1; epoch <= 2; epoch++ {
		if _, err := dense.epoch(epoch, dense.lower); err != nil {
			t.Fatal(err)
		}
	}
	tr := trainer(t, stripeNet(t), 3, c)
	if err := tr.RewindTo(nil, 2); err != nil {
		t.Fatal(err)
	}
	OMP(tr.Masks, Structure{}, 0.5, tr.Pool)
	tr.rewind()
	for _, l := range tr.Masks.Layers {
		if !slices.Equal(l.Theta, dense.State.Tensor(l.Name).F) {
			t.Errorf("%s is not that of the dense run", l.Name)
		}
		for k, m := range l.Mask {
			if l.Z[k] != m*l.Theta[k] {
				t.Fatalf("%s[%d] is %v under mask %v", l.Name, k, l.Z[k], m)
			}
		}
	}
	for _, e := range []int{-1, 4} {
		if err := tr.RewindTo(nil, e); err == nil || !strings.Contains(err.Error(), "wants 0 to --epochs (3)") {
			t.Errorf("--rewind %d: error is %v", e, err)
		}
	}
	err := tr.RewindTo(residualNet(t), 0)
	if err == nil || !strings.Contains(err.Error(), `initializer "a.weight" of stripes.onnx is missing`) || !strings.Contains(err.Error(), `initializer "fc.weight" is [4,8], in stripes.onnx it is [4,128]`) {
		t.Errorf("error is %v", err)
	}
}

// TestMethods runs every method: the ratio is met to one weight, masked weights are zero,
// the bits are the same at 1 and at 3 threads, and retraining adds its epochs.
func TestMethods(t *testing.T) {
	for _, name := range Methods() {
		t.Run(name, func(t *testing.T) {
			m := method(t, name)
			c := config()
			c.Ratio, c.Epochs, c.Retrain = 0.5, 1, 1
			total := m.Total(&c)
			var first *Trainer
			for _, threads := range []int{1, 3} {
				tr := trainer(t, stripeNet(t), threads, c)
				if err := tr.Run(m); err != nil {
					t.Fatal(err)
				}
				if got := tr.History[len(tr.History)-1].Epoch; got != total || len(tr.History) != total+1 {
					t.Errorf("the last epoch is %d of %d, want %d", got, len(tr.History)-1, total)
				}
				best, err := tr.Best()
				if err != nil {
					t.Fatal(err)
				}
				if got := tr.Masks.Total() - tr.Masks.Zeros(); got != tr.Masks.Keep(c.Ratio) {
					t.Errorf("%d weights are kept, want %d", got, tr.Masks.Keep(c.Ratio))
				}
				for _, l := range tr.Masks.Layers {
					for k, v := range l.Mask {
						if z := tr.State.Tensor(l.Name).F[k]; v == 0 && math.Float32bits(z) != 0 || v == 1 && z != l.Theta[k] {
							t.Fatalf("epoch %d: %s[%d] is %v under mask %v", best, l.Name, k, z, v)
						}
					}
				}
				if first == nil {
					first = tr
					continue
				}
				for _, n := range tr.State.Names() {
					if !slices.Equal(first.State.Tensor(n).F, tr.State.Tensor(n).F) {
						t.Errorf("%s differs between 1 and %d threads", n, threads)
					}
				}
			}
		})
	}
	if _, err := FindMethod("none"); err == nil || !strings.Contains(err.Error(), `--method is "none", wants one of bip, grasp, hydra,`) {
		t.Errorf("error is %v", err)
	}
}

// TestMethodsOnUnits: the scores of three filters by hand, |θ|·flow summed over what
// computes a filter and what reads it.
func TestMethodsOnUnits(t *testing.T) {
	g := threeFilters(t)
	state := engine.NewState(g)
	u := unitsOf(t, g, state, Structure{Kind: KindFilter}, Limits{})
	pool := kernel.NewPool(2)
	defer pool.Close()
	i, err := method(t, "synflow").ForUnits(u, &Saliency{Graph: g, Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	near(t, u.Scores(i, &Scoring{Graph: g, Pool: pool})[0], []float64{2 * 2 * 2, 2 * 2.5 * 1, 2 * 3 * 4}, 1e-6, true)
	if i, err = method(t, "random").ForUnits(u, &Saliency{}); err != nil || i.Name != "random" {
		t.Errorf("random ranks by %q, %v", i.Name, err)
	}
	for _, name := range Methods() {
		if err := method(t, name).CheckUnits(); err != nil {
			t.Error(err)
		}
	}
	if err := (Method{Name: "weights", Train: imp}).CheckUnits(); err == nil || err.Error() != "--method weights is for single weights, patterns and blocks" {
		t.Errorf("error is %v", err)
	}
}

// TestSNIPOnUnits sums |θ⊙g| of a batch over the elements of a unit.
func TestSNIPOnUnits(t *testing.T) {
	s, tr := structuredRun(t, residualNet(t), 2, 0, config(), KindFilter)
	i, err := method(t, "snip").ForUnits(s.Units, tr.Saliency())
	if err != nil {
		t.Fatal(err)
	}
	got := s.Units.Scores(i, &Scoring{Graph: s.Graph, Pool: s.Pool})
	g, err := tr.meanGradient()
	if err != nil {
		t.Fatal(err)
	}
	for k := range s.Units.Groups.Groups {
		grp := &s.Units.Groups.Groups[k]
		want := make([]float64, grp.Width)
		for m := range grp.Members {
			at, ok := s.Units.layerOf[grp.Members[m].Value.Name]
			if !ok || !grp.Members[m].Weight {
				continue
			}
			theta := s.Units.Masks.Layers[at].Theta
			for unit := range want {
				for lo, hi := range grp.Members[m].Elements(unit) {
					for e := lo; e < hi; e++ {
						want[unit] += math.Abs(float64(theta[e]) * float64(g[at][e]))
					}
				}
			}
		}
		near(t, got[k], want, 1e-5, false)
	}
}
