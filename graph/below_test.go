package graph

import (
	"testing"

	"github.com/onnxprune/onnxprune/internal/onnxtest"
	"github.com/onnxprune/onnxprune/onnxio"
)

// TestBelow: how many different token numbers a model knows.
func TestBelow(t *testing.T) {
	ids := func(b *onnxtest.Builder, axes ...int64) {
		b.Input("ids", axes...)
		kind := int32(7)
		b.Proto.Graph.Input[0].Type.GetTensorType().ElemType = &kind
	}
	for _, c := range []struct {
		name string
		make func(b *onnxtest.Builder) string
		want int
	}{
		{"an embedding", func(b *onnxtest.Builder) string {
			return b.Node("Gather", "", []string{b.Weight("table", 1, 50, 4), "ids"})
		}, 50},
		{"an embedding in a Constant, of columns", func(b *onnxtest.Builder) string {
			table := b.Node("Constant", "", nil, "value", onnxio.NewFloatTensor("", []int{4, 30}, make([]float32, 120)))
			return b.Node("Gather", "", []string{table, "ids"}, "axis", -1)
		}, 30},
		{"two tables, of moved numbers", func(b *onnxtest.Builder) string {
			a := b.Node("Gather", "", []string{b.Weight("table", 1, 50, 4), b.Node("Cast", "", []string{b.Node("Unsqueeze", "", []string{"ids", b.Ints("axes", 1)})}, "to", 6)})
			return b.Node("Add", "", []string{a, b.Node("Gather", "", []string{b.Weight("less", 1, 20, 4), "ids"})})
		}, 20},
		{"one hot", func(b *onnxtest.Builder) string {
			return b.Node("OneHot", "", []string{"ids", b.Ints("depth", 9), b.Floats("values", []float32{0, 1}, 2)})
		}, 9},
		{"a mask", func(b *onnxtest.Builder) string {
			return b.Node("Cast", "", []string{"ids"}, "to", 1)
		}, 0},
		{"taken from, not by it", func(b *onnxtest.Builder) string {
			return b.Node("Gather", "", []string{"ids", b.Ints("last", 2)}, "axis", 1)
		}, 0},
		{"computed places", func(b *onnxtest.Builder) string {
			return b.Node("Gather", "", []string{b.Weight("table", 1, 50, 4), b.Node("Add", "", []string{"ids", b.Ints("offset", 10)})})
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := onnxtest.New(13, 1)
			ids(b, -1, 3)
			b.Output(c.make(b))
			if got := build(t, b).Inputs[0].Below(); got != c.want {
				t.Errorf("below %d, want %d", got, c.want)
			}
		})
	}
}
