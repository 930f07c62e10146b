package engine

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/onnxio"
)

// TestFusedTraining compares training plans whose convolutions carry their
// normalisation with plans of one call per node: loss, gradients and running
// statistics after two steps, with statistics of the batch and with frozen ones.
func TestFusedTraining(t *testing.T) {
	for _, name := range []string{"glyphs_resnet_bn", "tiny_mobile_bn"} {
		for _, freeze := range []bool{false, true} {
			m, err := onnxio.Load(filepath.Join("..", "testdata", "models", name+".onnx"))
			if err != nil {
				t.Fatal(err)
			}
			g, err := graph.New(m, name)
			if err != nil {
				t.Fatal(err)
			}
			pool := kernel.NewPool(2)
			defer pool.Close()
			var losses []float64
			var plans []*Plan
			var states []*State
			for _, plain := range []bool{true, false} {
				state := NewState(g)
				p, err := Compile(g, state, Options{Batch: 64, Pool: pool, Loss: CrossEntropy{}, NoFusion: plain, FreezeNorm: freeze})
				if err != nil {
					t.Fatal(err)
				}
				for i := range p.Inputs[0].F {
					p.Inputs[0].F[i] = float32(i*i%251)/125 - 1
				}
				target := &Target{Labels: make([]int64, 64)}
				for i := range target.Labels {
					target.Labels[i] = int64(i % 4)
				}
				var loss float64
				for range 2 {
					if loss, err = p.Step(target); err != nil {
						t.Fatal(err)
					}
				}
				losses, plans, states = append(losses, loss), append(plans, p), append(states, state)
			}
			calls := strings.Join(plans[1].Calls(), "\n")
			if len(plans[1].forward) >= len(plans[0].forward) || plans[1].ArenaBytes() >= plans[0].ArenaBytes() {
				t.Errorf("%s: nothing was fused:\n%s", name, calls)
			}
			deferred := 0
			for i := range plans[1].forward {
				if c := &plans[1].forward[i]; c.kind == "ConvNormAct" && len(c.out) == 1 {
					deferred++
				}
			}
			if deferred == 0 {
				t.Errorf("%s: no normalisation was deferred", name)
			}
			if d := math.Abs(losses[0] - losses[1]); d > 1e-5 {
				t.Errorf("%s: loss %v, unfused %v", name, losses[1], losses[0])
			}
			for _, w := range plans[0].Trained() {
				agree(t, name+": gradient of "+w, plans[1].Grad(w).F, plans[0].Grad(w).F)
			}
			for _, w := range states[0].Names() {
				agree(t, name+": "+w, states[1].Tensor(w).F, states[0].Tensor(w).F)
			}
			if n := leftToTheNext(t, plans[1]); n == 0 {
				t.Errorf("%s: every residual sum has a pass of its own", name)
			}
		}
	}
}

// leftToTheNext counts the calls whose first output only the next one writes.
func leftToTheNext(t *testing.T, p *Plan) int {
	t.Helper()
	n := 0
	for i := range p.forward {
		c := &p.forward[i]
		if c.kind != "ConvNormAct" || len(c.out) != 2 {
			continue
		}
		c.out[0].F[0] = float32(math.NaN())
		if err := c.op.Forward(&p.ctx, c.in, c.out); err != nil {
			t.Fatal(err)
		}
		if math.IsNaN(float64(c.out[0].F[0])) {
			n++
		}
	}
	return n
}

// agree allows for rounding in another order.
func agree(t *testing.T, what string, got, want []float32) {
	t.Helper()
	size := 0.0
	for _, v := range want {
		size = max(size, math.Abs(float64(v)))
	}
	for i, v := range want {
		if d := math.Abs(float64(got[i]) - float64(v)); !(d <= 1e-4*size+1e-7) {
			t.Errorf("%s: element %d is %v, unfused %v", what, i, got[i], v)
			return
		}
	}
}
