package graph

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/internal/onnxtest"
	"github.com/onnxprune/onnxprune/onnxio"
)

// TestUntie: which parameters a file shares only because they are equal. want lists, for every Conv and BatchNormalization, the
// initializers that it reads.
func TestUntie(t *testing.T) {
	zeros := func(b *onnxtest.Builder, name string) { b.Floats(name, make([]float32, 4), 4) }
	// pair is two convolutions in a row, with the biases given.
	pair := func(b *onnxtest.Builder, b1, b2 string) {
		b.Weight("w1", 1, 4, 3, 1, 1)
		b.Weight("w2", 1, 4, 4, 1, 1)
		b.Node("Conv", "c1", []string{image(b), "w1", b1})
		b.Node("Conv", "c2", []string{"c1", "w2", b2})
		b.Output("c2", -1, 4, 4, 4)
	}
	for _, c := range []struct {
		name  string
		build func(b *onnxtest.Builder)
		want  string
		added int
	}{
		{"identity", func(b *onnxtest.Builder) {
			zeros(b, "bias1")
			b.Node("Identity", "bias2", []string{"bias1"})
			pair(b, "bias1", "bias2")
		}, "w1 bias1; w2 bias2", 1},
		{"identity of an identity", func(b *onnxtest.Builder) {
			zeros(b, "bias0")
			b.Node("Identity", "bias1", []string{"bias0"})
			b.Node("Identity", "bias2", []string{"bias1"})
			pair(b, "bias1", "bias2")
		}, "w1 bias1; w2 bias2", 2},
		{"no identity", func(b *onnxtest.Builder) { zeros(b, "bias"); pair(b, "bias", "bias") }, "w1 bias; w2 bias.2", 1},
		{"name taken", func(b *onnxtest.Builder) {
			zeros(b, "bias")
			zeros(b, "bias.2")
			b.Node("Relu", "", []string{"bias.2"})
			pair(b, "bias", "bias")
		}, "w1 bias; w2 bias.3", 1},
		{"float16", func(b *onnxtest.Builder) {
			x, err := onnxio.NewTensor(onnxio.Float16, "bias", []int{4}, []float32{.5, .5, .5, .5})
			if err != nil {
				t.Fatal(err)
			}
			b.Proto.Graph.Initializer = append(b.Proto.Graph.Initializer, x)
			pair(b, "bias", "bias")
		}, "w1 bias; w2 bias.2", 1},
		{"before version 4, where initializers are inputs", func(b *onnxtest.Builder) {
			*b.Proto.IrVersion = 3
			zeros(b, "bias")
			b.Input("bias", 4)
			pair(b, "bias", "bias")
		}, "w1 bias; w2 bias.2", 1},
		{"numbers that differ", func(b *onnxtest.Builder) {
			b.Floats("bias", []float32{0, 0, 0, 1}, 4)
			b.Node("Identity", "bias2", []string{"bias"})
			pair(b, "bias", "bias2")
		}, "w1 bias; w2 bias", 0},
		{"an output", func(b *onnxtest.Builder) {
			zeros(b, "bias")
			b.Node("Identity", "bias2", []string{"bias"})
			b.Output("bias2", 4)
			pair(b, "bias", "bias2")
		}, "w1 bias.2; w2 bias", 1},
		{"something else reads it", func(b *onnxtest.Builder) {
			zeros(b, "bias")
			b.Node("Shape", "", []string{"bias"})
			pair(b, "bias", "bias")
		}, "w1 bias.2; w2 bias.3", 2},
		{"one layer called twice", func(b *onnxtest.Builder) {
			zeros(b, "bias")
			b.Weight("w", 1, 4, 3, 1, 1)
			image(b)
			b.Node("Conv", "c1", []string{"x", "w", "bias"})
			b.Node("Conv", "c2", []string{"x", "w", "bias"})
			b.Node("Sub", "y", []string{"c1", "c2"})
			b.Output("y", -1, 4, 4, 4)
		}, "w bias; w bias", 0},
		{"one layer called twice, another once", func(b *onnxtest.Builder) {
			zeros(b, "bias")
			b.Weight("v", 1, 3, 3, 1, 1)
			b.Weight("w", 1, 4, 3, 1, 1)
			b.Floats("none", make([]float32, 3), 3)
			b.Node("Conv", "c0", []string{image(b), "v", "none"})
			b.Node("Conv", "c1", []string{"x", "w", "bias"})
			b.Node("Conv", "c2", []string{"c0", "w", "bias"})
			b.Weight("u", 1, 4, 4, 1, 1)
			b.Node("Conv", "c3", []string{"c2", "u", "bias"})
			b.Node("Sub", "y", []string{"c1", "c3"})
			b.Output("y", -1, 4, 4, 4)
		}, "v none; w bias; w bias; u bias.2", 1},
		{"scale and variance, shift and mean", func(b *onnxtest.Builder) {
			b.Floats("one", []float32{1, 1, 1}, 3)
			b.Floats("zero", make([]float32, 3), 3)
			b.Weight("w", 1, 3, 3, 3, 3)
			b.Node("Conv", "c", []string{image(b), "w"}, "pads", []int64{1, 1, 1, 1})
			b.Node("BatchNormalization", "n1", []string{"c", "one", "zero", "zero", "one"})
			b.Node("BatchNormalization", "n2", []string{"n1", "one", "zero", "zero", "one"})
			b.Output("n2", -1, 3, 4, 4)
		}, "w; one zero zero.2 one.2; one.3 zero.3 zero.4 one.4", 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := onnxtest.New(17, 1)
			c.build(b)
			g, err := New(b.Model(t), "test.onnx")
			if err != nil {
				t.Fatal(err)
			}
			before, params := g.File.Size(), g.Params()
			u, err := g.Untie()
			if err != nil {
				t.Fatal(err)
			}
			if got := sources(u); got != c.want {
				t.Errorf("layers read %s, want %s", got, c.want)
			}
			if len(u.Untied) != c.added {
				t.Errorf("%d vectors untied, want %d: %v", len(u.Untied), c.added, u.Untied)
			}
			if c.added == 0 && u != g {
				t.Error("the graph was read again, and nothing was untied")
			}
			added, _ := u.UntiedElements()
			if u.Params() != params+added || u.File.Size() != before+u.grown {
				t.Errorf("%d parameters and %d bytes from %d and %d, %d and %d counted", u.Params(), u.File.Size(), params, before, added, u.grown)
			}
			if again, err := u.Untie(); err != nil || again != u {
				t.Errorf("a second time finds more: %v, %v", again.Untied, err)
			}
			if n := slices.IndexFunc(u.Nodes, func(n *Node) bool { return n.Type == "Identity" && len(n.Out[0].Uses) == 0 && !u.isOutput(n.Out[0]) }); n >= 0 {
				t.Errorf("%s has no reader left", u.Nodes[n])
			}
		})
	}
}

// sources names the initializers that layers read, in node order.
func sources(g *Graph) string {
	var layers []string
	for _, n := range g.Nodes {
		var names []string
		for _, in := range n.In {
			if v := in.Source(false); v != nil && (n.Type == "Conv" || n.Type == "BatchNormalization") {
				names = append(names, v.Name)
			}
		}
		if names != nil {
			layers = append(layers, strings.Join(names, " "))
		}
	}
	return strings.Join(layers, "; ")
}

// TestUntieAsksForNoMore: a small file with one long vector for many layers is left as it is.
func TestUntieAsksForNoMore(t *testing.T) {
	b := onnxtest.New(17, 1)
	const long = 10_000
	b.Input("x", -1, long)
	b.Floats("bias", make([]float32, long), long)
	last := "x"
	for i := range 50 {
		last = b.Node("Add", fmt.Sprint("y", i), []string{last, "bias"})
	}
	b.Output(last, -1, long)
	g, err := New(b.Model(t), "test.onnx")
	if err != nil {
		t.Fatal(err)
	}
	u, err := g.Untie()
	if err != nil {
		t.Fatal(err)
	}
	if u.Params() != long {
		t.Errorf("%d parameters from %d", u.Params(), long)
	}
}

// TestUntiedLayersAreApart: equal biases alone do not make channels go together.
func TestUntiedLayersAreApart(t *testing.T) {
	for _, c := range []struct {
		untie bool
		want  int
	}{{false, 1}, {true, 3}} {
		b := onnxtest.New(17, 1)
		b.Floats("bias", make([]float32, 8), 8)
		last, width := image(b), 3
		for i := range 3 {
			w := b.Weight(fmt.Sprint("w", i), 1, 8, width, 1, 1)
			last = relu(b, b.Node("Conv", fmt.Sprint("c", i), []string{last, w, "bias"}))
			width = 8
		}
		head(b, last, 8)
		g, err := New(b.Model(t), "test.onnx")
		if err != nil {
			t.Fatal(err)
		}
		if c.untie {
			if g, err = g.Untie(); err != nil {
				t.Fatal(err)
			}
		}
		gs, err := g.Groups(nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(gs.Groups) != c.want {
			t.Errorf("untied %v: %d groups, want %d", c.untie, len(gs.Groups), c.want)
		}
		for k := range gs.Groups {
			checkUnits(t, g, gs, k)
		}
	}
}
