package prune

import (
	"math/rand/v2"
	"testing"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/onnxtest"
)

// TestPartsOfAWeight: weights that are parts of one initializer, transposed and cast, are trained and masked
// to the bit as initializers of their own are.
func TestPartsOfAWeight(t *testing.T) {
	const hidden, in, out = 12, 64, 4
	rng := rand.New(rand.NewPCG(3, 4))
	whole := make([]float32, hidden*(in+out))
	for i := range whole {
		whole[i] = float32(rng.NormFloat64() * 0.3)
	}
	part := func(w []float32, from, to int) (p []float32) {
		for r := range hidden {
			p = append(p, w[r*(in+out)+from:r*(in+out)+to]...)
		}
		return p
	}
	run := func(parts bool) []Layer {
		b := onnxtest.New(13, 3)
		x := b.Node("Flatten", "", []string{b.Input("x", -1, 1, 8, 8)})
		var first, second string
		if parts {
			w, none, at, end, axis := b.Floats("w", whole, hidden, in+out), b.Ints("none", 0), b.Ints("at", in), b.Ints("end", in+out), b.Ints("axis", 1)
			first = b.Node("Slice", "", []string{w, none, at, axis})
			second = b.Node("Cast", "", []string{b.Node("Slice", "", []string{w, at, end, axis})}, "to", 1)
		} else {
			first, second = b.Floats("first", part(whole, 0, in), hidden, in), b.Floats("second", part(whole, in, in+out), hidden, out)
		}
		x = b.Node("Relu", "", []string{b.Node("MatMul", "", []string{x, b.Node("Transpose", "", []string{first}, "perm", []int64{1, 0})})})
		b.Node("MatMul", "logits", []string{x, second})
		b.Output("logits", -1, out)
		g, err := graph.New(b.Model(t), "parts.onnx")
		if err != nil {
			t.Fatal(err)
		}
		tr := trainer(t, g, 2, config())
		if err := NewBiP(tr).Run(); err != nil {
			t.Fatal(err)
		}
		return tr.Masks.Layers
	}
	one, two := run(true), run(false)
	if len(one) != 1 || len(two) != 2 {
		t.Fatalf("%d and %d layers", len(one), len(two))
	}
	moved := 0
	for i, want := range [][2]int{{0, in}, {in, in + out}} {
		for j, z := range part(one[0].Z, want[0], want[1]) {
			if z != two[i].Z[j] {
				t.Fatalf("element %d of part %d is %g, as an initializer %g", j, i, z, two[i].Z[j])
			}
			if z != 0 && z != part(whole, want[0], want[1])[j] {
				moved++
			}
		}
	}
	if moved == 0 {
		t.Error("nothing was trained")
	}
}

// TestRecurrentWeights: the weights of a recurrent layer are trained under masks, and those of N:M lie along what is
// summed.
func TestRecurrentWeights(t *testing.T) {
	for cell, gates := range map[string]int{"LSTM": 4, "GRU": 3, "RNN": 1} {
		for _, s := range []Structure{{}, {Kind: KindNM, N: 2, M: 4}, {Kind: KindBlock, Rows: 3, Columns: 2}} {
			b := onnxtest.New(13, 3)
			x := b.Node("Squeeze", "", []string{b.Input("x", -1, 1, 8, 8), b.Ints("one", 1)})
			x = b.Node("Transpose", "", []string{x}, "perm", []int64{1, 0, 2})
			x = b.Node(cell, "", []string{x, b.Weight("w", 0.5, 1, gates*6, 8), b.Weight("r", 0.5, 1, gates*6, 6)}, "hidden_size", 6)
			x = b.Node("ReduceMean", "", []string{x}, "axes", []int64{0, 1}, "keepdims", 0)
			b.Node("MatMul", "logits", []string{x, b.Weight("head", 0.5, 6, 4)})
			b.Output("logits", -1, 4)
			g, err := graph.New(b.Model(t), "recurrent.onnx")
			if err != nil {
				t.Fatal(err)
			}
			c := config()
			c.Structure, c.Ratio = s, 0.5
			tr := trainer(t, g, 2, c)
			if err := tr.Masks.CheckAxes(g.Name, s); err != nil {
				t.Fatal(err)
			}
			untrained := map[string][]float32{}
			for _, l := range tr.Masks.Layers {
				untrained[l.Name] = append([]float32(nil), l.Theta...)
			}
			if err := NewBiP(tr).Run(); err != nil {
				t.Fatal(err)
			}
			if len(tr.Masks.Layers) != 3 {
				t.Fatalf("%s has %d masked tensors, want 3", cell, len(tr.Masks.Layers))
			}
			for _, l := range tr.Masks.Layers {
				moved, run := 0, 0
				for i, z := range l.Z {
					if z != 0 && z != untrained[l.Name][i] {
						moved++
					}
					if l.Shape[len(l.Shape)-1] == 8 && s.Kind == KindNM {
						if i%4 == 0 {
							run = 0
						}
						if z != 0 {
							run++
						}
						if run > 2 {
							t.Fatalf("%s %s: more than 2 of 4 stay at %d", cell, l.Name, i)
						}
					}
				}
				if moved == 0 {
					t.Errorf("%s %v: nothing of %s was trained", cell, s, l.Name)
				}
			}
			if loss := tr.History[c.Epochs].TrainLoss; !(loss < tr.History[1].TrainLoss) {
				t.Errorf("%s %v: loss goes from %g to %g", cell, s, tr.History[1].TrainLoss, loss)
			}
		}
	}
}
