//go:build gorgonia

package gorgonia

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/internal/onnxtest"
)

// sketch draws a random network for classes of images.
type sketch struct {
	*onnxtest.Builder
	rng *rand.Rand
	n   int
	// the present value is [N,c,h,w]
	y       string
	c, h, w int
}

func (s *sketch) pick(of ...int) int { return of[s.rng.IntN(len(of))] }

func (s *sketch) name(kind string) string {
	s.n++
	return fmt.Sprintf("%s%d", kind, s.n)
}

func (s *sketch) conv(x string, c int, out, k, stride, pad, dilation int) string {
	y := s.name("conv")
	in := []string{x, s.Weight(y+".w", 1/math.Sqrt(float64(c*k*k)), out, c, k, k)}
	if s.rng.IntN(2) == 0 {
		in = append(in, s.Weight(y+".b", 0.3, out))
	}
	p, d, t := int64(pad), int64(dilation), int64(stride)
	return s.Node("Conv", y, in, "kernel_shape", []int64{int64(k), int64(k)}, "pads", []int64{p, p, p, p},
		"strides", []int64{t, t}, "dilations", []int64{d, d})
}

func (s *sketch) norm(x string, c int) string {
	y := s.name("norm")
	return s.Node("BatchNormalization", y, []string{x, s.Uniform(y+".scale", 0.5, 1.5, c), s.Weight(y+".bias", 0.3, c),
		s.Weight(y+".mean", 0.2, c), s.Uniform(y+".var", 0.5, 2, c)}, "epsilon", float32(1e-3))
}

func (s *sketch) relu(x string) string { return s.Node("Relu", s.name("relu"), []string{x}) }

// layer adds a random step.
func (s *sketch) layer() {
	switch s.rng.IntN(6) {
	case 0, 1: // a convolution that may shrink the image
		out, k := s.pick(3, 4, 6, 8), s.pick(1, 3)
		stride, dilation, pad := 1, 1, k/2
		if s.h >= 6 && s.w >= 6 {
			stride, dilation = s.pick(1, 2), s.pick(1, 1, k/2+1)
			pad = s.pick(0, dilation*(k/2))
		}
		s.y, s.c = s.conv(s.y, s.c, out, k, stride, pad, dilation), out
		s.h = (s.h+2*pad-dilation*(k-1)-1)/stride + 1
		s.w = (s.w+2*pad-dilation*(k-1)-1)/stride + 1
		if s.rng.IntN(2) == 0 {
			s.y = s.norm(s.y, s.c)
		}
	case 2:
		s.y = s.norm(s.y, s.c)
	case 3:
		if s.h >= 4 && s.w >= 4 {
			k, pad := s.pick(2, 3), s.pick(0, 1)
			s.y = s.Node("MaxPool", s.name("pool"), []string{s.y}, "kernel_shape", []int64{int64(k), int64(k)},
				"strides", []int64{2, 2}, "pads", []int64{int64(pad), int64(pad), int64(pad), int64(pad)})
			s.h, s.w = (s.h+2*pad-k)/2+1, (s.w+2*pad-k)/2+1
		}
	case 4: // a residual block
		short, x := s.y, s.y
		out := s.pick(s.c, 5)
		if out != s.c {
			short = s.conv(short, s.c, out, 1, 1, 0, 1)
		}
		x = s.norm(s.conv(x, s.c, out, 3, 1, 1, 1), out)
		s.y, s.c = s.Node("Add", s.name("add"), []string{short, x}), out
	}
	s.y = s.relu(s.y)
}

const classes = 5

// network draws a network with a batch that is left open.
func network(t *testing.T, seed uint64) *graph.Graph {
	t.Helper()
	s := &sketch{Builder: onnxtest.New(13, seed), rng: rand.New(rand.NewPCG(seed, 2))}
	s.c, s.h, s.w = s.pick(1, 3), 8+s.rng.IntN(5), 8+s.rng.IntN(5)
	s.y = s.Input("x", -1, int64(s.c), int64(s.h), int64(s.w))
	for range 2 + s.rng.IntN(5) {
		s.layer()
	}
	features := s.c
	switch s.rng.IntN(4) {
	case 0:
		s.y = s.Node("ReduceMean", "mean", []string{s.y}, "axes", []int64{2, -1}, "keepdims", s.rng.IntN(2))
	case 2:
		s.y = s.Node("GlobalAveragePool", "gap", []string{s.y})
	case 1:
		s.y = s.Node("AveragePool", "whole", []string{s.y}, "kernel_shape", []int64{int64(s.h), int64(s.w)})
	default:
		features *= s.h * s.w
	}
	s.y = s.Node("Flatten", "flat", []string{s.y})
	if s.rng.IntN(2) == 0 {
		s.y = s.Node("Gemm", "hidden", []string{s.y, s.Weight("hidden.w", 1/math.Sqrt(float64(features)), features, 7), s.Weight("hidden.b", 0.2, 7)}, "alpha", float32(0.5), "beta", float32(2))
		s.y, features = s.relu(s.y), 7
	}
	s.y = s.Node("Gemm", "y", []string{s.y, s.Weight("y.w", 1/math.Sqrt(float64(features)), classes, features), s.Weight("y.b", 0.2, classes)}, "transB", 1)
	s.Output("y", -1, classes)
	if s.rng.IntN(4) == 0 {
		s.Proto.Graph.Output = nil
		s.Node("Softmax", "p", []string{"y"})
		s.Output("p", -1, classes)
	}
	g, err := graph.New(s.Model(t), fmt.Sprintf("network %d", seed))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// agree holds that two results differ by no more than share of the norm of the second.
func agree(t *testing.T, what string, got, want []float32, share float64) {
	t.Helper()
	diff, norm := 0.0, 0.0
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		diff += d * d
		norm += float64(w) * float64(w)
	}
	if !(math.Sqrt(diff) <= share*math.Sqrt(norm)+1e-6) {
		t.Errorf("%s: the engines differ by %.3g, the norm is %.3g", what, math.Sqrt(diff), math.Sqrt(norm))
	}
}

// networks is the number of random networks.
const networks = 40

// TestRandomNetworks compares, on random networks, the outputs in inference, and losses, gradients and
// running statistics over three steps of training, with those of the project's own engine.
func TestRandomNetworks(t *testing.T) {
	operators := map[string]int{}
	passed := 0
	for seed := range uint64(networks) {
		passed++
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					passed--
				}
			}()
			g := network(t, seed)
			for _, n := range g.Nodes {
				operators[n.Type]++
			}
			compareEngines(t, g, rand.New(rand.NewPCG(seed, 3)))
		})
	}
	t.Logf("judge: Gorgonia: %d networks run, %d passed, %d kinds of nodes excluded", networks, passed, len(refused))
	for _, name := range []string{"Conv", "BatchNormalization", "Relu", "MaxPool", "Add", "Gemm", "AveragePool", "GlobalAveragePool", "ReduceMean", "Softmax"} {
		if operators[name] == 0 {
			t.Errorf("no network has a node of %s", name)
		}
	}
}

func compareEngines(t *testing.T, g *graph.Graph, rng *rand.Rand) {
	batch := 2 + rng.IntN(4)
	type side struct {
		state       *engine.State
		train, eval *engine.Plan
	}
	var sides [2]side
	for i, lower := range []engine.Lowering{nil, Lower} {
		s := engine.NewState(g)
		train, err := engine.Compile(g, s, engine.Options{Batch: batch, Loss: engine.CrossEntropy{}, Lower: lower})
		if err != nil {
			t.Fatal(err)
		}
		eval, err := engine.Compile(g, s, engine.Options{Batch: batch, Lower: lower})
		if err != nil {
			t.Fatal(err)
		}
		sides[i] = side{s, train, eval}
	}
	ours, theirs := sides[0], sides[1]
	if a, b := fmt.Sprint(ours.train.Trained()), fmt.Sprint(theirs.train.Trained()); a != b {
		t.Fatalf("trains %s, the other engine %s", a, b)
	}
	target := &engine.Target{Labels: make([]int64, batch)}
	for step := range 3 {
		for i := range ours.train.Inputs[0].F {
			v := float32(rng.NormFloat64())
			for _, s := range sides {
				s.train.Inputs[0].F[i], s.eval.Inputs[0].F[i] = v, v
			}
		}
		for i := range target.Labels {
			target.Labels[i] = int64(rng.IntN(classes))
		}
		for _, s := range sides {
			if err := s.eval.Forward(); err != nil {
				t.Fatal(err)
			}
		}
		agree(t, fmt.Sprintf("step %d: output", step), theirs.eval.Outputs[0].F, ours.eval.Outputs[0].F, 1e-4)
		a, err := ours.train.Step(target)
		if err != nil {
			t.Fatal(err)
		}
		b, err := theirs.train.Step(target)
		if err != nil {
			t.Fatal(err)
		}
		if !(math.Abs(a-b) <= 1e-4*math.Abs(a)) {
			t.Errorf("step %d: loss %v, gorgonia has %v", step, a, b)
		}
		var all [2][]float32
		for _, name := range ours.train.Trained() {
			all[0] = append(all[0], ours.train.Grad(name).F...)
			all[1] = append(all[1], theirs.train.Grad(name).F...)
		}
		agree(t, fmt.Sprintf("step %d: gradient", step), all[1], all[0], 1e-3)
		for _, name := range ours.state.Names() {
			agree(t, fmt.Sprintf("step %d: %q", step, name), theirs.state.Tensor(name).F, ours.state.Tensor(name).F, 1e-4)
		}
		for _, s := range sides {
			for _, name := range ours.train.Trained() {
				kernel.Axpy(s.state.Tensor(name).F, ours.train.Grad(name).F, -0.1)
			}
		}
	}
}

// refused are nodes that Gorgonia gets wrong or does not have, with what the error says.
var refused = map[string]struct {
	node  string
	attrs []any
	says  string
}{
	"groups":               {"Conv", []any{"group", 2}, "2 groups, gorgonia has none"},
	"asymmetric padding":   {"Conv", []any{"group", 1, "pads", []int64{0, 0, 1, 1}}, "differs between the sides"},
	"pool padding":         {"MaxPool", []any{"kernel_shape", []int64{2, 2}, "pads", []int64{0, 0, 1, 1}}, "differs between the sides"},
	"pool dilation":        {"MaxPool", []any{"kernel_shape", []int64{2, 2}, "dilations", []int64{2, 2}}, "gorgonia has none in MaxPool"},
	"average of windows":   {"AveragePool", []any{"kernel_shape", []int64{2, 2}}, "gradient of AveragePool is wrong"},
	"mean over channels":   {"ReduceMean", []any{"axes", []int64{1, 3}}, "only that of all axes behind the channels"},
	"an operator it lacks": {"Erf", nil, "not lowered"},
}

// TestRefused sees that an error names every node that is left out.
func TestRefused(t *testing.T) {
	for name, c := range refused {
		t.Run(name, func(t *testing.T) {
			b := onnxtest.New(13, 1)
			in := []string{b.Input("x", -1, 4, 6, 6)}
			if c.node == "Conv" {
				in = append(in, b.Weight("w", 1, 4, 4, 3, 3))
				if c.attrs[1] == 2 {
					in[1] = b.Weight("w2", 1, 4, 2, 3, 3)
				}
			}
			b.Node(c.node, "first", in, c.attrs...)
			b.Node(c.node, "second", in, c.attrs...)
			b.Output("first", -1, -1, -1, -1)
			b.Output("second", -1, -1, -1, -1)
			g, err := graph.New(b.Model(t), "model")
			if err != nil {
				t.Fatal(err)
			}
			_, err = engine.Compile(g, engine.NewState(g), engine.Options{Batch: 2, Lower: Lower})
			if err == nil {
				t.Fatal("was compiled")
			}
			for _, want := range []string{`node "first"`, `node "second"`, c.says, "hint: --engine onnxprune"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not contain %q", err, want)
				}
			}
		})
	}
}
