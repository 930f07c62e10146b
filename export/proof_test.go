package export

import (
	"slices"
	"testing"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/onnxtest"
	"github.com/onnxprune/onnxprune/onnxio"
)

// TestRandomTokens: token numbers are any that the table has.
func TestRandomTokens(t *testing.T) {
	b := onnxtest.New(13, 1)
	b.Proto.Graph.Input = append(b.Proto.Graph.Input, onnxio.NewTensorValueInfo("ids", 7, []int64{2, 100}))
	b.Output(b.Node("Gather", "y", []string{b.Weight("table", 1, 50, 3), "ids"}), 2, 100, 3)
	g, err := graph.New(b.Model(t), "test.onnx")
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.Compile(g, engine.NewState(g), engine.Options{Batch: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := Random(g, 1)(p); err != nil {
		t.Fatal(err)
	}
	ids := p.Inputs[0].I
	if least, most := slices.Min(ids), slices.Max(ids); least < 0 || least > 4 || most < 45 || most > 49 {
		t.Errorf("tokens are %d to %d, want 0 to 49", least, most)
	}
}
