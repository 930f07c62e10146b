package engine

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/onnxtest"
)

// TestFreeBatchRows: freed of the batch that the file fixes, a model computes for every sample what it computes for it at that batch.
func TestFreeBatchRows(t *testing.T) {
	// attention of queries that belong to no sample over a sequence of one, with heads beside the batch
	queries := func(b *onnxtest.Builder) {
		b.Node("Transpose", "t", []string{b.Input("x", 1, 5, 8)}, "perm", []int64{1, 0, 2})
		b.Node("Reshape", "h", []string{"t", b.Ints("s", 5, 2, 4)})
		b.Node("Transpose", "k", []string{"h"}, "perm", []int64{1, 2, 0})
		b.Node("Transpose", "v", []string{"h"}, "perm", []int64{1, 0, 2})
		a := b.Node("MatMul", "a", []string{b.Weight("queries", 1, 2, 3, 4), "k"})
		a = b.Node("Add", "masked", []string{a, b.Weight("bias", 1, 2, 3, 5)})
		a = b.Node("MatMul", "o", []string{b.Node("Softmax", "p", []string{a}, "axis", -1), "v"})
		a = b.Node("Reshape", "rows", []string{b.Node("Transpose", "back", []string{a}, "perm", []int64{1, 0, 2}), b.Ints("s2", 3, 8)})
		a = b.Node("Gemm", "g", []string{a, b.Weight("w", 1, 8, 6)})
		b.Output(b.Node("Reshape", "y", []string{a, b.Ints("s3", 3, 1, 6)}), 3, 1, 6)
	}
	gru := func(b *onnxtest.Builder, x, h string) string {
		return b.Node("GRU", "y", []string{x, b.Weight("w", 1, 1, 9, 4), b.Weight("r", 1, 1, 9, 3), "", "", h}, "hidden_size", 3)
	}
	twice := []float32{1, 2, 3, 1, 2, 3}
	for _, c := range []struct {
		name string
		make func(b *onnxtest.Builder)
	}{
		{"queries of no sample", queries},
		{"all of a sequence through a layer", func(b *onnxtest.Builder) {
			b.Node("Transpose", "t", []string{b.Input("x", 1, 5, 8)}, "perm", []int64{1, 0, 2})
			h := b.Node("Gemm", "h", []string{b.Node("Reshape", "rows", []string{"t", b.Ints("s", 5, 8)}), b.Weight("w", 1, 8, 6)})
			b.Output(b.Node("Reshape", "y", []string{h, b.Ints("s2", 5, 1, 6)}), 5, 1, 6)
		}},
		{"the same of two samples, as columns", func(b *onnxtest.Builder) {
			b.Node("Transpose", "t", []string{b.Input("x", 2, 5, 8)}, "perm", []int64{1, 0, 2})
			h := b.Node("Transpose", "h", []string{b.Node("Reshape", "rows", []string{"t", b.Ints("s", 10, 8)})}, "perm", []int64{1, 0})
			b.Output(b.Node("Reshape", "y", []string{h, b.Ints("s2", 8, 5, 2)}), 8, 5, 2)
		}},
		{"states", func(b *onnxtest.Builder) {
			b.Output(gru(b, b.Input("x", 5, 1, 4), b.Floats("h", twice[:3], 1, 1, 3)), 5, 1, 1, 3)
		}},
		{"states of two samples", func(b *onnxtest.Builder) {
			b.Output(gru(b, b.Input("x", 5, 2, 4), b.Floats("h", twice, 1, 2, 3)), 5, 1, 2, 3)
		}},
		{"expanded to two samples by number", func(b *onnxtest.Builder) {
			b.Node("Unsqueeze", "u", []string{b.Input("x", 2, 3, 4), b.Ints("axes", 2)})
			b.Output(b.Node("Expand", "y", []string{"u", b.Ints("to", 2, 3, 5, 4)}), 2, 3, 5, 4)
		}},
		{"two equal samples expanded to the input's", func(b *onnxtest.Builder) {
			x := b.Input("x", 2, 3)
			h := b.Node("Expand", "h", []string{b.Floats("start", twice, 2, 3), b.Node("Shape", "n", []string{x})})
			b.Output(b.Node("Mul", "y", []string{h, x}), 2, 3)
		}},
		{"a token of two samples before a sequence", func(b *onnxtest.Builder) {
			b.Output(b.Node("Concat", "y", []string{b.Floats("token", twice, 2, 1, 3), b.Input("x", 2, 4, 3)}, "axis", 1), 2, 5, 3)
		}},
		{"two equal samples beside the input", func(b *onnxtest.Builder) {
			b.Output(b.Node("Add", "y", []string{b.Input("x", 2, 3), b.Floats("start", twice, 2, 3)}), 2, 3)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := onnxtest.New(13, 1)
			c.make(b)
			g, err := graph.New(b.Model(t), "test.onnx")
			if err != nil {
				t.Fatal(err)
			}
			own := g.FixedBatch()
			if own == 0 {
				t.Fatal("the file fixes no batch")
			}
			plan := func(batch int) *Plan {
				p, err := Compile(g, NewState(g), Options{Batch: batch})
				if err != nil {
					t.Fatal(err)
				}
				return p
			}
			small, large := plan(own), plan(3*own)
			rng := rand.New(rand.NewPCG(1, 2))
			for i := range large.Inputs[0].F {
				large.Inputs[0].F[i] = float32(rng.NormFloat64())
			}
			rows := slices.Clone(large.Inputs[0].F)
			if err := large.Forward(); err != nil {
				t.Fatal(err)
			}
			for part := range 3 {
				copy(small.Inputs[0].F, rows[part*small.Inputs[0].Size():])
				if err := small.Forward(); err != nil {
					t.Fatal(err)
				}
				y := small.Outputs[0].F
				if len(large.Outputs[0].F) != 3*len(y) || small.Outputs[0].Shape[0] != own {
					t.Fatalf("outputs are %v and %v", small.Outputs[0].Shape, large.Outputs[0].Shape)
				}
				for i, want := range y {
					if got := large.Outputs[0].F[part*len(y)+i]; math.Abs(float64(got-want)) > 1e-5 {
						t.Fatalf("element %d of part %d is %v in a larger batch, %v alone", i, part, got, want)
					}
				}
			}
		})
	}
}
