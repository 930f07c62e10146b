package graph

import (
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/internal/onnxtest"
	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

// branchOf makes a graph with one output.
func branchOf(out string, inits []*onnxio.TensorProto, nodes ...*onnxio.NodeProto) *onnxio.GraphProto {
	return &onnxio.GraphProto{Name: new(out), Node: nodes, Initializer: inits,
		Output: []*onnxio.ValueInfoProto{onnxio.NewTensorValueInfo(out, 1, nil)}}
}

func ifNode(name, cond string, yes, no *onnxio.GraphProto) *onnxio.NodeProto {
	n := onnxio.NewNode("If", name, []string{cond}, []string{name})
	for _, a := range []struct {
		name string
		g    *onnxio.GraphProto
	}{{"then_branch", yes}, {"else_branch", no}} {
		n.Attribute = append(n.Attribute, &onnxio.AttributeProto{Name: new(a.name), Type: onnxio.AttributeProto_GRAPH.Enum(), G: a.g})
	}
	return n
}

// TestTakeBranches takes the branch of an If whose condition is a constant, computed or
// given, also inside another one; both branches use the same names.
func TestTakeBranches(t *testing.T) {
	floats := func(name string, v ...float32) []*onnxio.TensorProto {
		return []*onnxio.TensorProto{{Name: new(name), DataType: new(int32(1)), Dims: []int64{int64(len(v))}, FloatData: v}}
	}
	b := onnxtest.New(13, 1)
	b.Input("x", -1, 4)
	b.Floats("two", []float32{2}, 1)
	b.Node("Shape", "s", []string{"x"})
	b.Node("Gather", "width", []string{"s", b.Ints("one", 1)})
	b.Node("Equal", "wide", []string{"width", b.Ints("four", 4)})
	b.Node("Not", "narrow", []string{"wide"})
	inner := ifNode("inner", "narrow",
		branchOf("c", nil, onnxio.NewNode("Sub", "n", []string{"a", "two"}, []string{"c"})),
		branchOf("c", floats("k", 3), onnxio.NewNode("Mul", "n", []string{"a", "k"}, []string{"c"})))
	outer := ifNode("y", "wide",
		branchOf("inner", floats("k", 5), onnxio.NewNode("Add", "n", []string{"x", "k"}, []string{"a"}), inner),
		branchOf("a", nil, onnxio.NewNode("Neg", "n", []string{"x"}, []string{"a"})))
	b.Proto.Graph.Node = append(b.Proto.Graph.Node, outer)
	b.Output("y", -1, 4)
	g := build(t, b)
	taken, err := g.TakeBranches(Binding{Batch: 1}, Binding{Batch: 3})
	if err != nil {
		t.Fatal(err)
	}
	s, err := taken.Infer(Binding{Batch: 3})
	if err != nil || len(s.Problems) > 0 || len(s.Unknown) > 0 {
		t.Fatal(err, s.Problems, s.Unknown)
	}
	if got := s.Of[taken.Value("y").Index].Shape; !op.EqualShape(got, []int{3, 4}) {
		t.Errorf("shape is %v", got)
	}
	var ops []string
	for _, n := range taken.Nodes {
		ops = append(ops, n.Type)
	}
	if got, want := strings.Join(ops, " "), "Shape Gather Equal Not Add Mul Identity Identity"; got != want {
		t.Errorf("nodes are %s, want %s", got, want)
	}
	if k := taken.Value("y/k"); k == nil || k.Init.F[0] != 5 {
		t.Errorf("the constant of the outer branch is %v", k)
	}
	if n := g.Nodes[len(g.Nodes)-1]; n.Type != "If" {
		t.Errorf("the graph itself has changed: %s", n)
	}
}

// TestBranchesStay leaves an If alone whose condition depends on data or on the batch
// size, and refuses branches that lack what the node wants.
func TestBranchesStay(t *testing.T) {
	branch := func(op string) *onnxio.GraphProto {
		return branchOf("a", nil, onnxio.NewNode(op, "n", []string{"x"}, []string{"a"}))
	}
	for _, c := range []struct {
		name string
		make func(b *onnxtest.Builder)
		want string // of the error
	}{
		{"data", func(b *onnxtest.Builder) {
			b.Node("ReduceSum", "sum", []string{"x"}, "keepdims", 0)
			b.Node("Greater", "cond", []string{"sum", b.Floats("zero", []float32{0})})
			b.Proto.Graph.Node = append(b.Proto.Graph.Node, ifNode("y", "cond", branch("Neg"), branch("Abs")))
		}, ""},
		{"batch", func(b *onnxtest.Builder) {
			b.Node("Shape", "s", []string{"x"})
			b.Node("Gather", "n", []string{"s", b.Ints("axis", 0)})
			b.Node("Equal", "cond", []string{"n", b.Ints("one", 1)})
			b.Proto.Graph.Node = append(b.Proto.Graph.Node, ifNode("y", "cond", branch("Neg"), branch("Abs")))
		}, ""},
		{"no branch", func(b *onnxtest.Builder) {
			b.Node("Equal", "cond", []string{b.Ints("one", 1), "one"})
			n := ifNode("y", "cond", branch("Neg"), branch("Abs"))
			n.Attribute = n.Attribute[1:]
			b.Proto.Graph.Node = append(b.Proto.Graph.Node, n)
		}, `attribute "then_branch": is no graph with 1 outputs`},
		{"unknown name", func(b *onnxtest.Builder) {
			b.Node("Equal", "cond", []string{b.Ints("one", 1), "one"})
			bad := branchOf("a", nil, onnxio.NewNode("Neg", "n", []string{"nowhere"}, []string{"a"}))
			b.Proto.Graph.Node = append(b.Proto.Graph.Node, ifNode("y", "cond", bad, branch("Abs")))
		}, `input 0 "nowhere" is produced by no earlier node`},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := onnxtest.New(13, 1)
			b.Input("x", -1, 4)
			c.make(b)
			b.Output("y", -1, 4)
			g := build(t, b)
			taken, err := g.TakeBranches(Binding{Batch: 1}, Binding{Batch: 3})
			switch {
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error is %v, want %q in it", err, c.want)
			case c.want == "" && (err != nil || taken != g):
				t.Errorf("is taken: %v", err)
			}
		})
	}
}
