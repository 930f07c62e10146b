package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/op"
)

// Bounds of what the kernel variants differ by, as ARCHITECTURE.md states them: outputs by a share
// of their largest element, gradients and running statistics by a share of their norm.
const (
	outputBound   = 2e-6
	gradientBound = 1e-5
)

// TestSameBits makes two training steps and an evaluation of the project's own models on every
// kernel variant: at 1, 2, 3 and 8 threads every bit is the same, between variants results are within
// the bounds. Built with the tag purego there is one variant, which
// TestInterpreterOnModels holds to 2e-5 of the largest element against float64.
func TestSameBits(t *testing.T) {
	active := kernel.Active()
	defer kernel.Force(active)
	for _, name := range []string{"glyphs_resnet_bn", "tiny_mobile_bn", "tiny_excite_bn", "tiny_unet", "tiny_attention_b1", "tiny_shuffle_b1", "tiny_conv1d"} {
		t.Run(name, func(t *testing.T) {
			var first *run
			for _, variant := range kernel.Variants() {
				if err := kernel.Force(variant); err != nil {
					t.Fatal(err)
				}
				var one *run
				for _, threads := range []int{1, 2, 3, 8} {
					r := trainAndRun(t, name, threads)
					if one == nil {
						one = r
						continue
					}
					r.sameAs(t, fmt.Sprintf("%s: at 1 and at %d threads", variant, threads), one)
				}
				if first == nil {
					first = one
					continue
				}
				one.near(t, fmt.Sprintf("%s and %s", kernel.Variants()[0], variant), first)
			}
		})
	}
}

// run is what two steps of training came to.
type run struct {
	losses    []float64
	names     []string
	gradients [][]float32
	state     [][]float32
	outputs   [][]float32
}

// trainAndRun makes the steps from the model's own values.
func trainAndRun(t *testing.T, name string, threads int) *run {
	t.Helper()
	g := load(t, filepath.Join("../testdata/models", name+".onnx"))
	pool := kernel.NewPool(threads)
	defer pool.Close()
	state := NewState(g)
	batch := 5
	if own := g.FixedBatch(); own > 0 {
		if _, err := g.FreeBatch(nil); err != nil {
			batch = own
		}
	}
	eval, err := Compile(g, state, Options{Batch: batch, Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, 7))
	target := &Target{}
	var loss Loss = MeanSquaredError{}
	if y := eval.Scored(nil); y.Rank() == 2 && y.Shape[1] > 1 {
		loss = CrossEntropy{}
		for range batch {
			target.Labels = append(target.Labels, int64(rng.IntN(y.Shape[1])))
		}
	} else {
		for range y.Size() {
			target.Values = append(target.Values, float32(rng.NormFloat64()))
		}
	}
	train, err := Compile(g, state, Options{Batch: batch, Pool: pool, Loss: loss})
	if err != nil {
		t.Fatal(err)
	}
	r := &run{names: train.Trained()}
	for range 2 {
		for k, in := range train.Inputs {
			for i := range in.F {
				in.F[i] = float32(rng.NormFloat64())
				eval.Inputs[k].F[i] = in.F[i]
			}
		}
		l, err := train.Step(target)
		if err != nil {
			t.Fatal(err)
		}
		r.losses = append(r.losses, l)
		for _, name := range r.names {
			r.gradients = append(r.gradients, slices.Clone(train.Grad(name).F))
			kernel.Axpy(state.Tensor(name).F, train.Grad(name).F, -0.01)
		}
	}
	for _, name := range state.Names() {
		r.state = append(r.state, slices.Clone(state.Tensor(name).F))
	}
	if err := eval.Forward(); err != nil {
		t.Fatal(err)
	}
	for _, y := range eval.Outputs {
		r.outputs = append(r.outputs, slices.Clone(y.F))
	}
	return r
}

func (r *run) sameAs(t *testing.T, what string, want *run) {
	t.Helper()
	if !slices.Equal(r.losses, want.losses) {
		t.Errorf("%s: losses %v and %v", what, want.losses, r.losses)
	}
	for _, part := range []struct {
		name      string
		got, want [][]float32
	}{{"gradient", r.gradients, want.gradients}, {"state", r.state, want.state}, {"output", r.outputs, want.outputs}} {
		for k := range part.want {
			for i, v := range part.want[k] {
				if math.Float32bits(v) != math.Float32bits(part.got[k][i]) {
					t.Errorf("%s: element %d of %s %d is %v and %v", what, i, part.name, k, v, part.got[k][i])
					break
				}
			}
		}
	}
}

// near holds that another variant gives the same within the bounds. Gradients of one step are
// compared as one vector: those of a bias before a normalisation are rounding alone.
func (r *run) near(t *testing.T, what string, want *run) {
	t.Helper()
	for i, l := range want.losses {
		if !(math.Abs(l-r.losses[i]) <= outputBound*math.Abs(l)) {
			t.Errorf("%s: losses %v and %v", what, want.losses, r.losses)
		}
	}
	worst := 0.0
	for k, y := range want.outputs {
		largest, top := 1e-30, 0.0
		for i, v := range y {
			largest = math.Max(largest, math.Abs(float64(v)))
			top = math.Max(top, math.Abs(float64(v)-float64(r.outputs[k][i])))
		}
		worst = math.Max(worst, top/largest)
		if !(top <= outputBound*largest) {
			t.Errorf("%s: output %d %s differs by %.2g of its largest element", what, k, op.ShapeString([]int{len(y)}), top/largest)
		}
	}
	share := 0.0
	for _, part := range [][2][][]float32{{want.gradients[:len(r.names)], r.gradients[:len(r.names)]}, {want.gradients[len(r.names):], r.gradients[len(r.names):]}, {want.state, r.state}} {
		diff, norm := 0.0, 0.0
		for k := range part[0] {
			for i, v := range part[0][k] {
				d := float64(v) - float64(part[1][k][i])
				diff += d * d
				norm += float64(v) * float64(v)
			}
		}
		d := math.Sqrt(diff / norm)
		share = math.Max(share, d)
		if !(d <= gradientBound) {
			t.Errorf("%s: gradients or state differ by %.2g of their norm", what, d)
		}
	}
	t.Logf("%s: outputs differ by %.2g of the largest, gradients and state by %.2g of their norm", what, worst, share)
}
