package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/internal/onnxtest"
	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
	"pgregory.net/rapid"
)

// newInterpreter is the implementation that plans are compared with.
func newInterpreter(t judge, g *graph.Graph, batch int, training bool) *Interpreter {
	t.Helper()
	opt := Options{Batch: batch}
	if training {
		opt.Loss = CrossEntropy{}
	}
	r, err := NewInterpreter(g, NewState(g), opt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func output(t judge, r *Interpreter, inputs []*op.Array) *op.Array {
	t.Helper()
	out, err := r.Run(inputs)
	if err != nil {
		t.Fatal(err)
	}
	return out[0]
}

func crossEntropy(y *op.Array, labels []int64) float64 {
	k := y.Shape[1]
	total := 0.0
	for i, l := range labels {
		top := math.Inf(-1)
		for _, v := range y.V[i*k : i*k+k] {
			top = math.Max(top, v)
		}
		sum := 0.0
		for _, v := range y.V[i*k : i*k+k] {
			sum += math.Exp(v - top)
		}
		total += top + math.Log(sum) - y.V[i*k+int(l)]
	}
	return total / float64(len(labels))
}

// slope is the derivative of f by v[k]. Where the slopes to both sides differ, a kink
// of a Relu or a maximum lies within the step, and the step is made smaller.
func slope(v []float64, k int, f func() float64) float64 {
	old := v[k]
	defer func() { v[k] = old }()
	here := f()
	var up, down float64
	for h := 1e-6; h > 1e-9; h /= 10 {
		v[k] = old + h
		up = (f() - here) / h
		v[k] = old - h
		down = (here - f()) / h
		if math.Abs(up-down) <= 1e-3*math.Max(math.Abs(up), math.Abs(down))+1e-7 {
			break
		}
	}
	return (up + down) / 2
}

func largest(v []float32) float64 {
	top := 0.0
	for _, x := range v {
		top = math.Max(top, math.Abs(float64(x)))
	}
	return top
}

// judge is what testing.T and rapid.T have in common.
type judge interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// checkGraph compares a model's plans with the interpreter: the outputs in
// inference, the loss in training, and every parameter's gradient with
// finite differences in float64.
func checkGraph(t judge, data []byte, batch, classes int, inputShapes ...[]int) {
	t.Helper()
	m, err := onnxio.LoadBytes("test.onnx", data)
	if err != nil {
		t.Fatal(err)
	}
	g, err := graph.New(m, "test.onnx")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 5))
	var inputs []*op.Array
	for _, s := range inputShapes {
		x := op.NewArray(append([]int{batch}, s...)...)
		for i := range x.V {
			x.V[i] = float64(float32(rng.NormFloat64()))
		}
		inputs = append(inputs, x)
	}
	labels := make([]int64, batch)
	for i := range labels {
		labels[i] = int64(rng.IntN(classes))
	}
	pool := kernel.NewPool(2)
	defer pool.Close()
	load := func(p *Plan) {
		for k, x := range inputs {
			for i, v := range x.V {
				p.Inputs[k].F[i] = float32(v)
			}
		}
	}
	want := output(t, newInterpreter(t, g, batch, false), inputs)
	for _, plain := range []bool{false, true} {
		p, err := Compile(g, NewState(g), Options{Batch: batch, Pool: pool, NoFusion: plain})
		if err != nil {
			t.Fatal(err)
		}
		for round := 0; round < 2; round++ {
			load(p)
			if err := p.Forward(); err != nil {
				t.Fatal(err)
			}
			for i, v := range want.V {
				if d := math.Abs(float64(p.Outputs[0].F[i]) - v); !(d <= 1e-4*(1+math.Abs(v))) {
					t.Fatalf("no fusion %v, round %d: output %d is %v, reference %v", plain, round, i, p.Outputs[0].F[i], v)
				}
			}
		}
	}
	for _, plain := range []bool{false, true} {
		state := NewState(g)
		p, err := Compile(g, state, Options{Batch: batch, Pool: pool, Loss: CrossEntropy{}, NoFusion: plain})
		if err != nil {
			t.Fatal(err)
		}
		load(p)
		loss, err := p.Step(&Target{Labels: labels})
		if err != nil {
			t.Fatal(err)
		}
		ref := newInterpreter(t, g, batch, true)
		if l := crossEntropy(output(t, ref, inputs), labels); !(math.Abs(l-loss) <= 1e-4*(1+l)) {
			t.Fatalf("no fusion %v: loss %v, reference %v", plain, loss, l)
		}
		if len(p.Trained()) == 0 {
			t.Fatal("no trained initializer")
		}
		// The gradient of what a normalisation cancels (the only weight of a filter, say)
		// is a difference of terms of the size of other gradients, and as exact as these.
		all := 0.0
		for _, name := range p.Trained() {
			all = math.Max(all, largest(p.Grad(name).F))
		}
		for _, name := range p.Trained() {
			v := ref.Params[name].V
			grad := p.Grad(name).F
			scale := largest(grad)
			for _, k := range rng.Perm(len(v))[:min(len(v), 3)] {
				num := slope(v, k, func() float64 { return crossEntropy(output(t, ref, inputs), labels) })
				if d := math.Abs(num - float64(grad[k])); !(d <= 2e-3*math.Max(math.Abs(num), scale)+1e-5*all+1e-6) {
					t.Errorf("no fusion %v: gradient of %s[%d] is %v, finite difference %v", plain, name, k, grad[k], num)
				}
			}
		}
	}
}

func residual(b *onnxtest.Builder, x, name string, in, out, stride int) string {
	y := b.ConvBlock(x, name+".1", in, out, 3, stride)
	y = b.Node("Conv", name+".2.conv", []string{y, b.Weight(name+".2.weight", 0.5, out, out, 3, 3)}, "pads", []int64{1, 1, 1, 1})
	y = b.Norm(y, name+".2", out)
	short := x
	if in != out || stride != 1 {
		short = b.Node("Conv", name+".s.conv", []string{x, b.Weight(name+".s.weight", 0.7, out, in, 1, 1)}, "strides", []int64{int64(stride), int64(stride)})
		short = b.Norm(short, name+".s", out)
	}
	y = b.Node("Add", name+".add", []string{y, short})
	return b.Node("Relu", name+".out", []string{y})
}

func head(b *onnxtest.Builder, x string, c, classes int) {
	y := b.Node("GlobalAveragePool", "gap", []string{x})
	y = b.Node("Flatten", "flat", []string{y})
	b.Node("Gemm", "logits", []string{y, b.Weight("fc.weight", 0.5, classes, c), b.Weight("fc.bias", 0.1, classes)}, "transB", 1)
	b.Output("logits", -1, int64(classes))
}

func TestGraphsAgainstReference(t *testing.T) {
	cases := map[string]func(b *onnxtest.Builder) [][]int{
		"mlp": func(b *onnxtest.Builder) [][]int {
			x := b.Input("x", -1, 7)
			h := b.Node("Gemm", "h", []string{x, b.Weight("w1", 0.5, 7, 9), b.Weight("b1", 0.1, 9)})
			h = b.Node("Relu", "r", []string{h})
			h = b.Node("MatMul", "m", []string{h, b.Weight("w2", 0.5, 9, 5)})
			b.Node("Add", "y", []string{h, b.Weight("b2", 0.1, 5)})
			b.Output("y", -1, 5)
			return [][]int{{7}}
		},
		"resnet": func(b *onnxtest.Builder) [][]int {
			x := b.Input("x", -1, 2, 5, 6)
			y := b.ConvBlock(x, "stem", 2, 4, 3, 1)
			y = residual(b, y, "a", 4, 4, 1)
			y = residual(b, y, "b", 4, 5, 2)
			head(b, y, 5, 3)
			return [][]int{{2, 5, 6}}
		},
		"branches": func(b *onnxtest.Builder) [][]int {
			x := b.Input("x", -1, 3, 8, 8)
			y := b.ConvBlock(x, "stem", 3, 8, 3, 2)
			p := b.Node("MaxPool", "mp", []string{y}, "kernel_shape", []int64{3, 3}, "strides", []int64{1, 1}, "pads", []int64{1, 1, 1, 1})
			q := b.ConvBlock(y, "q", 8, 5, 1, 1)
			y = b.Node("Concat", "cat", []string{p, q, y}, "axis", 1)
			y = b.Node("Mul", "sq", []string{y, y})
			y = b.Node("AveragePool", "ap", []string{y}, "kernel_shape", []int64{2, 2}, "strides", []int64{2, 2})
			y = b.Node("Sigmoid", "sig", []string{y})
			head(b, y, 21, 4)
			return [][]int{{3, 8, 8}}
		},
		"excite": func(b *onnxtest.Builder) [][]int {
			x := b.Input("x", -1, 3, 6, 6)
			y := b.ConvBlock(x, "stem", 3, 8, 3, 1)
			s := b.Node("GlobalAveragePool", "sq", []string{y})
			s = b.Node("Conv", "e1", []string{s, b.Weight("e1.w", 0.5, 4, 8, 1, 1), b.Weight("e1.b", 0.5, 4)})
			s = b.Node("Relu", "er", []string{s})
			s = b.Node("Conv", "e2", []string{s, b.Weight("e2.w", 0.5, 8, 4, 1, 1), b.Weight("e2.b", 0.5, 8)})
			s = b.Node("HardSigmoid", "gate", []string{s})
			y = b.Node("Mul", "scaled", []string{y, s})
			y = b.Node("Conv", "dw", []string{y, b.Weight("dw.w", 0.5, 8, 1, 3, 3)}, "group", 8, "pads", []int64{1, 1, 1, 1})
			y = b.Node("HardSwish", "hs", []string{y})
			head(b, y, 8, 4)
			return [][]int{{3, 6, 6}}
		},
		"shuffle": func(b *onnxtest.Builder) [][]int {
			x := b.Input("x", -1, 4, 6, 6)
			y := b.Node("Conv", "g1", []string{x, b.Weight("g1.w", 0.5, 8, 2, 3, 3)}, "group", 2, "pads", []int64{1, 1, 1, 1})
			y = b.Node("Reshape", "r1", []string{y, b.Ints("s1", 0, 2, 4, 6, 6)})
			y = b.Node("Transpose", "t1", []string{y}, "perm", []int64{0, 2, 1, 3, 4})
			y = b.Node("Reshape", "r2", []string{y, b.Ints("s2", -1, 8, 6, 6)})
			y = b.Node("Slice", "sl", []string{y, b.Ints("st", 2), b.Ints("en", 7), b.Ints("ax", 1)})
			y = b.Node("Pad", "pad", []string{y, b.Ints("pads", 0, 1, 0, 0, 0, 0, 0, 0)})
			head(b, y, 6, 3)
			return [][]int{{4, 6, 6}}
		},
		"shared weights": func(b *onnxtest.Builder) [][]int {
			x := b.Input("x", -1, 6)
			w := b.Weight("w", 0.5, 6, 6)
			y := b.Node("MatMul", "m1", []string{x, w})
			y = b.Node("Tanh", "t", []string{y})
			y = b.Node("MatMul", "m2", []string{y, w})
			wt := b.Node("Transpose", "wt", []string{w}, "perm", []int64{1, 0})
			y = b.Node("MatMul", "m3", []string{y, wt})
			b.Output(y, -1, 6)
			return [][]int{{6}}
		},
		"decoder": func(b *onnxtest.Builder) [][]int {
			x := b.Input("x", -1, 2, 6, 6)
			y := b.ConvBlock(x, "stem", 2, 8, 3, 2)
			skip := y
			y = b.ConvBlock(y, "down", 8, 6, 3, 2)
			y = b.Node("ConvTranspose", "up", []string{y, b.Weight("up.w", 0.5, 6, 4, 2, 2), b.Weight("up.b", 0.1, 4)}, "strides", []int64{2, 2})
			y = b.Node("Resize", "rs", []string{y, "", "", b.Ints("rs.s", 2, 4, 3, 3)}, "mode", "linear", "coordinate_transformation_mode", "half_pixel")
			y = b.Node("Concat", "cat", []string{y, skip}, "axis", 1)
			y = b.Node("InstanceNormalization", "in", []string{y, b.Uniform("in.s", 0.5, 1.5, 12), b.Weight("in.b", 0.2, 12)})
			y = b.Node("DepthToSpace", "d2s", []string{y}, "blocksize", 2)
			y = b.Node("Resize", "rc", []string{y, "", b.Floats("rc.s", []float32{1, 1, 1.5, 0.5}, 4)}, "mode", "cubic")
			y = b.Node("Elu", "act", []string{y})
			head(b, y, 3, 3)
			return [][]int{{2, 6, 6}}
		},
	}
	for _, name := range []string{"mlp", "resnet", "branches", "excite", "shuffle", "shared weights", "decoder"} {
		t.Run(name, func(t *testing.T) {
			b := onnxtest.New(14, 11)
			shapes := cases[name](b)
			classes := 3
			checkGraph(t, b.Bytes(t), 2, classes, shapes...)
		})
	}
}

// TestRandomGraphs draws small networks of every kind of connection and checks their
// plans as TestGraphsAgainstReference does.
func TestRandomGraphs(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		b := onnxtest.New(14, rapid.Uint64Range(0, 1000).Draw(r, "seed"))
		c := rapid.IntRange(1, 3).Draw(r, "channels")
		h, w := rapid.IntRange(3, 6).Draw(r, "height"), rapid.IntRange(3, 6).Draw(r, "width")
		in := []int{c, h, w}
		x := b.Input("x", -1, int64(c), int64(h), int64(w))
		for i := rapid.IntRange(1, 4).Draw(r, "blocks"); i > 0; i-- {
			name := fmt.Sprintf("b%d", i)
			switch rapid.SampledFrom([]string{"conv", "residual", "concat", "gate", "pool", "act", "twice"}).Draw(r, name) {
			case "conv":
				out := rapid.IntRange(1, 5).Draw(r, name+" filters")
				x, c = b.ConvBlock(x, name, c, out, rapid.SampledFrom([]int{1, 3}).Draw(r, name+" kernel"), 1), out
			case "residual":
				x = residual(b, x, name, c, c, 1)
			case "concat":
				y := b.ConvBlock(x, name, c, 2, 1, 1)
				x, c = b.Node("Concat", name+".cat", []string{x, y, x}, "axis", 1), 2*c+2
			case "gate":
				g := b.Node("GlobalAveragePool", name+".gap", []string{x})
				g = b.Node("Conv", name+".fc", []string{g, b.Weight(name+".w", 0.7, c, c, 1, 1), b.Weight(name+".b", 0.5, c)})
				x = b.Node("Mul", name+".mul", []string{x, b.Node("Sigmoid", name+".sig", []string{g})})
			case "pool":
				// A normalisation over the two values of 1×1 images gives ±1 whatever they
				// are. Its gradient is what epsilon leaves, a difference of terms a
				// thousand times as large, and not to be had in float32.
				if h < 3 || w < 3 {
					continue
				}
				kind := rapid.SampledFrom([]string{"MaxPool", "AveragePool"}).Draw(r, name+" kind")
				x = b.Node(kind, name+".pool", []string{x}, "kernel_shape", []int64{2, 2}, "strides", []int64{1, 1})
				h, w = h-1, w-1
			case "act":
				kind := rapid.SampledFrom([]string{"Tanh", "HardSwish", "Sigmoid", "Softplus"}).Draw(r, name+" kind")
				x = b.Node(kind, name+".act", []string{x})
			case "twice":
				x = b.Node("Mul", name+".sq", []string{x, x})
			}
		}
		head(b, x, c, 3)
		data, err := b.Proto.Marshal()
		if err != nil {
			r.Fatal(err)
		}
		checkGraph(r, data, 2, 3, in)
	})
}
