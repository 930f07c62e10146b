package engine

import (
	"strings"
	"testing"
)

// TestIfOnData refuses an If whose condition is an input.
func TestIfOnData(t *testing.T) {
	g := load(t, "../testdata/models/tiny_if.onnx")
	_, err := Compile(g, NewState(g), Options{Batch: 1})
	want := `node "branch" (If): the condition depends on data, only an If with a constant one can be run`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want %q in it", err, want)
	}
}
