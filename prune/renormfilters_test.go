package prune

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

// TestRenormNorms: filters get about the norms, relative to each other, that they had in the network
// whose normalisations were folded away, with the data's labels and without; nearer than halfway between
// folded and equal norms.
func TestRenormNorms(t *testing.T) {
	m, err := onnxio.Load(filepath.Join("..", "testdata", "models", "glyphs_resnet_bn.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	twin, err := graph.New(m, "glyphs_resnet_bn.onnx")
	if err != nil {
		t.Fatal(err)
	}
	var want []float64
	for _, n := range twin.Nodes {
		if n.Type != "Conv" {
			continue
		}
		w := n.In[1].Init
		for o := range w.Shape[0] {
			want = append(want, norm(filterOf(w.F, w.Shape[0], o)))
		}
	}
	g, d := folded(t)
	pool := kernel.NewPool(1)
	defer pool.Close()
	// off is the deviation of the logarithm of what sets the norms apart from the twin's.
	off := func(d *data.Dataset, c Config) float64 {
		r, err := NewRenorm(g, d, pool, c, nil)
		if err != nil {
			t.Fatal(err)
		}
		state := engine.NewState(r.Graph)
		sum, squares, n := 0.0, 0.0, 0
		for _, conv := range r.Convs {
			w := state.Tensor(conv.Weight.Name)
			for o := range w.Shape[0] {
				x := math.Log(norm(filterOf(w.F, w.Shape[0], o)) / want[n])
				sum += x
				squares += x * x
				n++
			}
		}
		if n != len(want) {
			t.Fatalf("%d filters, the twin has %d", n, len(want))
		}
		mean := sum / float64(n)
		return math.Sqrt(squares/float64(n) - mean*mean)
	}
	unlabelled, err := data.Open(filepath.Join("..", "testdata", "data", "glyphs", "test"), []data.InputSpec{{Name: g.Inputs[0].Name, Shape: []int{1, 16, 16}}}, data.Options{NoLabels: true})
	if err != nil {
		t.Fatal(err)
	}
	defer unlabelled.Close()
	halfway := off(d, Config{Seed: 1, Batch: 16})
	for name, got := range map[string]float64{
		"labels":    off(d, Config{Seed: 1, Batch: 16, Loss: engine.CrossEntropy{}}),
		"no labels": off(unlabelled, Config{Seed: 1, Batch: 16, Loss: engine.Distillation{Temperature: 4}}),
	} {
		t.Logf("%s: deviation %.3f, halfway %.3f", name, got, halfway)
		if got > halfway/2 {
			t.Errorf("%s: the norms' deviation from the twin's is %.3f, halfway between folded and equal ones %.3f", name, got, halfway)
		}
	}
}

// TestOwnLabels: labels come from the model's probabilities where there are none.
func TestOwnLabels(t *testing.T) {
	y := &op.Tensor{Shape: []int{2, 3, 2}, F: []float32{
		0, 1, 1, 0, 2, 5,
		-1, 0, 0, 0, 1, 0,
	}}
	l := &ownLabels{random: rand.New(rand.NewPCG(1, 2))}
	counts := make([][3]float64, 4)
	const rounds = 20000
	for range rounds {
		if _, err := l.Eval(y, &engine.Target{}, nil); err != nil {
			t.Fatal(err)
		}
		for i, k := range l.labels {
			counts[i][k] += 1.0 / rounds
		}
	}
	for i := range counts {
		n, inner := i/2, i%2
		sum := 0.0
		for k := range 3 {
			sum += math.Exp(float64(y.F[(n*3+k)*2+inner]))
		}
		for k := range 3 {
			if p := math.Exp(float64(y.F[(n*3+k)*2+inner])) / sum; math.Abs(counts[i][k]-p) > 0.015 {
				t.Errorf("position %d: class %d was drawn %.3f of the time, its probability is %.3f", i, k, counts[i][k], p)
			}
		}
	}
	given := []int64{2, 0, 1, 1}
	got, err := l.Eval(y, &engine.Target{Labels: given}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want, err := engine.CrossEntropy{}.Eval(y, &engine.Target{Labels: given}, nil)
	if err != nil || got != want {
		t.Errorf("with labels the loss is %g, cross-entropy is %g (%v)", got, want, err)
	}
}
