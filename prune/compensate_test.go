package prune

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/internal/onnxtest"
)

// constantNet has two channels of six that are constants behind a BatchNormalization of
// scale 0, read by a Conv with bias, or by one with a BatchNormalization behind it.
func constantNet(t *testing.T, bias bool) *graph.Graph {
	t.Helper()
	b := onnxtest.New(13, 7)
	x := b.Input("x", -1, 3, 5, 5)
	x = b.Node("Conv", "a", []string{x, b.Weight("a.weight", 0.5, 6, 3, 1, 1)})
	x = b.Node("BatchNormalization", "norm", []string{x, b.Floats("scale", []float32{1, 0, 0.7, 1.2, 0, 0.9}, 6), b.Floats("shift", []float32{0.1, 0.8, -0.2, 0.3, -0.4, 0}, 6),
		b.Uniform("mean", -0.5, 0.5, 6), b.Uniform("var", 0.5, 1.5, 6)})
	x = b.Node("LeakyRelu", "act", []string{x}, "alpha", float32(0.1))
	in := []string{x, b.Weight("b.weight", 0.5, 4, 6, 1, 1)}
	if bias {
		in = append(in, b.Weight("b.bias", 0.5, 4))
	}
	x = b.Node("Conv", "b", in)
	if !bias {
		x = b.Norm(x, "behind", 4)
	}
	b.Node("Relu", "y", []string{x})
	b.Output("y", -1, 4, 5, 5)
	g, err := graph.New(b.Model(t), "constant.onnx")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// outputs runs a model on normal numbers.
func outputs(t *testing.T, g *graph.Graph, state *engine.State) []float32 {
	t.Helper()
	p, err := engine.Compile(g, state, engine.Options{Batch: 3})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range p.Inputs[0].F {
		p.Inputs[0].F[i] = float32(rng.NormFloat64())
	}
	if err := p.Forward(); err != nil {
		t.Fatal(err)
	}
	return append([]float32(nil), p.Outputs[0].F...)
}

// TestConstantChannelsAreFolded: a channel that is a constant is replaced exactly.
func TestConstantChannelsAreFolded(t *testing.T) {
	for _, bias := range []bool{true, false} {
		g := constantNet(t, bias)
		state := engine.NewState(g)
		before := outputs(t, g, state)
		u := unitsOf(t, g, state, Structure{Kind: KindFilter}, Limits{})
		importance, err := FindImportance("bn")
		if err != nil {
			t.Fatal(err)
		}
		pool := kernel.NewPool(1)
		defer pool.Close()
		if _, err := u.Choose(Goal{Of: OfParams, Ratio: 0.25}, u.Scores(importance, &Scoring{Graph: g, Pool: pool})); err != nil {
			t.Fatal(err)
		}
		gone := 0
		for i, removed := range u.Removed() {
			for k, out := range removed {
				if out {
					gone++
					if u.Groups.Groups[i].Name != "a.weight" || k != 1 && k != 4 {
						t.Errorf("unit %d of %s goes, its scale is not 0", k, u.Groups.Groups[i].Name)
					}
				}
			}
		}
		if gone != 2 {
			t.Fatalf("%d units go, want the two constants", gone)
		}
		fixed := u.Compensate(g, state)
		if bias && (len(fixed.Biases) != 1 || fixed.Biases[0] != "b.bias") || !bias && (len(fixed.Norms) != 2 || fixed.Norms[0] != "behind.bn.running_mean") {
			t.Errorf("corrected %+v", fixed)
		}
		u.Refresh()
		after := outputs(t, g, state)
		for i := range before {
			if math.Abs(float64(before[i]-after[i])) > 1e-5 {
				t.Fatalf("bias %v: output %d was %v and is %v", bias, i, before[i], after[i])
			}
		}
	}
}

// TestChannelMoments compares what is derived with what a network computes on normal
// inputs of a BatchNormalization that has the right statistics.
func TestChannelMoments(t *testing.T) {
	b := onnxtest.New(13, 8)
	x := b.Input("x", -1, 4, 9, 9)
	n := b.Node("BatchNormalization", "n", []string{x, b.Uniform("scale", 0.5, 1.5, 4), b.Uniform("shift", -1, 1, 4), b.Floats("mean", make([]float32, 4), 4), b.Floats("var", []float32{1, 1, 1, 1}, 4)})
	r := b.Node("Relu", "r", []string{n})
	c := b.Node("Clip", "c", []string{n, b.Floats("lo", []float32{-0.5}), b.Floats("hi", []float32{1.5})})
	p := b.Node("GlobalAveragePool", "p", []string{b.Node("Add", "sum", []string{r, c})})
	b.Node("Flatten", "y", []string{p})
	b.Output("y", -1, 4)
	g, err := graph.New(b.Model(t), "moments.onnx")
	if err != nil {
		t.Fatal(err)
	}
	state := engine.NewState(g)
	shapes, err := g.Infer(graph.Binding{Batch: 2})
	if err != nil {
		t.Fatal(err)
	}
	got := channelMoments(g, shapes, state)
	plan, err := engine.Compile(g, state, engine.Options{Batch: 400})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 4))
	for i := range plan.Inputs[0].F {
		plan.Inputs[0].F[i] = float32(rng.NormFloat64())
	}
	if err := plan.Forward(); err != nil {
		t.Fatal(err)
	}
	scale, shift := state.Tensor("scale").F, state.Tensor("shift").F
	for ch := range 4 {
		relu := got[g.Value("r")]
		// The rectified normal in closed form.
		m, s := float64(shift[ch]), float64(scale[ch])
		phi, cdf := math.Exp(-m*m/(2*s*s))/math.Sqrt(2*math.Pi), 0.5*math.Erfc(-m/s/math.Sqrt2)
		mean := m*cdf + s*phi
		variance := (m*m+s*s)*cdf + m*s*phi - mean*mean
		if math.Abs(relu.mean[ch]-mean) > 1e-3 || math.Abs(relu.variance[ch]-variance) > 2e-3 {
			t.Errorf("Relu channel %d: mean %v, variance %v, exact %v, %v", ch, relu.mean[ch], relu.variance[ch], mean, variance)
		}
		real := 0.0
		for i := range 400 {
			real += float64(plan.Outputs[0].F[i*4+ch]) / 400
		}
		if y := got[g.Value("y")]; math.Abs(y.mean[ch]-real) > 0.02 {
			t.Errorf("output %d: mean %v, derived %v", ch, real, y.mean[ch])
		}
	}
	if _, known := got[g.Value("x")]; known {
		t.Error("the input has moments")
	}
}
