package graph

import (
	"slices"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/internal/onnxtest"
	"github.com/onnxprune/onnxprune/onnxio"
)

// TestUnbatched: what tells an image from a batch of rows.
func TestUnbatched(t *testing.T) {
	for _, c := range []struct {
		name  string
		shape []int64
		first func(b *onnxtest.Builder) string
		want  bool
	}{
		{"mean of every channel", []int64{3, 8, 8}, func(b *onnxtest.Builder) string {
			return b.Node("Sub", "a", []string{"x", b.Floats("mean", []float32{1, 2, 3}, 3, 1, 1)})
		}, true},
		{"mean of every channel, as a batch", []int64{3, 8, 8}, func(b *onnxtest.Builder) string {
			return b.Node("Sub", "a", []string{"x", b.Floats("mean", []float32{1, 2, 3}, 1, 3, 1, 1)})
		}, true},
		{"scale on the left, behind a number", []int64{3, 8, 8}, func(b *onnxtest.Builder) string {
			b.Node("Div", "d", []string{"x", b.Floats("max", []float32{255})})
			return b.Node("Mul", "a", []string{b.Floats("scale", []float32{1, 2, 3}, 3, 1, 1), "d"})
		}, true},
		{"a batch axis put before it", []int64{1, 8, 8}, func(b *onnxtest.Builder) string {
			return b.Node("Unsqueeze", "a", []string{"x", b.Ints("axes", 0)})
		}, true},
		{"an axis put behind the batch", []int64{3, 8, 8}, func(b *onnxtest.Builder) string {
			return b.Node("Unsqueeze", "a", []string{"x", b.Ints("axes", 1)})
		}, false},
		{"a number", []int64{3, 8, 8}, func(b *onnxtest.Builder) string {
			return b.Node("Sub", "a", []string{"x", b.Floats("mean", []float32{1})})
		}, false},
		{"one row, with a mean for its only channel", []int64{1, 8, 8}, func(b *onnxtest.Builder) string {
			return b.Node("Sub", "a", []string{"x", b.Floats("mean", []float32{1}, 1, 1, 1)})
		}, false},
		{"open batch", []int64{-1, 8, 8}, func(b *onnxtest.Builder) string {
			return b.Node("Unsqueeze", "a", []string{"x", b.Ints("axes", 0)})
		}, false},
		{"batch of images", []int64{3, 3, 8, 8}, func(b *onnxtest.Builder) string {
			return b.Node("Sub", "a", []string{"x", b.Floats("mean", []float32{1, 2, 3}, 3, 1, 1)})
		}, false},
		{"another operator between", []int64{3, 8, 8}, func(b *onnxtest.Builder) string {
			b.Node("Softmax", "s", []string{"x"})
			return b.Node("Sub", "a", []string{"s", b.Floats("mean", []float32{1, 2, 3}, 3, 1, 1)})
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := onnxtest.New(13, 1)
			b.Input("x", c.shape...)
			b.Output(c.first(b), c.shape...)
			g := build(t, b)
			in := g.Inputs[0]
			if (in.BatchAxis < 0) != c.want {
				t.Fatalf("the batch is axis %d, one sample is %v", in.BatchAxis, c.want)
			}
			row, at2 := 2, 2
			if c.want {
				row, at2 = 3, int(c.shape[0])
			} else if len(c.shape) == 4 {
				row = 3
			}
			shape, err := Binding{Batch: 2}.InputShape(in)
			if err != nil || shape[0] != at2 || len(in.Row()) != row {
				t.Errorf("shape at batch 2 is %v, a row has %d axes, want [%d,…] and %d: %v", shape, len(in.Row()), at2, row, err)
			}
			if !c.want {
				return
			}
			_, err = g.FreeBatch(nil)
			if err == nil || !strings.Contains(err.Error(), `input "x" is one sample without an axis for the batch: the file runs at batch 1 only`) {
				t.Errorf("freeing the batch: %v", err)
			}
			if g.FixedBatch() != 1 || g.BatchSize(nil, 64) != 1 {
				t.Errorf("batch is %d, and %d where 64 is wanted, want 1", g.FixedBatch(), g.BatchSize(nil, 64))
			}
		})
	}
}

// detector has two levels with a head each, of which the first feeds a selection that
// depends on data, and the second an operator that is not known, with a weight behind it.
func detector(b *onnxtest.Builder) {
	x := relu(b, conv(b, image(b), "stem", 3, 8, 3, 1))
	scores := b.Node("Sigmoid", "scores", []string{conv(b, x, "near", 8, 2, 1, 1)})
	b.Node("NonZero", "picked", []string{b.Node("Greater", "on", []string{scores, b.Floats("half", []float32{0.5})})})
	far := relu(b, conv(b, x, "far", 8, 4, 1, 1))
	pooled := b.Node("Mystery", "pooled", []string{far})
	b.Output(conv(b, pooled, "late", 4, 4, 1, 1), -1, 4, 4, 4)
	b.Output("picked", 4, -1)
	b.Output(conv(b, x, "plain", 8, 3, 1, 1), -1, 3, 4, 4)
}

func names(vs []*Value) string {
	var all []string
	for _, v := range vs {
		all = append(all, v.Name)
	}
	return strings.Join(all, " ")
}

// TestEnds: the output that can be run, the head before what is selected, and what the
// unknown operator reads.
func TestEnds(t *testing.T) {
	b := onnxtest.New(13, 1)
	detector(b)
	g := build(t, b)
	ends, lost, err := g.Ends(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := names(ends), "plain near far.relu"; got != want {
		t.Errorf("ends are %s, want %s", got, want)
	}
	if got, want := names(lost), "late picked"; got != want {
		t.Errorf("lost are %s, want %s", got, want)
	}

	b = onnxtest.New(13, 1)
	b.Output(conv(b, image(b), "stem", 3, 8, 3, 1), -1, 8, 4, 4)
	if ends, lost, err := build(t, b).Ends(nil); err != nil || ends != nil || lost != nil {
		t.Errorf("of a graph that can be run: %s, %s, %v", names(ends), names(lost), err)
	}
}

// TestFrontier: outputs that can be run, and what goes into nodes that cannot.
func TestFrontier(t *testing.T) {
	b := onnxtest.New(13, 1)
	detector(b)
	front, until, err := build(t, b).Frontier(Binding{Batch: 2})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := names(front.Outputs), "plain on far.relu"; got != want {
		t.Errorf("outputs are %s, want %s", got, want)
	}
	if want := []string{`node "picked" (NonZero)`, `node "pooled" (Mystery)`}; !slices.Equal(until, want) {
		t.Errorf("until %q, want %q", until, want)
	}
}

func TestHeads(t *testing.T) {
	b := onnxtest.New(13, 1)
	detector(b)
	g := build(t, b)
	g.Nodes[0].Name = "first"
	h, err := g.Heads([]string{"scores", "first", "picked"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := names(h.Outputs), "scores stem picked"; got != want {
		t.Errorf("outputs are %s, want %s", got, want)
	}
	if got, want := names(g.Outputs), "late picked plain"; got != want {
		t.Errorf("the graph itself has now %s", got)
	}
	again, err := g.SameOutputs(h)
	if err != nil || names(again.Outputs) != names(h.Outputs) {
		t.Errorf("the same outputs are %s: %v", names(again.Outputs), err)
	}
	if same, err := h.SameOutputs(again); err != nil || same != h {
		t.Errorf("a graph with the outputs already is another one: %v", err)
	}
	_, err = g.Heads([]string{"nothing", "x", "half", "near", "near"})
	for _, want := range []string{`no output, value or node "nothing"`, `"x" is no result of a node`, `"half" is no result of a node`, `"near" is named twice`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, wants %s in it", err, want)
		}
	}
}

// TestBatchAxes: where inputs have the batch, beside each other and by what reads them.
func TestBatchAxes(t *testing.T) {
	type input struct {
		name string
		dims []any // numbers, names, nil for neither
	}
	lstm := func(b *onnxtest.Builder, x, h string) string {
		return b.Node("LSTM", "y", []string{x, b.Weight("w", 1, 1, 12, 4), b.Weight("r", 1, 1, 12, 3), "", "", h, h}, "hidden_size", 3)
	}
	for _, c := range []struct {
		name   string
		inputs []input
		read   func(b *onnxtest.Builder) string
		want   []int
		fixed  int
	}{
		{"named on axis 0", []input{{"x", []any{"N", 3, "H"}}}, nil, []int{0}, 0},
		{"fixed", []input{{"x", []any{4, 3, 8}}}, nil, []int{0}, 4},
		{"a name with batch in it", []input{{"x", []any{12, "Batch_size", 8}}}, nil, []int{1}, 0},
		{"two such names", []input{{"x", []any{"batch", "batch_2", 8}}}, nil, []int{0}, 0},
		{"an input of that name, without names for its axes", []input{{"batch_x", []any{1, nil, 8}}}, nil, []int{0}, 1},
		{"names that an exporter made of the input's", []input{{"batch", []any{1, "batch_dynamic_axes_1", 8}}}, nil, []int{0}, 1},
		{"the other input's name", []input{{"x", []any{"N", 3}}, {"h", []any{2, "N", 6}}}, nil, []int{0, 1}, 0},
		{"the other input's name, whatever comes first", []input{{"h", []any{2, "N", 6}}, {"x", []any{"N", 3}}}, nil, []int{1, 0}, 0},
		{"no names", []input{{"x", []any{nil, 3}}, {"h", []any{2, nil, 6}}}, nil, []int{0, 1}, 0},
		{"another open axis with a name", []input{{"x", []any{"N", 3}}, {"h", []any{2, "T", 6}}}, nil, []int{0, -1}, 1},
		{"a table", []input{{"x", []any{"N", 3}}, {"table", []any{64, 3}}}, nil, []int{0, -1}, 1},
		{"one row beside an open batch", []input{{"x", []any{"N", 3}}, {"scale", []any{1, 3}}}, nil, []int{0, 0}, 0},
		{"two names for the batch", []input{{"x", []any{"N", 3}}, {"y", []any{"M", 3}}}, nil, []int{0, 0}, 0},
		{"the number of the other input's batch", []input{{"x", []any{1, 3}}, {"h", []any{2, 1, 6}}}, nil, []int{0, 1}, 1},
		{"that number twice", []input{{"x", []any{1, 3}}, {"h", []any{2, 1, 1}}}, nil, []int{0, -1}, 1},
		{"no axis", []input{{"x", []any{"N", 3}}, {"rate", nil}}, nil, []int{0, -1}, 0},
		{"sequence first", []input{{"x", []any{7, 1, 4}}}, func(b *onnxtest.Builder) string { return lstm(b, "x", "") }, []int{1}, 1},
		{"sequence first behind a layer and half of it", []input{{"x", []any{7, 1, 5}}}, func(b *onnxtest.Builder) string {
			a := b.Node("MatMul", "a", []string{"x", b.Weight("u", 1, 5, 4)})
			a = b.Node("Add", "c", []string{b.Weight("v", 1, 4), a})
			return lstm(b, b.Node("Slice", "d", []string{a, b.Ints("from", 0), b.Ints("to", 3), b.Ints("axes", 0)}), "")
		}, []int{1}, 1},
		{"batch first", []input{{"x", []any{1, 7, 4}}}, func(b *onnxtest.Builder) string {
			return lstm(b, b.Node("Transpose", "t", []string{"x"}, "perm", []int64{1, 0, 2}), "")
		}, []int{0}, 1},
		{"batch first by layout", []input{{"x", []any{1, 7, 4}}}, func(b *onnxtest.Builder) string {
			return b.Node("LSTM", "y", []string{"x", b.Weight("w", 1, 1, 12, 4), b.Weight("r", 1, 1, 12, 3)}, "hidden_size", 3, "layout", 1)
		}, []int{0}, 1},
		{"states of two layers", []input{{"x", []any{1, 7, 4}}, {"h", []any{2, 1, 3}}}, func(b *onnxtest.Builder) string {
			x := b.Node("Transpose", "t", []string{"x"}, "perm", []int64{1, 0, 2})
			one := b.Node("Gather", "one", []string{"h", b.Ints("second", 1)}, "axis", 0)
			return lstm(b, x, one)
		}, []int{0, 1}, 1},
		{"states taken apart", []input{{"x", []any{1, 7, 4}}, {"h", []any{2, 1, 3}}}, func(b *onnxtest.Builder) string {
			x := b.Node("Transpose", "t", []string{"x"}, "perm", []int64{1, 0, 2})
			b.Node("Slice", "s", []string{"h", b.Ints("from", 0), b.Ints("to", 1), b.Ints("axes", 0)})
			b.Node("Squeeze", "q", []string{"s", b.Ints("axis", 0)})
			return lstm(b, x, b.Node("Unsqueeze", "u", []string{"q", b.Ints("axis2", 0)}))
		}, []int{0, 1}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := onnxtest.New(13, 1)
			if strings.Contains(c.name, "layout") {
				b = onnxtest.New(14, 1)
			}
			for _, in := range c.inputs {
				b.Input(in.name, make([]int64, len(in.dims))...)
				shape := b.Proto.Graph.Input[len(b.Proto.Graph.Input)-1].Type.GetTensorType().Shape
				for k, d := range in.dims {
					shape.Dim[k] = &onnxio.TensorShapeProto_Dimension{}
					switch d := d.(type) {
					case int:
						shape.Dim[k].Value = &onnxio.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}
					case string:
						shape.Dim[k].Value = &onnxio.TensorShapeProto_Dimension_DimParam{DimParam: d}
					}
				}
			}
			out := b.Node("Relu", "out", []string{c.inputs[0].name})
			if c.read != nil {
				out = c.read(b)
			}
			b.Output(out)
			g := build(t, b)
			var got []int
			for _, in := range g.Inputs {
				got = append(got, in.BatchAxis)
				if d, ok := in.BatchDim(); ok && (len(in.Row()) != len(in.Dims)-1 || d != in.Dims[in.BatchAxis]) || !ok && len(in.Row()) != len(in.Dims) {
					t.Errorf("input %q %v has the batch %v, %v and rows %v", in.Name, in.Dims, d, ok, in.Row())
				}
			}
			if !slices.Equal(got, c.want) || g.FixedBatch() != c.fixed {
				t.Errorf("batch axes are %v, want %v; the file's batch is %d, want %d", got, c.want, g.FixedBatch(), c.fixed)
			}
		})
	}
}
