package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/internal/onnxtest"
)

// TestMixedRows: samples that know of each other may be none.
func TestMixedRows(t *testing.T) {
	pool := kernel.NewPool(1)
	defer pool.Close()
	for _, c := range []struct {
		name  string
		batch int64
		axis  int
		want  bool
	}{
		{"along a row", 4, 1, false},
		{"over the rows", 4, 0, true},
		{"one row", 1, 0, false},
		{"open", -1, 0, false},
		{"a table beside them", 4, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := onnxtest.New(13, 1)
			h := b.Node("MatMul", "h", []string{b.Input("x", c.batch, 3), b.Weight("w", 1, 3, 5)})
			if c.name == "a table beside them" {
				h = b.Node("Add", "with", []string{h, b.Input("table", 1, 5)})
			}
			b.Output(b.Node("Softmax", "y", []string{h}, "axis", c.axis), c.batch, 5)
			g, err := graph.New(b.Model(t), "test.onnx")
			if err != nil {
				t.Fatal(err)
			}
			var said bytes.Buffer
			sayMixed(&console{err: &said}, g, nil, pool)
			const want = "the 4 rows on axis 0 of input \"x\" are taken for samples, but depend on each other\n"
			if got := strings.HasPrefix(said.String(), want); got != c.want || !got && said.Len() > 0 {
				t.Errorf("said %q", said.String())
			}
		})
	}
}
