package prune

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

// folded is the glyph network with its normalisations folded away, and its test images.
func folded(t *testing.T) (*graph.Graph, *data.Dataset) {
	t.Helper()
	m, err := onnxio.Load(filepath.Join("..", "testdata", "models", "glyphs_resnet.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := graph.New(m, "glyphs_resnet.onnx")
	if err != nil {
		t.Fatal(err)
	}
	d, err := data.Open(filepath.Join("..", "testdata", "data", "glyphs", "test"), []data.InputSpec{{Name: g.Inputs[0].Name, Shape: []int{1, 16, 16}}}, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return g, d
}

// outputsOf runs the first samples of d through g with the given state.
func outputsOf(t *testing.T, g *graph.Graph, s *engine.State, d *data.Dataset) []float32 {
	t.Helper()
	p, err := engine.Compile(g, s, engine.Options{Batch: 32, Pool: kernel.NewPool(1)})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := d.Batches(data.BatchOptions{Size: 32, Augment: data.AugmentNone})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	b, err := stream.Next()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Release()
	p.Feed(b.Inputs, b.Rows)
	if err := p.Forward(); err != nil {
		t.Fatal(err)
	}
	return append([]float32(nil), p.Outputs[0].F...)
}

func valuesOf(s *engine.State) map[string][]float32 {
	v := map[string][]float32{}
	for _, name := range s.Names() {
		v[name] = s.Tensor(name).F
	}
	return v
}

// apart is the largest difference relative to the largest value.
func apart(a, b []float32) float64 {
	diff, top := 0.0, 0.0
	for i := range a {
		diff = math.Max(diff, math.Abs(float64(a[i])-float64(b[i])))
		top = math.Max(top, math.Abs(float64(a[i])))
	}
	return diff / top
}

// TestRenorm: normalisations put in leave the function as it is; folded again after
// changes to everything that training changes, the model as it came computes what the
// trained one does, and masked weights are exact zeros.
func TestRenorm(t *testing.T) {
	g, d := folded(t)
	pool := kernel.NewPool(3)
	defer pool.Close()
	r, err := NewRenorm(g, d, pool, Config{Seed: 1, Batch: 16, Loss: engine.CrossEntropy{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	norms := 0
	for _, n := range r.Graph.Nodes {
		if n.Type == "BatchNormalization" {
			norms++
		}
	}
	if norms == 0 || norms != len(r.Convs) || len(r.Graph.Nodes) != len(g.Nodes)+norms {
		t.Fatalf("%d normalisations behind %d Convs, %d nodes were %d", norms, len(r.Convs), len(r.Graph.Nodes), len(g.Nodes))
	}
	before, state := engine.NewState(g), engine.NewState(r.Graph)
	want := outputsOf(t, g, before, d)
	if e := apart(want, outputsOf(t, r.Graph, state, d)); e > 1e-5 {
		t.Errorf("normalisations put in change outputs by %g", e)
	}
	back := r.Fold(valuesOf(state))
	for name, v := range valuesOf(before) {
		if e := apart(v, back[name]); e > 2e-6 {
			t.Errorf("%s folded again differs by %g", name, e)
		}
	}
	if len(back) != len(before.Names()) {
		t.Errorf("folding leaves %d values, the model has %d", len(back), len(before.Names()))
	}

	for k, name := range state.Names() {
		for i := range state.Tensor(name).F {
			x := &state.Tensor(name).F[i]
			if *x *= 1 + 0.3*float32(math.Sin(float64(7*k+i))); i%3 == 0 && state.Tensor(name).Rank() > 1 {
				*x = 0
			}
		}
	}
	changed := outputsOf(t, r.Graph, state, d)
	after := engine.NewState(g)
	for name, v := range r.Fold(valuesOf(state)) {
		copy(after.Tensor(name).F, v)
		for i, x := range v {
			if i%3 == 0 && after.Tensor(name).Rank() > 1 && x != 0 {
				t.Fatalf("%s: element %d was 0 and is %g", name, i, x)
			}
		}
	}
	if apart(want, changed) < 0.01 {
		t.Error("the changes changed nothing")
	}
	if e := apart(changed, outputsOf(t, g, after, d)); e > 1e-5 {
		t.Errorf("folded, outputs differ by %g", e)
	}
}

// TestRenormStatistics: mean and variance are those of what the Convs compute, as a plan
// of its own finds them, and filters get the norm of Kaiming's initialisation on average.
func TestRenormStatistics(t *testing.T) {
	g, d := folded(t)
	pool := kernel.NewPool(1)
	r, err := NewRenorm(g, d, pool, Config{Seed: 1, Batch: 16, Loss: engine.CrossEntropy{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	state := engine.NewState(r.Graph)
	p, err := engine.Compile(r.Graph.WithOutputs(r.Graph.Value(r.Convs[1].Node.Out[0].Name)), state, engine.Options{Batch: d.Len(), Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := d.Batches(data.BatchOptions{Size: d.Len(), Augment: data.AugmentNone})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	b, err := stream.Next()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Release()
	p.Feed(b.Inputs, b.Rows)
	if err := p.Forward(); err != nil {
		t.Fatal(err)
	}
	y := p.Outputs[1]
	c, inner := y.Shape[1], op.Size(y.Shape[2:])
	for o := range c {
		sum, squares := 0.0, 0.0
		for s := range d.Len() {
			for _, x := range y.F[(s*c+o)*inner:][:inner] {
				sum += float64(x)
				squares += float64(x) * float64(x)
			}
		}
		n := float64(d.Len() * inner)
		mean, deviation := sum/n, math.Sqrt(squares/n-sum*sum/n/n)
		got := float64(state.Tensor(r.Convs[1].Mean).F[o])
		if math.Abs(got-mean) > 0.15*deviation {
			t.Errorf("channel %d has mean %g over all samples, %g was measured (deviation %g)", o, mean, got, deviation)
		}
		if v := math.Sqrt(float64(state.Tensor(r.Convs[1].Variance).F[o])); math.Abs(v-deviation) > 0.1*deviation {
			t.Errorf("channel %d has deviation %g over all samples, %g was measured", o, deviation, v)
		}
	}
	logs := 0.0
	for _, conv := range r.Convs {
		w := state.Tensor(conv.Weight.Name)
		logs += math.Log(norm(w.F) / math.Sqrt(2*float64(w.Shape[0])))
	}
	if mean := math.Sqrt2 * math.Exp(logs/float64(len(r.Convs))); mean < leastNorm-1e-4 || mean > mostNorm+1e-4 {
		t.Errorf("filters have a norm of %g in the mean, want %d to %d", mean, leastNorm, mostNorm)
	}
}
