package engine

import (
	"math"
	"testing"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/onnxtest"
)

// TestSubnormalWeights: a step of pfld, whose channels have died under weight decay, took ten times as long with them.
func TestSubnormalWeights(t *testing.T) {
	nan, inf, minus0 := float32(math.NaN()), float32(math.Inf(1)), float32(math.Copysign(0, -1))
	least := math.Float32frombits(1 << 23)
	most := math.Float32frombits(1<<23 - 1)
	given := []float32{1e-45, -1e-45, most, -most, least, -least, nan, inf, -inf, 1, 0, minus0, -0.5}
	want := []float32{0, 0, 0, 0, least, -least, nan, inf, -inf, 1, 0, minus0, -0.5}
	b := onnxtest.New(13, 1)
	b.Node("MatMul", "y", []string{b.Input("x", -1, 13), b.Floats("w", given, 13, 1)})
	b.Output("y", -1, 1)
	g, err := graph.New(b.Model(t), "m")
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range NewState(g).Tensor("w").F {
		if math.Float32bits(x) != math.Float32bits(want[i]) {
			t.Errorf("%g became %g, want %g", given[i], x, want[i])
		}
	}
}
