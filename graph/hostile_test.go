package graph

import (
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/internal/onnxtest"
	"github.com/onnxprune/onnxprune/onnxio"
)

// Constants that double from node to node stop being folded before they fill the
// memory.
func TestInferBoundsFolding(t *testing.T) {
	b := onnxtest.New(13, 1)
	b.Input("x", -1, 8)
	b.Ints("k", 1, 1, 1, 1, 1, 1, 1, 1)
	last := "k"
	for range 30 {
		last = b.Node("Concat", "", []string{last, last}, "axis", 0)
	}
	b.Node("Gather", "y", []string{"x", last}, "axis", 1)
	b.Output("y", -1, 8<<30)
	g := build(t, b)
	s, err := g.Infer(Binding{Batch: 2})
	if err != nil {
		t.Fatal(err)
	}
	folded := 0
	for _, x := range s.Of {
		if x.IsConst() {
			folded += x.Size()
		}
	}
	if most := 4*foldLimit + 100; folded > most {
		t.Errorf("%d elements folded, at most %d are expected", folded, most)
	}
	if got := s.Of[g.Value(last).Index].Size(); got != 8<<30 {
		t.Errorf("the last constant has %d elements, want %d", got, 8<<30)
	}
}

// A node without outputs does not stop the search for what carries the batch.
func TestFreeBatchWithoutOutputs(t *testing.T) {
	b := onnxtest.New(13, 1)
	b.Input("x", 1, 8)
	b.Ints("s", 1, 8)
	b.Node("Reshape", "r", []string{"x", "s"})
	b.Node("Concat", "c", []string{"x", "x"}, "axis", 1)
	for _, n := range b.Proto.Graph.Node {
		n.Output = nil
	}
	b.Node("Relu", "y", []string{"x"})
	b.Output("y", 1, 8)
	_, err := build(t, b).FreeBatch(nil)
	if err == nil || !strings.Contains(err.Error(), "test.onnx: the file fixes its batch size at 1") {
		t.Errorf("error %v", err)
	}
}

func TestTensorAttributeWithoutTensor(t *testing.T) {
	b := onnxtest.New(13, 1)
	b.Node("Constant", "y", nil)
	name, kind := "value", onnxio.AttributeProto_TENSOR
	b.Proto.Graph.Node[0].Attribute = []*onnxio.AttributeProto{{Name: &name, Type: &kind}}
	b.Output("y", 1)
	_, err := New(b.Model(t), "test.onnx")
	if err == nil || !strings.Contains(err.Error(), `node "y" (Constant): attribute "value": is of type TENSOR and holds none`) {
		t.Errorf("error %v", err)
	}
}

// readingW builds a model with a weight w that a subgraph of node If reads as name.
func readingW(name string, masked bool) *onnxtest.Builder {
	b := onnxtest.New(13, 1)
	b.Input("x", -1, 2)
	b.Floats("w", []float32{1, 2, 3, 4}, 2, 2)
	weight := "w"
	if masked {
		b.Floats("w.mask", []float32{1, 0, 0, 1}, 2, 2)
		weight = b.Node("Mul", "w.masked", []string{"w", "w.mask"})
	}
	b.Node("MatMul", "a", []string{"x", weight})
	b.Node("If", "y", []string{"x"})
	attr, kind := "then_branch", onnxio.AttributeProto_GRAPH
	sub := &onnxio.GraphProto{Name: &attr, Node: []*onnxio.NodeProto{onnxio.NewNode("MatMul", "t", []string{"a", name}, []string{"t"})}}
	b.Proto.Graph.Node[len(b.Proto.Graph.Node)-1].Attribute = []*onnxio.AttributeProto{{Name: &attr, Type: &kind, G: sub}}
	b.Output("y", -1, 2)
	return b
}

// A weight that a subgraph reads cannot be masked by a node, and a mask whose product a
// subgraph reads stays a node.
func TestMasksAndSubgraphs(t *testing.T) {
	g := build(t, readingW("w", false))
	err := g.CheckMaskNodes()
	if err == nil || !strings.Contains(err.Error(), `initializer "w" is read inside a subgraph too`) || !strings.Contains(err.Error(), "hint: --masks fold") {
		t.Errorf("error %v", err)
	}
	keep := map[string][]bool{"w": {true, false, false, true}}
	if err := g.WriteMasks(keep, AsNode); err == nil {
		t.Error("a mask node was written that the subgraph does not see")
	}
	if err := g.WriteMasks(keep, Fold); err != nil {
		t.Error(err)
	}
	if g := build(t, readingW("a", true)); g.Value("w").Mask == nil {
		t.Error("the mask is not recognised")
	}
	if g := build(t, readingW("w.masked", true)); g.Value("w").Mask != nil || g.Value("w.masked") == nil {
		t.Error("the product that a subgraph reads was taken out")
	}
}
