package graph

import (
	"fmt"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/internal/onnxtest"
)

// TestStored: through what a weight is followed to the file, which of its axes are which, and what
// stops it.
func TestStored(t *testing.T) {
	fp16, whole := 10, 7
	for _, c := range []struct {
		name string
		// weight makes the [4,6] operand of MatMul.
		weight func(b *onnxtest.Builder) string
		// want is the initializer, its axes of outputs and inputs, "-" where they are not known; or, behind !, what computes the weight;
		// empty for what is no weight.
		want string
	}{
		{"itself", func(b *onnxtest.Builder) string { return b.Weight("w", 1, 4, 6) }, "w 1 0"},
		{"transposed", func(b *onnxtest.Builder) string {
			return b.Node("Transpose", "", []string{b.Weight("w", 1, 6, 4)}, "perm", []int64{1, 0})
		}, "w 0 1"},
		{"transposed without saying how", func(b *onnxtest.Builder) string {
			return b.Node("Transpose", "", []string{b.Weight("w", 1, 6, 4)})
		}, "w 0 1"},
		{"cast", func(b *onnxtest.Builder) string {
			return b.Node("Cast", "", []string{b.Weight("w", 1, 4, 6)}, "to", fp16)
		}, "w 1 0"},
		{"cast to whole numbers and back", func(b *onnxtest.Builder) string {
			return b.Node("Cast", "", []string{b.Node("Cast", "", []string{b.Weight("w", 1, 4, 6)}, "to", whole)}, "to", 1)
		}, "!Cast"},
		{"reshaped", func(b *onnxtest.Builder) string {
			return b.Node("Reshape", "", []string{b.Weight("w", 1, 2, 12), b.Ints("to", 4, 6)})
		}, "w -"},
		{"squeezed", func(b *onnxtest.Builder) string {
			return b.Node("Squeeze", "", []string{b.Weight("w", 1, 1, 4, 6), b.Ints("axes", 0)})
		}, "w 2 1"},
		{"squeezed between", func(b *onnxtest.Builder) string {
			return b.Node("Squeeze", "", []string{b.Weight("w", 1, 4, 1, 6), b.Ints("axes", -2)})
		}, "w 2 0"},
		{"put together", func(b *onnxtest.Builder) string {
			return b.Node("Concat", "", []string{b.Weight("w", 1, 4, 2), b.Weight("v", 1, 4, 4)}, "axis", 1)
		}, "w 1 0, v 1 0"},
		{"put together along the inputs", func(b *onnxtest.Builder) string {
			return b.Node("Concat", "", []string{b.Weight("w", 1, 1, 6), b.Weight("v", 1, 3, 6)}, "axis", -2)
		}, "w -, v -"},
		{"outputs in another order", func(b *onnxtest.Builder) string {
			w, none, half, all, axis := b.Weight("w", 1, 6, 4), b.Ints("none", 0), b.Ints("half", 3), b.Ints("all", 6), b.Ints("axis", 0)
			w = b.Node("Concat", "", []string{b.Node("Slice", "", []string{w, half, all, axis}), b.Node("Slice", "", []string{w, none, half, axis})}, "axis", 0)
			w = b.Node("Squeeze", "", []string{b.Node("Unsqueeze", "", []string{w, axis}), axis})
			return b.Node("Transpose", "", []string{w})
		}, "w 0 1"},
		{"put together with data", func(b *onnxtest.Builder) string {
			x := b.Node("Transpose", "", []string{"x"})
			return b.Node("Concat", "", []string{b.Weight("w", 1, 4, 2), x}, "axis", 1)
		}, ""},
		{"rows of it, then transposed", func(b *onnxtest.Builder) string {
			return b.Node("Transpose", "", []string{b.Node("Slice", "", []string{b.Weight("w", 1, 18, 4), b.Ints("from", 6), b.Ints("to", 12), b.Ints("axes", 0)})})
		}, "w 0 1"},
		{"inputs of it", func(b *onnxtest.Builder) string {
			return b.Node("Slice", "", []string{b.Weight("w", 1, 12, 6), b.Ints("from", 4), b.Ints("to", 8), b.Ints("axes", 0)})
		}, "w -"},
		{"a part counted from the end", func(b *onnxtest.Builder) string {
			return b.Node("Slice", "", []string{b.Weight("w", 1, 4, 18), b.Ints("from", 6), b.Ints("to", 12), b.Ints("axes", -1)})
		}, "w 1 0"},
		{"a part where its own shape says", func(b *onnxtest.Builder) string {
			w := b.Weight("w", 1, 4, 18)
			size := b.Node("Gather", "", []string{b.Node("Shape", "", []string{w}), b.Ints("last", 1)})
			third := b.Node("Div", "", []string{size, b.Ints("three", 3)})
			return b.Node("Slice", "", []string{w, third, b.Node("Mul", "", []string{third, b.Ints("two", 2)}), b.Ints("axes", 1)})
		}, "w 1 0"},
		{"a part where the data say", func(b *onnxtest.Builder) string {
			at := b.Node("Cast", "", []string{b.Node("ReduceMax", "", []string{"x"}, "keepdims", 0)}, "to", whole)
			at = b.Node("Unsqueeze", "", []string{at, b.Ints("zero", 0)})
			return b.Node("Slice", "", []string{b.Weight("w", 1, 4, 18), at, b.Ints("to", 12), b.Ints("axes", 1)})
		}, ""},
		{"scaled", func(b *onnxtest.Builder) string {
			return b.Node("Mul", "", []string{b.Weight("w", 1, 4, 6), b.Floats("half", []float32{0.5})})
		}, "!Mul"},
		{"dequantised", func(b *onnxtest.Builder) string {
			return b.Node("DequantizeLinear", "", []string{b.Ints("q", 1, 2), b.Floats("half", []float32{0.5})})
		}, "!DequantizeLinear"},
		{"data", func(b *onnxtest.Builder) string { return b.Node("Transpose", "", []string{"x"}) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := onnxtest.New(13, 1)
			b.Input("x", -1, 4)
			b.Node("MatMul", "y", []string{"x", c.weight(b)})
			b.Output("y", -1, 6)
			g := build(t, b)
			var all []string
			for _, w := range g.Weights() {
				axes := w.Value.Name + " -"
				if out, in, ok := w.Axes(); ok {
					axes = fmt.Sprint(w.Value.Name, " ", out, " ", in)
				}
				all = append(all, axes)
				if g.Roles()[w.Value] != Trained {
					t.Errorf("%s is not trained", w.Value.Name)
				}
			}
			got := strings.Join(all, ", ")
			for _, m := range g.Computed() {
				got += "!" + m.By.Type
				if m.Quantised() != (m.By.Type == "DequantizeLinear") {
					t.Errorf("quantised is %v", m.Quantised())
				}
			}
			if got != c.want {
				t.Errorf("the weight is %q, want %q", got, c.want)
			}
		})
	}
}
