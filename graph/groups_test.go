package graph

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/internal/onnxtest"
	"github.com/onnxprune/onnxprune/onnxio"
)

// topology is a small model with the groups that it must have: "name×units", and the
// frozen axes "tensor/axis" of weights, without those that inputs and outputs freeze.
type topology struct {
	name   string
	build  func(b *onnxtest.Builder)
	groups string
	frozen string
}

// conv adds a Conv with weight <name>.w and bias <name>.b.
func conv(b *onnxtest.Builder, x, name string, in, out, k, group int) string {
	p := int64(k / 2)
	return b.Node("Conv", name, []string{x, b.Weight(name+".w", 1, out, in/group, k, k), b.Weight(name+".b", 1, out)},
		"kernel_shape", []int64{int64(k), int64(k)}, "pads", []int64{p, p, p, p}, "group", group)
}

func relu(b *onnxtest.Builder, x string) string { return b.Node("Relu", x+".relu", []string{x}) }

func linear(b *onnxtest.Builder, x, name string, in, out int) string {
	return b.Node("MatMul", name, []string{x, b.Weight(name+".w", 1, in, out)})
}

func image(b *onnxtest.Builder) string { return b.Input("x", -1, 3, 4, 4) }

// head ends a model whose last value has c channels.
func head(b *onnxtest.Builder, x string, c int) {
	conv(b, x, "head", c, 2, 1, 1)
	b.Output("head", -1, 2, 4, 4)
}

var topologies = []topology{
	{name: "chain", groups: "a.w×6", build: func(b *onnxtest.Builder) {
		head(b, relu(b, conv(b, image(b), "a", 3, 6, 3, 1)), 6)
	}},
	{name: "residual", groups: "a.w×6 c.w×4", build: func(b *onnxtest.Builder) {
		a := conv(b, image(b), "a", 3, 6, 3, 1)
		c := conv(b, relu(b, conv(b, a, "c", 6, 4, 3, 1)), "d", 4, 6, 3, 1)
		head(b, b.Node("Add", "sum", []string{a, c}), 6)
	}},
	// The shortcut of option A: channels are padded by 2 on both sides.
	{name: "padded shortcut", groups: "a.w×4 c.w×4", build: func(b *onnxtest.Builder) {
		a := conv(b, image(b), "a", 3, 4, 3, 1)
		s := b.Node("Pad", "pad", []string{a, b.Ints("pads", 0, 2, 0, 0, 0, 2, 0, 0)})
		head(b, b.Node("Add", "sum", []string{s, conv(b, a, "c", 4, 8, 3, 1)}), 8)
	}},
	{name: "dense concat", groups: "a.w×4 c.w×3", build: func(b *onnxtest.Builder) {
		a := conv(b, image(b), "a", 3, 4, 3, 1)
		c := conv(b, a, "c", 4, 3, 3, 1)
		head(b, b.Node("Concat", "join", []string{a, relu(b, c)}, "axis", 1), 7)
	}},
	{name: "slice", groups: "a.w×5 a.w~2×3", build: func(b *onnxtest.Builder) {
		a := conv(b, image(b), "a", 3, 8, 3, 1)
		s := b.Node("Slice", "part", []string{a, b.Ints("starts", 2), b.Ints("ends", 5), b.Ints("axes", 1)})
		b.Output(conv(b, s, "c", 3, 2, 1, 1), -1, 2, 4, 4)
		head(b, a, 8)
	}},
	{name: "slice with steps", groups: "", frozen: "a.w/0 a.b/0 head.w/1", build: func(b *onnxtest.Builder) {
		a := conv(b, image(b), "a", 3, 8, 3, 1)
		head(b, b.Node("Slice", "part", []string{a, b.Ints("starts", 0), b.Ints("ends", 8), b.Ints("axes", 1), b.Ints("steps", 2)}), 4)
	}},
	{name: "depthwise", groups: "a.w×6", build: func(b *onnxtest.Builder) {
		head(b, relu(b, conv(b, conv(b, image(b), "a", 3, 6, 3, 1), "d", 6, 6, 3, 6)), 6)
	}},
	// Channels within groups on the way in, whole groups, channels within groups on the
	// way out.
	{name: "grouped", groups: "a.w×2 a.w~2×3 g.w×4", build: func(b *onnxtest.Builder) {
		head(b, conv(b, conv(b, image(b), "a", 3, 6, 3, 1), "g", 6, 12, 3, 3), 12)
	}},
	{name: "shuffle", groups: "a.w×2 a.w~2×3", build: func(b *onnxtest.Builder) {
		a := conv(b, image(b), "a", 3, 6, 3, 1)
		r := b.Node("Reshape", "split", []string{a, b.Ints("to", 0, 2, 3, 4, 4)})
		r = b.Node("Transpose", "turn", []string{r}, "perm", []int64{0, 2, 1, 3, 4})
		head(b, b.Node("Reshape", "flat", []string{r, b.Ints("back", 0, 6, 4, 4)}), 6)
	}},
	// ShuffleNet's unit: places that are the same in both convolutions' groups go together.
	{name: "grouped behind a shuffle", groups: "a.w×6 g.w×2", build: func(b *onnxtest.Builder) { shuffled(b, 2, 4) }},
	// The second convolution's groups would lose unequal numbers of channels.
	{name: "grouped behind an uneven shuffle", groups: "a.w×4", frozen: "g.w/0 g.b/0 d.w/0 d.b/0 h.w/1", build: func(b *onnxtest.Builder) { shuffled(b, 3, 4) }},
	{name: "flatten", groups: "a.w×6", build: func(b *onnxtest.Builder) {
		f := b.Node("Flatten", "flat", []string{conv(b, image(b), "a", 3, 6, 3, 1)})
		b.Node("Gemm", "fc", []string{f, b.Weight("fc.w", 1, 5, 96), b.Weight("fc.b", 1, 5)}, "transB", 1)
		b.Output("fc", -1, 5)
	}},
	{name: "excite", groups: "a.w×6 s.w×3", build: func(b *onnxtest.Builder) {
		a := conv(b, image(b), "a", 3, 6, 3, 1)
		p := b.Node("GlobalAveragePool", "pool", []string{a})
		g := b.Node("Sigmoid", "gate", []string{conv(b, relu(b, conv(b, p, "s", 6, 3, 1, 1)), "e", 3, 6, 1, 1)})
		head(b, b.Node("Mul", "excite", []string{a, g}), 6)
	}},
	// Heads go as a whole, q and k together within heads, v by itself.
	{name: "attention", groups: "q.w×2 q.w~2×3 v.w×3", build: func(b *onnxtest.Builder) {
		attention(b, b.Input("x", -1, 5, 8), nil)
	}},
	// Behind exp, removed channels of q and k would not be zero in their product.
	{name: "exponential attention", groups: "q.w×2 v.w×3", frozen: "", build: func(b *onnxtest.Builder) {
		attention(b, b.Input("x", -1, 5, 8), func(v string) string { return b.Node("Exp", v+".exp", []string{v}) })
	}},
	{name: "sum of zeros", groups: "a.w×6", build: func(b *onnxtest.Builder) {
		a := relu(b, conv(b, image(b), "a", 3, 6, 3, 1))
		head(b, b.Node("ReduceSum", "sum", []string{a, b.Ints("axes", 1)}, "keepdims", 1), 1)
	}},
	{name: "sum of ones", groups: "", frozen: "a.w/0 a.b/0", build: func(b *onnxtest.Builder) {
		a := b.Node("Sigmoid", "one", []string{conv(b, image(b), "a", 3, 6, 3, 1)})
		head(b, b.Node("ReduceSum", "sum", []string{a, b.Ints("axes", 1)}, "keepdims", 1), 1)
	}},
	{name: "mean over channels", groups: "", frozen: "a.w/0 a.b/0 head.w/1", build: func(b *onnxtest.Builder) {
		a := conv(b, image(b), "a", 3, 6, 3, 1)
		m := b.Node("ReduceMean", "mean", []string{a}, "axes", []int64{1}, "keepdims", 1)
		head(b, b.Node("Sub", "centred", []string{a, m}), 6)
	}},
	{name: "softmax over channels", groups: "", frozen: "a.w/0 a.b/0 head.w/1", build: func(b *onnxtest.Builder) {
		head(b, b.Node("Softmax", "mix", []string{conv(b, image(b), "a", 3, 6, 3, 1)}, "axis", 1), 6)
	}},
	{name: "unknown operator", groups: "a.w×6", frozen: "c.w/0 c.b/0 head.w/all head.b/all", build: func(b *onnxtest.Builder) {
		a := conv(b, image(b), "a", 3, 6, 3, 1)
		head(b, b.Node("Mystery", "mystery", []string{conv(b, a, "c", 6, 4, 1, 1)}), 4)
	}},
	{name: "shared weight", groups: "a.w×6", build: func(b *onnxtest.Builder) {
		a := conv(b, image(b), "a", 3, 6, 3, 1)
		w := b.Weight("s.w", 1, 6, 6, 1, 1)
		s := b.Node("Conv", "s1", []string{a, w})
		head(b, b.Node("Conv", "s2", []string{relu(b, s), w}), 6)
	}},
	{name: "weight behind Transpose and Reshape", groups: "t.w×6", build: func(b *onnxtest.Builder) {
		w := b.Node("Transpose", "w1", []string{b.Weight("t.w", 1, 3, 6)}, "perm", []int64{1, 0})
		w = b.Node("Reshape", "w2", []string{w, b.Ints("to", 6, 3, 1, 1)})
		head(b, b.Node("Conv", "a", []string{image(b), w}), 6)
	}},
	// One matrix holds what computes a and c, as attention has its projections.
	{name: "weight behind Slice", groups: "t.w×6 t.w~2×4", build: func(b *onnxtest.Builder) {
		w := b.Weight("t.w", 1, 10, 8)
		x := b.Input("x", -1, 8)
		part := func(name string, lo, hi int64) string {
			w := b.Node("Slice", name+".w", []string{w, b.Ints(name+".lo", lo), b.Ints(name+".hi", hi), b.Ints(name+".axis", 0)})
			return b.Node("Gemm", name, []string{x, w}, "transB", 1)
		}
		b.Output(linear(b, relu(b, part("a", 0, 6)), "one", 6, 2), -1, 2)
		b.Output(linear(b, relu(b, part("c", 6, 10)), "two", 4, 2), -1, 2)
	}},
	// Hidden units with their rows of every gate, and features that go in.
	{name: "recurrent", groups: "i.w×6 l.w×4", build: func(b *onnxtest.Builder) {
		x := b.Node("Transpose", "steps", []string{relu(b, linear(b, b.Input("x", -1, 5, 3), "i", 3, 6))}, "perm", []int64{1, 0, 2})
		l := b.Node("LSTM", "l", []string{x, b.Weight("l.w", 1, 1, 16, 6), b.Weight("l.r", 1, 1, 16, 4), b.Weight("l.b", 1, 1, 32)}, "hidden_size", 4)
		y := b.Node("Squeeze", "y", []string{l, b.Ints("direction", 1)})
		b.Output(linear(b, y, "head", 4, 2), 5, -1, 2)
	}},
	// States of zeros, of a shape that has the batch from the data and the hidden size as a number.
	{name: "recurrent from zeros", groups: "i.w×6 l.w×4", build: func(b *onnxtest.Builder) {
		x := b.Node("Transpose", "steps", []string{relu(b, linear(b, b.Input("x", -1, 5, 3), "i", 3, 6))}, "perm", []int64{1, 0, 2})
		n := b.Node("Gather", "n", []string{b.Node("Shape", "shape", []string{x}), b.Ints("first", 1)})
		shape := b.Node("Concat", "state", []string{b.Ints("directions", 1), n, b.Ints("hidden", 4)}, "axis", 0)
		h, c := b.Node("ConstantOfShape", "h", []string{shape}), b.Node("ConstantOfShape", "c", []string{shape})
		l := b.Node("LSTM", "l", []string{x, b.Weight("l.w", 1, 1, 16, 6), b.Weight("l.r", 1, 1, 16, 4), b.Weight("l.b", 1, 1, 32), "", h, c}, "hidden_size", 4)
		y := b.Node("Squeeze", "y", []string{l, b.Ints("direction", 1)})
		b.Output(linear(b, y, "head", 4, 2), 5, -1, 2)
	}},
	// The same shape read by something else, which wants the four.
	{name: "recurrent, size shared", groups: "i.w×6", frozen: "l.w/1 l.r/1 l.r/2 head.w/0", build: func(b *onnxtest.Builder) {
		x := b.Node("Transpose", "steps", []string{relu(b, linear(b, b.Input("x", -1, 5, 3), "i", 3, 6))}, "perm", []int64{1, 0, 2})
		n := b.Node("Gather", "n", []string{b.Node("Shape", "shape", []string{x}), b.Ints("first", 1)})
		shape := b.Node("Concat", "state", []string{b.Ints("directions", 1), n, b.Ints("hidden", 4)}, "axis", 0)
		h := b.Node("ConstantOfShape", "h", []string{shape})
		l := b.Node("LSTM", "l", []string{x, b.Weight("l.w", 1, 1, 16, 6), b.Weight("l.r", 1, 1, 16, 4), "", "", h}, "hidden_size", 4)
		y := b.Node("Squeeze", "y", []string{l, b.Ints("direction", 1)})
		b.Output(linear(b, y, "head", 4, 2), 5, -1, 2)
		b.Output(b.Node("Add", "other", []string{b.Node("ConstantOfShape", "zeros", []string{shape}), b.Floats("one", []float32{1}, 1)}), 1, -1, 4)
	}},
	{name: "several outputs", groups: "a.w×6", frozen: "", build: func(b *onnxtest.Builder) {
		a := conv(b, image(b), "a", 3, 6, 3, 1)
		c := conv(b, a, "c", 6, 4, 1, 1)
		b.Output(c, -1, 4, 4, 4)
		b.Output(conv(b, a, "d", 6, 4, 1, 1), -1, 4, 4, 4)
	}},
	{name: "blocks to space", groups: "a.w×3", build: func(b *onnxtest.Builder) {
		a := conv(b, image(b), "a", 3, 12, 3, 1)
		c := conv(b, b.Node("DepthToSpace", "wide", []string{a}, "blocksize", 2), "head", 3, 2, 1, 1)
		b.Output(c, -1, 2, 8, 8)
	}},
	// The scale is computed from a shape: it may not change.
	{name: "shape in the computation", groups: "", frozen: "a.w/0 a.b/0 head.w/1", build: func(b *onnxtest.Builder) {
		a := conv(b, image(b), "a", 3, 6, 3, 1)
		n := b.Node("Gather", "channels", []string{b.Node("Shape", "shape", []string{a}), b.Ints("one", 1)})
		f := b.Node("Sqrt", "scale", []string{b.Node("Cast", "float", []string{n}, "to", 1)})
		head(b, b.Node("Div", "scaled", []string{a, f}), 6)
	}},
	{name: "shape in a target", groups: "a.w×6", build: func(b *onnxtest.Builder) {
		a := conv(b, image(b), "a", 3, 6, 3, 1)
		n := b.Node("Gather", "channels", []string{b.Node("Shape", "shape", []string{a}), b.Ints("one", 1)})
		to := b.Node("Concat", "to", []string{b.Ints("batch", 0), n, b.Ints("rest", -1)}, "axis", 0)
		flat := b.Node("Reshape", "flat", []string{a, to})
		head(b, b.Node("Reshape", "square", []string{flat, b.Ints("back", 0, 6, 4, 4)}), 6)
	}},
}

// shuffled is a grouped convolution, a shuffle of its channels, of which every group has
// per, a depthwise convolution and a grouped one, with a residual.
func shuffled(b *onnxtest.Builder, groups, per int) {
	n := groups * per
	a := conv(b, image(b), "a", 3, 12, 3, 1)
	x := relu(b, conv(b, a, "g", 12, n, 1, groups))
	x = b.Node("Reshape", "split", []string{x, b.Ints("to", 0, int64(groups), int64(per), 4, 4)})
	x = b.Node("Transpose", "turn", []string{x}, "perm", []int64{0, 2, 1, 3, 4})
	x = b.Node("Reshape", "flat", []string{x, b.Ints("back", 0, int64(n), 4, 4)})
	x = conv(b, conv(b, x, "d", n, n, 3, n), "h", n, 12, 1, groups)
	head(b, b.Node("Add", "sum", []string{a, x}), 12)
}

// attention adds two heads of 3 places; f, if given, is applied to q and k.
func attention(b *onnxtest.Builder, x string, f func(string) string) {
	heads := func(name string, perm ...int64) string {
		y := linear(b, x, name, 8, 6)
		if f != nil && name != "v" {
			y = f(y)
		}
		y = b.Node("Reshape", name+".heads", []string{y, b.Ints(name+".to", 0, 5, 2, 3)})
		return b.Node("Transpose", name+".turned", []string{y}, "perm", perm)
	}
	s := b.Node("MatMul", "score", []string{heads("q", 0, 2, 1, 3), heads("k", 0, 2, 3, 1)})
	m := b.Node("MatMul", "mixed", []string{b.Node("Softmax", "softmax", []string{s}, "axis", -1), heads("v", 0, 2, 1, 3)})
	m = b.Node("Transpose", "back", []string{m}, "perm", []int64{0, 2, 1, 3})
	m = b.Node("Reshape", "flat", []string{m, b.Ints("flat.to", 0, 5, 6)})
	b.Output(linear(b, m, "out", 6, 4), -1, 5, 4)
}

// TestTopologies finds the groups of small models.
func TestTopologies(t *testing.T) {
	for _, c := range topologies {
		t.Run(c.name, func(t *testing.T) {
			b := onnxtest.New(13, 1)
			c.build(b)
			g, gs := groupsOf(t, b)
			var groups, frozen []string
			for _, gr := range gs.Groups {
				groups = append(groups, fmt.Sprintf("%s×%d", gr.Name, gr.Width))
			}
			for _, f := range gs.Frozen {
				axis := fmt.Sprint(f.Axis)
				if f.Axis < 0 {
					axis = "all"
				}
				if f.Reason != "is a graph input" && f.Reason != "is a graph output" {
					frozen = append(frozen, f.Value.Name+"/"+axis)
				}
			}
			if got := strings.Join(groups, " "); got != c.groups {
				t.Errorf("groups %s, want %s", got, c.groups)
			}
			if c.frozen != "" || len(gs.Groups) == 0 {
				slices.Sort(frozen)
				want := strings.Fields(c.frozen)
				slices.Sort(want)
				if !slices.Equal(frozen, want) {
					t.Errorf("frozen %v, want %v", frozen, want)
				}
			}
			for k := range gs.Groups {
				checkUnits(t, g, gs, k)
			}
		})
	}
}

func groupsOf(t testing.TB, b *onnxtest.Builder) (*Graph, *Groups) {
	t.Helper()
	g, err := New(b.Model(t), "test.onnx")
	if err != nil {
		t.Fatal(err)
	}
	gs, err := g.Groups(nil)
	if err != nil {
		t.Fatal(err)
	}
	return g, gs
}

// checkUnits removes every unit alone: the plan must hold, and the file must then have
// the parameters that were counted.
func checkUnits(t *testing.T, g *Graph, gs *Groups, k int) {
	t.Helper()
	for u := range gs.Groups[k].Width {
		r := gs.NewRemoval()
		if r.Empties(k, u) {
			continue
		}
		r.Set(k, u, true)
		p, err := gs.Plan(r.Removed())
		if err != nil {
			t.Errorf("unit %d of %s: %v", u, gs.Groups[k].Name, err)
			continue
		}
		m, err := g.File.Clone()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Apply(m); err != nil {
			t.Fatal(err)
		}
		cut, err := New(m, "cut.onnx")
		if err != nil {
			t.Fatal(err)
		}
		if cut.Params() != r.Params() {
			t.Errorf("unit %d of %s: counted %d parameters, the file has %d", u, gs.Groups[k].Name, r.Params(), cut.Params())
		}
	}
}

// TestSharedTargetGetsACopy: two Reshape nodes share a target and only one of them
// changes.
func TestSharedTargetGetsACopy(t *testing.T) {
	b := onnxtest.New(13, 1)
	x := image(b)
	a := conv(b, x, "a", 3, 3, 3, 1)
	to := b.Ints("to", 0, 3, 16)
	one := b.Node("Reshape", "one", []string{a, to})
	two := b.Node("Reshape", "two", []string{x, to})
	b.Output(two, -1, 3, 16)
	b.Output(linear(b, b.Node("Transpose", "turn", []string{one}, "perm", []int64{0, 2, 1}), "head", 3, 2), -1, 16, 2)
	g, gs := groupsOf(t, b)
	r := gs.NewRemoval()
	r.Set(0, 1, true)
	p, err := gs.Plan(r.Removed())
	if err != nil {
		t.Fatal(err)
	}
	m, err := g.File.Clone()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(m); err != nil {
		t.Fatal(err)
	}
	cut, err := New(m, "cut.onnx")
	if err != nil {
		t.Fatal(err)
	}
	if got := cut.Value("to").Init.I; !slices.Equal(got, []int64{0, 3, 16}) {
		t.Errorf("the shared target became %v", got)
	}
	if got := cut.Nodes[1].In[1]; got.Name != "one.cut" || !slices.Equal(got.Init.I, []int64{0, 2, 16}) {
		t.Errorf("node one reads %s %v", got.Name, got.Init.I)
	}
	if cut.Nodes[2].In[1].Name != "to" {
		t.Errorf("node two reads %s", cut.Nodes[2].In[1].Name)
	}
}

// TestCutKeepsTheRest: what a removal does not touch keeps its bytes: names, doc
// strings, unknown fields, the symbol of the batch; declared shapes follow.
func TestCutKeepsTheRest(t *testing.T) {
	b := onnxtest.New(13, 1)
	a := conv(b, image(b), "a", 3, 6, 3, 1)
	head(b, a, 6)
	doc := "the first layer"
	b.Proto.Graph.Node[0].DocString = &doc
	b.Proto.Graph.Initializer[0].DocString = &doc
	info := onnxio.NewTensorValueInfo("a", 1, []int64{-1, 6, 4, 4})
	n := "N"
	info.Type.GetTensorType().Shape.Dim[0].Value = &onnxio.TensorShapeProto_Dimension_DimParam{DimParam: n}
	b.Proto.Graph.ValueInfo = append(b.Proto.Graph.ValueInfo, info)
	g, gs := groupsOf(t, b)
	before := g.File.Bytes()
	r := gs.NewRemoval()
	p, err := gs.Plan(r.Removed())
	if err != nil {
		t.Fatal(err)
	}
	m, err := g.File.Clone()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(m); err != nil {
		t.Fatal(err)
	}
	if string(m.Bytes()) != string(before) {
		t.Error("removing nothing changes bytes")
	}
	r.Set(0, 2, true)
	if p, err = gs.Plan(r.Removed()); err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(m); err != nil {
		t.Fatal(err)
	}
	pg := m.Proto.Graph
	dims := pg.ValueInfo[0].GetType().GetTensorType().GetShape().Dim
	if pg.Node[0].GetDocString() != doc || pg.Initializer[0].GetDocString() != doc || dims[0].GetDimParam() != n || dims[1].GetDimValue() != 5 {
		t.Errorf("doc strings %q, %q, declared shape %v", pg.Node[0].GetDocString(), pg.Initializer[0].GetDocString(), dims)
	}
	if dims := pg.Input[0].GetType().GetTensorType().GetShape().Dim; dims[1].GetDimValue() != 3 {
		t.Errorf("input shape %v", dims)
	}
	w := m.Initializer("a.w")
	if !slices.Equal(w.Dims, []int64{5, 3, 3, 3}) {
		t.Errorf("weight has dims %v", w.Dims)
	}
	_, was, _ := g.File.Float32s(g.File.Initializer("a.w"))
	_, is, err := m.Float32s(w)
	if err != nil || !slices.Equal(is, append(slices.Clone(was[:54]), was[81:]...)) {
		t.Error("the wrong filter was removed", err)
	}
}

// TestGroupsAreDeterministic: two analyses give the same groups, in the same order.
func TestGroupsAreDeterministic(t *testing.T) {
	text := func() string {
		b := onnxtest.New(13, 1)
		topologies[8].build(b)
		_, gs := groupsOf(t, b)
		s := ""
		for _, gr := range gs.Groups {
			s += fmt.Sprint(gr.Name, gr.Width)
			for _, m := range gr.Members {
				s += fmt.Sprint(m.Value.Name, m.Axis, m.Index, m.Weight, m.Produces)
			}
		}
		return s
	}
	want := text()
	for range 5 {
		if got := text(); got != want {
			t.Fatalf("%s\n%s", got, want)
		}
	}
}

// TestNodeThatIsNotUnderstood: a convolution of four spatial axes freezes what it
// touches, and the rest can be pruned.
func TestNodeThatIsNotUnderstood(t *testing.T) {
	b := onnxtest.New(13, 1)
	a := conv(b, image(b), "a", 3, 6, 3, 1)
	c := conv(b, a, "c", 6, 4, 1, 1)
	deep := b.Node("Unsqueeze", "deep", []string{c, b.Ints("axes", 2, 3)})
	y := b.Node("Conv", "volume", []string{deep, b.Weight("v.w", 1, 2, 4, 1, 1, 1, 1)})
	b.Output(y, -1, 2, 1, 1, 4, 4)
	_, gs := groupsOf(t, b)
	if len(gs.Groups) != 1 || gs.Groups[0].Name != "a.w" {
		t.Errorf("groups %+v", gs.Groups)
	}
	for _, f := range gs.Frozen {
		if f.Value.Name == "c.w" && f.Axis == 0 && f.Node != nil && f.Node.Name == "volume" && strings.Contains(f.Reason, "1 to 3 spatial axes") {
			return
		}
	}
	t.Errorf("frozen %+v", gs.Frozen)
}

// TestWeightsInConstantNodes: weights that are Constant nodes count, are pruned, and
// stay Constant nodes.
func TestWeightsInConstantNodes(t *testing.T) {
	b := onnxtest.New(13, 1)
	x := image(b)
	constant := func(name string, shape ...int) string {
		b.Weight(name, 1, shape...)
		inits := b.Proto.Graph.Initializer
		last := inits[len(inits)-1]
		b.Proto.Graph.Initializer = inits[:len(inits)-1]
		return b.Node("Constant", name, nil, "value", last)
	}
	a := b.Node("Conv", "a", []string{x, constant("a.w", 6, 3, 1, 1), constant("a.b", 6)})
	b.Output(b.Node("Conv", "c", []string{relu(b, a), constant("c.w", 2, 6, 1, 1)}), -1, 2, 4, 4)
	g, gs := groupsOf(t, b)
	if n := g.Params(); n != 18+6+12 {
		t.Errorf("%d parameters", n)
	}
	if len(g.Weights()) != 2 || len(gs.Groups) != 1 || gs.Groups[0].Width != 6 {
		t.Fatalf("weights %d, groups %+v", len(g.Weights()), gs.Groups)
	}
	checkUnits(t, g, gs, 0)
	if err := g.WriteMasks(map[string][]bool{"a.w": make([]bool, 18)}, AsNode); err != nil {
		t.Fatal(err)
	}
	again, err := New(g.File, "masked.onnx")
	if err != nil {
		t.Fatal(err)
	}
	if v := again.Value("a.w"); v == nil || v.Mask == nil {
		t.Error("the mask of a constant is not recognised")
	}
}
