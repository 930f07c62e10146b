package engine

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

// withoutEvery16th is a model of the project that has lost one channel in 16 of
// every group of channels.
func withoutEvery16th(t *testing.T, name string) *graph.Graph {
	t.Helper()
	m, err := onnxio.Load(filepath.Join("..", "testdata", "models", name+".onnx"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := graph.New(m, name)
	if err != nil {
		t.Fatal(err)
	}
	gs, err := g.Groups(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := gs.NewRemoval()
	for k, group := range gs.Groups {
		for u := 7; u < group.Width; u += 16 {
			r.Set(k, u, true)
		}
	}
	plan, err := gs.Plan(r.Removed())
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Apply(m); err != nil {
		t.Fatal(err)
	}
	if g, err = graph.New(m, name); err != nil {
		t.Fatal(err)
	}
	return g
}

// TestWidened compares plans that give activations more channels in memory than
// the model has with plans that do not: outputs, loss, gradients and running
// statistics.
func TestWidened(t *testing.T) {
	for _, name := range []string{"glyphs_resnet_bn", "glyphs_resnet", "tiny_mobile_bn", "tiny_excite_bn", "tiny_unet"} {
		for _, loss := range []Loss{nil, CrossEntropy{}} {
			if loss != nil && name == "tiny_unet" {
				loss = MeanSquaredError{}
			}
			testWidened(t, name, loss)
		}
	}
}

func testWidened(t *testing.T, name string, loss Loss) {
	g := withoutEvery16th(t, name)
	pool := kernel.NewPool(2)
	defer pool.Close()
	var plans []*Plan
	var states []*State
	var losses []float64
	for _, plain := range []bool{true, false} {
		state := NewState(g)
		p, err := Compile(g, state, Options{Batch: 128, Pool: pool, Loss: loss, NoFusion: plain})
		if err != nil {
			t.Fatal(err)
		}
		for i := range p.Inputs[0].F {
			p.Inputs[0].F[i] = float32(i*i%251)/125 - 1
		}
		plans, states = append(plans, p), append(states, state)
		if loss == nil {
			if err := p.Forward(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		target := &Target{Labels: make([]int64, 128)}
		for i := range target.Labels {
			target.Labels[i] = int64(i % 4)
		}
		if _, ok := loss.(MeanSquaredError); ok {
			target = &Target{Values: make([]float32, p.Outputs[0].Size())}
		}
		var l float64
		for range 2 {
			if l, err = p.Step(target); err != nil {
				t.Fatal(err)
			}
		}
		losses = append(losses, l)
	}
	for i := range plans[1].forward {
		c := &plans[1].forward[i]
		for _, v := range c.out {
			if strings.HasPrefix(name, "glyphs") && strings.HasPrefix(c.kind, "Conv") && v != nil && v.Shape[1]%16 != 0 {
				t.Errorf("%s: output %v of a %s was not widened", name, v.Shape, c.kind)
			}
		}
	}
	for i, o := range plans[0].Outputs {
		agree(t, name+": output", plans[1].Outputs[i].F, o.F)
	}
	if loss == nil {
		return
	}
	if d := math.Abs(losses[0] - losses[1]); d > 1e-5*max(1, losses[0]) {
		t.Errorf("%s: loss %v, plain %v", name, losses[1], losses[0])
	}
	for _, w := range plans[0].Trained() {
		agree(t, name+": gradient of "+w, plans[1].Grad(w).F, plans[0].Grad(w).F)
	}
	for _, w := range states[0].Names() {
		agree(t, name+": "+w, states[1].Tensor(w).F, states[0].Tensor(w).F)
	}
}

// TestConstant compares plans of initializers that do not change with others: outputs of
// the first run and of a later one on other inputs, which does not read them again.
func TestConstant(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	for _, name := range []string{"glyphs_resnet_bn", "glyphs_resnet", "tiny_mobile_bn", "tiny_excite_bn", "tiny_unet"} {
		g := withoutEvery16th(t, name)
		for _, batch := range []int{1, 3} {
			state := NewState(g)
			plain, err := Compile(g, NewState(g), Options{Batch: batch, Pool: pool, NoFusion: true})
			if err != nil {
				t.Fatal(err)
			}
			p, err := Compile(g, state, Options{Batch: batch, Pool: pool, Constant: true})
			if err != nil {
				t.Fatal(err)
			}
			var before [][]float32
			for run := range 3 {
				for _, q := range []*Plan{plain, p} {
					for i := range q.Inputs[0].F {
						q.Inputs[0].F[i] = float32((i+max(0, run-1))*i%251)/125 - 1
					}
					if err := q.Forward(); err != nil {
						t.Fatal(err)
					}
				}
				for i, o := range p.Outputs {
					agree(t, fmt.Sprintf("%s: output of run %d", name, run), o.F, plain.Outputs[i].F)
				}
				if run == 1 && !slices.EqualFunc(before, p.Outputs, func(a []float32, o *op.Tensor) bool { return slices.Equal(a, o.F) }) {
					t.Errorf("%s: a second run on the same inputs has other outputs", name)
				}
				before = nil
				for _, o := range p.Outputs {
					before = append(before, slices.Clone(o.F))
				}
				for _, n := range g.Nodes {
					if n.Type == "Conv" {
						clear(state.Tensor(n.In[1].Name).F)
					}
				}
			}
		}
	}
}

// TestWideChannels checks that pixels start with a cache line, or half one, and
// that this never costs more than a sixth.
func TestWideChannels(t *testing.T) {
	for c, want := range map[int]int{1: 1, 3: 3, 7: 8, 13: 13, 14: 16, 16: 16, 17: 17, 21: 24, 23: 24, 24: 24, 28: 32, 40: 40, 42: 48, 72: 80, 93: 96, 157: 160} {
		if got := op.WideChannels(c, 6); got != want {
			t.Errorf("%d channels become %d, want %d", c, got, want)
		}
	}
}
