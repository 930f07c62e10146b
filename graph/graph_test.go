package graph

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/internal/onnxtest"
	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

func build(t *testing.T, b *onnxtest.Builder) *Graph {
	t.Helper()
	g, err := New(b.Model(t), "test.onnx")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestNewErrors(t *testing.T) {
	cases := []struct {
		name string
		make func(b *onnxtest.Builder)
		want []string
	}{
		{"dangling inputs are listed together", func(b *onnxtest.Builder) {
			b.Input("x", 1, 4)
			b.Node("Relu", "y", []string{"nowhere"})
			b.Node("Add", "z", []string{"y", "elsewhere"})
			b.Output("z", 1, 4)
		}, []string{`test.onnx: node "y" (Relu): input 0 "nowhere" is produced by no earlier node`, `node "z" (Add): input 1 "elsewhere"`}},
		{"cycle", func(b *onnxtest.Builder) {
			b.Input("x", 1, 4)
			b.Node("Add", "y", []string{"x", "z"})
			b.Node("Relu", "z", []string{"y"})
			b.Output("z", 1, 4)
		}, []string{`node "y" (Add): input 1 "z" is produced by no earlier node`}},
		{"name twice", func(b *onnxtest.Builder) {
			b.Input("x", 1, 4)
			b.Node("Relu", "y", []string{"x"})
			b.Node("Relu", "y", []string{"x"})
			b.Output("y", 1, 4)
		}, []string{`output "y": the name is defined twice`}},
		{"output that nothing makes", func(b *onnxtest.Builder) {
			b.Input("x", 1, 4)
			b.Output("y", 1, 4)
		}, []string{`output "y": no node produces it`}},
		{"no output", func(b *onnxtest.Builder) { b.Input("x", 1, 4) }, []string{"the graph has no output"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := onnxtest.New(13, 1)
			c.make(b)
			_, err := New(b.Model(t), "test.onnx")
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error is\n%v\nand lacks\n%s", err, w)
				}
			}
		})
	}
}

// TestInferFoldsShapeArithmetic runs what PyTorch emits for a computed Reshape
// target and a computed Pad.
func TestInferFoldsShapeArithmetic(t *testing.T) {
	b := onnxtest.New(13, 1)
	x := b.Input("x", -1, 4, 6, 6)
	s := b.Node("Shape", "shape", []string{x})
	n := b.Node("Gather", "n", []string{s, b.Ints("zero", 0)}, "axis", 0)
	target := b.Node("Concat", "target", []string{n, b.Ints("rest", -1)}, "axis", 0)
	b.Node("Reshape", "flat", []string{x, target})
	b.Output("flat", -1, 144)
	g := build(t, b)
	for _, batch := range []int{1, 5} {
		sh, err := g.Infer(Binding{Batch: batch})
		if err != nil || len(sh.Problems) > 0 || len(sh.Unknown) > 0 {
			t.Fatal(err, sh.Problems, sh.Unknown)
		}
		if got := sh.Of[g.Value("flat").Index].Shape; !op.EqualShape(got, []int{batch, 144}) {
			t.Errorf("batch %d: shape %v", batch, got)
		}
		if v := sh.Of[g.Value("target").Index]; !v.IsConst() || v.I[0] != int64(batch) {
			t.Errorf("batch %d: the Reshape target is not folded: %v", batch, v)
		}
	}
}

func TestInferReportsContradictions(t *testing.T) {
	b := onnxtest.New(13, 1)
	x := b.Input("x", 1, 3, 8, 8)
	b.Node("Conv", "y", []string{x, b.Weight("w", 1, 4, 5, 3, 3)})
	b.Output("y", 1, 4, 6, 6)
	g := build(t, b)
	sh, err := g.Infer(Binding{})
	if err != nil {
		t.Fatal(err)
	}
	if len(sh.Problems) != 1 || !strings.Contains(sh.Problems[0].Error(), `test.onnx: node "y" (Conv): `) || !strings.Contains(sh.Problems[0].Error(), "[4,5,3,3]") {
		t.Errorf("problems: %v", sh.Problems)
	}
}

// TestFreeBatch runs graphs whose constants hold the batch size at another one.
func TestFreeBatch(t *testing.T) {
	cases := []struct {
		name string
		make func(b *onnxtest.Builder)
		out  string
		want []int // at batch 7
	}{
		{"flatten by Reshape [1,-1]", func(b *onnxtest.Builder) {
			b.Input("x", 1, 3, 4, 4)
			b.Node("Reshape", "y", []string{"x", b.Ints("s", 1, -1)})
			b.Output("y", 1, 48)
		}, "y", []int{7, 48}},
		{"attention heads", func(b *onnxtest.Builder) {
			b.Input("x", 1, 5, 8)
			b.Node("Transpose", "t", []string{"x"}, "perm", []int64{1, 0, 2})
			b.Node("Reshape", "h", []string{"t", b.Ints("s", 5, 2, 4)})
			b.Node("Transpose", "u", []string{"h"}, "perm", []int64{1, 0, 2})
			b.Node("Reshape", "v", []string{"u", b.Ints("s2", 1, 2, 5, 4)})
			b.Output("v", 1, 2, 5, 4)
		}, "v", []int{7, 2, 5, 4}},
		{"fixed batch of two", func(b *onnxtest.Builder) {
			b.Input("x", 2, 6)
			b.Node("Reshape", "y", []string{"x", b.Ints("s", 4, 3)})
			b.Node("Reshape", "z", []string{"y", b.Ints("s2", 2, 3, 2)})
			b.Output("z", 2, 3, 2)
		}, "z", []int{7, 3, 2}},
		{"class token", func(b *onnxtest.Builder) {
			b.Input("x", 1, 5, 8)
			b.Node("Concat", "y", []string{b.Weight("cls", 1, 1, 1, 8), "x"}, "axis", 1)
			b.Output("y", 1, 6, 8)
		}, "y", []int{7, 6, 8}},
		{"resize to sizes", func(b *onnxtest.Builder) {
			b.Input("x", 1, 3, 4, 4)
			b.Node("Resize", "y", []string{"x", "", "", b.Ints("s", 1, 3, 8, 6)})
			b.Output("y", 1, 3, 8, 6)
		}, "y", []int{7, 3, 8, 6}},
		{"resize after a transposition", func(b *onnxtest.Builder) {
			b.Input("x", 2, 3, 4)
			b.Node("Transpose", "t", []string{"x"}, "perm", []int64{1, 0, 2})
			b.Node("Resize", "y", []string{"t", "", "", b.Ints("s", 6, 2, 4)})
			b.Output("y", 6, 2, 4)
		}, "y", []int{6, 7, 4}},
		{"all of a sequence through a layer", func(b *onnxtest.Builder) {
			b.Input("x", 1, 5, 8)
			b.Node("Transpose", "t", []string{"x"}, "perm", []int64{1, 0, 2})
			b.Node("Reshape", "rows", []string{"t", b.Ints("s", 5, 8)})
			b.Node("Gemm", "h", []string{"rows", b.Weight("w", 1, 8, 6)})
			b.Node("Reshape", "y", []string{"h", b.Ints("s2", 5, 1, 6)})
			b.Output("y", 5, 1, 6)
		}, "y", []int{5, 7, 6}},
		{"two samples, all of a sequence through a layer", func(b *onnxtest.Builder) {
			b.Input("x", 2, 5, 8)
			b.Node("Transpose", "t", []string{"x"}, "perm", []int64{1, 0, 2})
			b.Node("Reshape", "rows", []string{"t", b.Ints("s", 10, 8)})
			b.Node("Transpose", "h", []string{"rows"}, "perm", []int64{1, 0})
			b.Node("Reshape", "y", []string{"h", b.Ints("s2", 8, 5, 2)})
			b.Output("y", 8, 5, 2)
		}, "y", []int{8, 5, 7}},
		{"heads of a sequence through a layer", func(b *onnxtest.Builder) {
			b.Input("x", 1, 5, 8)
			b.Node("Transpose", "t", []string{"x"}, "perm", []int64{1, 0, 2})
			b.Node("Reshape", "heads", []string{"t", b.Ints("s", 5, 2, 4)})
			b.Node("Reshape", "rows", []string{"heads", b.Ints("s1", 5, 8)})
			b.Node("Gemm", "h", []string{"rows", b.Weight("w", 1, 8, 6)})
			b.Node("Reshape", "y", []string{"h", b.Ints("s2", 5, 1, 6)})
			b.Output("y", 5, 1, 6)
		}, "y", []int{5, 7, 6}},
		{"states of a recurrent layer", func(b *onnxtest.Builder) {
			b.Input("x", 5, 1, 4)
			h := b.Floats("h", []float32{1, 2, 3}, 1, 1, 3)
			b.Node("GRU", "y", []string{"x", b.Weight("w", 1, 1, 9, 4), b.Weight("r", 1, 1, 9, 3), "", "", h}, "hidden_size", 3)
			b.Output("y", 5, 1, 1, 3)
		}, "y", []int{5, 1, 7, 3}},
		{"states of a recurrent layer with two samples", func(b *onnxtest.Builder) {
			b.Input("x", 5, 2, 4)
			h := b.Floats("h", []float32{1, 2, 3, 1, 2, 3}, 1, 2, 3)
			b.Node("GRU", "y", []string{"x", b.Weight("w", 1, 1, 9, 4), b.Weight("r", 1, 1, 9, 3), "", "", h}, "hidden_size", 3)
			b.Output("y", 5, 1, 2, 3)
		}, "y", []int{5, 1, 7, 3}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := onnxtest.New(13, 1)
			c.make(b)
			g := build(t, b)
			free, err := g.FreeBatch(nil)
			if err != nil {
				t.Fatal(err)
			}
			sh, err := free.Infer(Binding{Batch: 7})
			if err != nil || len(sh.Problems) > 0 || len(sh.Unknown) > 0 {
				t.Fatal(err, sh.Problems, sh.Unknown)
			}
			if got := sh.Of[free.Value(c.out).Index].Shape; !op.EqualShape(got, c.want) {
				t.Errorf("shape at batch 7 is %v, want %v", got, c.want)
			}
			own, err := g.Infer(Binding{})
			if err != nil {
				t.Fatal(err)
			}
			again, err := free.Infer(Binding{Batch: g.FixedBatch()})
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range slices.Concat(free.Inputs, free.Outputs) {
				if got := sh.Of[v.Index].Shape; got[0] != 7 || v.BatchAxis != 0 {
					t.Errorf("%q is %v at batch 7, want it first", v.Name, got)
				}
			}
			if a, b := own.Of[g.Value(c.out).Index].Shape, again.Of[free.Value(c.out).Index].Shape; !op.EqualShape(a, b) {
				t.Errorf("shape at the file's batch is %v, was %v", b, a)
			}
		})
	}
}

// TestFreeBatchTrained: slices that are equal and trained become different ones, and stay bound to the file's batch.
func TestFreeBatchTrained(t *testing.T) {
	for _, c := range []struct {
		name  string
		start []float32
		bound bool
	}{
		{"learned", []float32{0.1, 0.2, 0.3, 0.1, 0.2, 0.3}, true},
		{"places, which nothing learns", []float32{1, 2, 3, 1, 2, 3}, false},
	} {
		b := onnxtest.New(13, 1)
		h := b.Node("MatMul", "h", []string{b.Input("x", 2, 3), b.Weight("w", 1, 3, 3)})
		h = b.Node("Add", "s", []string{h, b.Floats("start", c.start, 2, 3)})
		b.Output(b.Node("MatMul", "y", []string{h, b.Weight("v", 1, 3, 3)}), 2, 3)
		g := build(t, b)
		if trained := g.Roles()[g.Value("start")] == Trained; trained != c.bound {
			t.Fatalf("%s: trained is %v", c.name, trained)
		}
		if _, err := g.FreeBatch(nil); (err != nil) != c.bound {
			t.Errorf("%s: freed of the batch: %v", c.name, err)
		}
	}
}

func TestRoles(t *testing.T) {
	b := onnxtest.New(13, 1)
	x := b.Input("x", -1, 3, 6, 6)
	x = b.Node("Sub", "centred", []string{x, b.Floats("mean", []float32{1, 2, 3}, 3, 1, 1)})
	x = b.Node("Mul", "scaled", []string{x, b.Floats("inv", []float32{1, 2, 3}, 3, 1, 1)})
	x = b.ConvBlock(x, "c", 3, 4, 3, 1)
	x = b.Node("Mul", "layerscale", []string{x, b.Weight("gamma", 1, 4, 1, 1)})
	x = b.Node("Mul", "half", []string{x, b.Floats("scalar", []float32{0.5}, 1)})
	x = b.Node("Identity", "same", []string{x})
	w := b.Node("Identity", "w2", []string{b.Weight("d.weight", 1, 4, 4, 1, 1)})
	b.Node("Conv", "y", []string{x, w})
	b.Output("y", -1, 4, 6, 6)
	g := build(t, b)
	roles := g.Roles()
	want := map[string]Role{"mean": Fixed, "inv": Fixed, "c.weight": Trained, "c.bn.weight": Trained, "c.bn.bias": Trained,
		"c.bn.running_mean": Statistic, "c.bn.running_var": Statistic, "gamma": Trained, "scalar": Fixed, "d.weight": Trained}
	for name, r := range want {
		if got := roles[g.Value(name)]; got != r {
			t.Errorf("role of %s is %d, want %d", name, got, r)
		}
	}
	var names []string
	for _, w := range g.Weights() {
		names = append(names, w.Value.Name)
	}
	if got := strings.Join(names, " "); got != "c.weight d.weight" {
		t.Errorf("weights are %q", got)
	}
}

// TestGiven: what is added, multiplied with or looked up is a parameter where it may have been learned.
func TestGiven(t *testing.T) {
	low := float32(math.Inf(-1))
	for _, c := range []struct {
		name string
		// build uses c [2,2] on x [N,2,2], before or behind the last weights.
		build func(b *onnxtest.Builder, c string) string
		c     []float32
		want  Role
	}{
		{"bias of positions, added", func(b *onnxtest.Builder, c string) string { return head2(b, b.Node("Add", "", []string{"x", c})) }, []float32{0.3, -0.2, 1.7, 0}, Trained},
		{"bias of positions that is zero yet", func(b *onnxtest.Builder, c string) string { return head2(b, b.Node("Add", "", []string{"x", c})) }, []float32{0, 0, 0, 0}, Trained},
		{"mask of attention", func(b *onnxtest.Builder, c string) string { return head2(b, b.Node("Add", "", []string{"x", c})) }, []float32{0, low, 0, 0}, Fixed},
		{"finite mask of attention", func(b *onnxtest.Builder, c string) string { return head2(b, b.Node("Add", "", []string{"x", c})) }, []float32{0, -1e4, 0, 0}, Fixed},
		{"mask to multiply with", func(b *onnxtest.Builder, c string) string { return head2(b, b.Node("Mul", "", []string{"x", c})) }, []float32{1, 0, 1, 1}, Fixed},
		{"scale, not trained yet", func(b *onnxtest.Builder, c string) string { return head2(b, b.Node("Mul", "", []string{"x", c})) }, []float32{1, 1, 1, 1}, Trained},
		{"large scale, not trained yet", func(b *onnxtest.Builder, c string) string { return head2(b, b.Node("Mul", "", []string{"x", c})) }, []float32{20, 20, 20, 20}, Trained},
		{"sizes of boxes", func(b *onnxtest.Builder, c string) string { return head2(b, b.Node("Mul", "", []string{"x", c})) }, []float32{10, 13, 16, 30}, Fixed},
		{"grid", func(b *onnxtest.Builder, c string) string { return head2(b, b.Node("Add", "", []string{"x", c})) }, []float32{-0.5, 0.5, 1.5, 2.5}, Fixed},
		{"sizes that are looked up", func(b *onnxtest.Builder, c string) string {
			return head2(b, b.Node("Mul", "", []string{"x", b.Node("Gather", "", []string{c, b.Ints("rows", 0, 1)})}))
		}, []float32{10, 13, 16, 30}, Fixed},
		{"table", func(b *onnxtest.Builder, c string) string {
			return head2(b, b.Node("Add", "", []string{"x", b.Node("Gather", "", []string{c, b.Ints("rows", 1, 0)})}))
		}, []float32{0.1, 1.3, -1.6, 3}, Trained},
		{"number where a mask is", func(b *onnxtest.Builder, c string) string {
			keep := b.Node("Greater", "", []string{"x", b.Floats("zero", []float32{0})})
			return head2(b, b.Node("Where", "", []string{keep, "x", c}))
		}, []float32{-1e9, -1e9, -1e9, -1e9}, Fixed},
		{"what stands for a masked patch", func(b *onnxtest.Builder, c string) string {
			keep := b.Node("Greater", "", []string{"x", b.Floats("zero", []float32{0})})
			return head2(b, b.Node("Where", "", []string{keep, "x", c}))
		}, []float32{0.3, -0.1, 0.4, 1.2}, Trained},
		{"frequencies times places", func(b *onnxtest.Builder, c string) string {
			size := b.Node("Cast", "", []string{b.Node("Shape", "", []string{"x"})}, "to", 1)
			at := b.Node("Gather", "", []string{size, b.Ints("axis", 1)})
			return head2(b, b.Node("Mul", "", []string{"x", b.Node("Cos", "", []string{b.Node("Mul", "", []string{c, at})})}))
		}, []float32{1, 0.1, 0.01, 0.001}, Fixed},
		{"frequencies by the product of vectors", func(b *onnxtest.Builder, c string) string {
			size := b.Node("Cast", "", []string{b.Node("Shape", "", []string{"x"})}, "to", 1)
			at := b.Node("Gather", "", []string{size, b.Ints("axis", 1)})
			return head2(b, b.Node("Mul", "", []string{"x", b.Node("Sin", "", []string{b.Node("Einsum", "", []string{c, at}, "equation", "ij,k->ij")})}))
		}, []float32{1, 0.1, 0.01, 0.001}, Fixed},
		{"token, repeated by zeros", func(b *onnxtest.Builder, c string) string {
			zeros := b.Node("ConstantOfShape", "", []string{b.Node("Shape", "", []string{"x"})})
			return head2(b, b.Node("Concat", "", []string{"x", b.Node("Add", "", []string{zeros, c})}, "axis", 1))
		}, []float32{0.3, 0.1, -0.4, 0.2}, Trained},
		{"scaled weight", func(b *onnxtest.Builder, c string) string {
			return b.Node("MatMul", "", []string{"x", b.Node("Mul", "", []string{c, b.Weight("s", 1, 2, 1)})})
		}, []float32{1, 0.1, 0.01, 0.001}, Trained},
		{"boxes behind the last weights", func(b *onnxtest.Builder, c string) string {
			return b.Node("Mul", "", []string{b.Node("Exp", "", []string{head2(b, "x")}), c})
		}, []float32{0.11, 0.13, 0.7, 0.3}, Fixed},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := onnxtest.New(13, 1)
			b.Input("y", -1, 2, 2)
			b.Node("Relu", "x", []string{"y"})
			b.Output(c.build(b, b.Floats("c", c.c, 2, 2)), -1, 2, 2)
			g := build(t, b)
			if got := g.Roles()[g.Value("c")]; got != c.want {
				t.Errorf("role is %d, want %d", got, c.want)
			}
		})
	}
}

func head2(b *onnxtest.Builder, x string) string {
	return b.Node("MatMul", "", []string{x, b.Weight("w", 1, 2, 2)})
}

// TestMaskNodes writes masks as nodes, reads them back, replaces them, and folds
// them away again.
func TestMaskNodes(t *testing.T) {
	b := onnxtest.New(13, 1)
	x := b.Input("x", -1, 4)
	w := b.Weight("w", 1, 4, 3)
	b.Node("MatMul", "a", []string{x, w})
	b.Node("MatMul", "c", []string{x, w})
	b.Node("Add", "y", []string{"a", "c"})
	b.Output("y", -1, 3)
	g := build(t, b)
	keep := make([]bool, 12)
	for i := range keep {
		keep[i] = i%3 != 0
	}
	if err := g.WriteMasks(map[string][]bool{"w": keep}, AsNode); err != nil {
		t.Fatal(err)
	}
	reload := func() *Graph {
		data, err := g.File.Proto.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		m, err := onnxio.LoadBytes("masked.onnx", data)
		if err != nil {
			t.Fatal(err)
		}
		h, err := New(m, "masked.onnx")
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	g = reload()
	v := g.Value("w")
	if v.Mask == nil || len(g.Nodes) != 3 || g.Value("w.mask") != nil {
		t.Fatalf("the mask is not recognised: mask %v, %d nodes", v.Mask, len(g.Nodes))
	}
	for i, k := range v.Mask.Keep {
		if k != keep[i] {
			t.Fatalf("mask element %d is %v", i, k)
		}
	}
	if len(v.Uses) != 2 {
		t.Errorf("w has %d uses, want 2", len(v.Uses))
	}
	keep[1] = false
	if err := g.WriteMasks(map[string][]bool{"w": keep}, AsNode); err != nil {
		t.Fatal(err)
	}
	g = reload()
	if m := g.Value("w").Mask; m == nil || m.Keep[1] || g.Value("w").Init.F[1] == 0 {
		t.Fatalf("the replaced mask is %v", m)
	}
	if err := g.WriteMasks(nil, Fold); err != nil {
		t.Fatal(err)
	}
	g = reload()
	v = g.Value("w")
	if v.Mask != nil || len(g.Nodes) != 3 || len(g.File.Proto.Graph.Node) != 3 || len(g.File.Proto.Graph.Initializer) != 1 {
		t.Fatal("folding leaves traces of the mask node")
	}
	for i, x := range v.Init.F {
		if (x == 0) == keep[i] {
			t.Errorf("folded weight %d is %v, kept %v", i, x, keep[i])
		}
	}
}

func TestMACs(t *testing.T) {
	b := onnxtest.New(13, 1)
	x := b.Input("x", -1, 6, 8, 8)
	y := b.Node("Conv", "c", []string{x, b.Weight("w", 1, 10, 3, 3, 3)}, "group", 2, "strides", []int64{2, 2}, "pads", []int64{1, 1, 1, 1})
	y = b.Node("GlobalAveragePool", "g", []string{y})
	y = b.Node("Flatten", "f", []string{y})
	b.Node("Gemm", "z", []string{y, b.Weight("fc", 1, 7, 10)}, "transB", 1)
	b.Output("z", -1, 7)
	g := build(t, b)
	s, err := g.Infer(Binding{Batch: 2})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{"c": 2 * 10 * 4 * 4 * 3 * 9, "g": 0, "z": 2 * 7 * 10}
	for _, n := range g.Nodes {
		if w, ok := want[n.Name]; ok {
			if m, known := s.MACs(n); !known || m != w {
				t.Errorf("%s: %d MACs, want %d", n, m, w)
			}
		}
	}
}
