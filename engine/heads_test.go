package engine

import (
	"math"
	"slices"
	"testing"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/internal/onnxtest"
)

// TestFurtherOutputs: the loss is the mean over all outputs asked for, its gradient is that
// of finite differences, and outputs that no weight reaches are left out.
func TestFurtherOutputs(t *testing.T) {
	b := onnxtest.New(13, 3)
	in := b.Input("x", -1, 3)
	h := b.Node("Gemm", "a", []string{in, b.Weight("a.weight", 1, 5, 3)}, "transB", 1)
	h = b.Node("Tanh", "h", []string{h})
	b.Node("Gemm", "y", []string{h, b.Weight("y.weight", 1, 2, 5)}, "transB", 1)
	b.Node("Neg", "minus", []string{in})
	b.Node("Gemm", "z", []string{h, b.Weight("z.weight", 1, 4, 5)}, "transB", 1)
	b.Output("y", -1, 2)
	b.Output("minus", -1, 3)
	b.Output("h", -1, 5) // also read by others
	b.Output("z", -1, 4)
	g, err := graph.New(b.Model(t), "heads.onnx")
	if err != nil {
		t.Fatal(err)
	}
	s := NewState(g)
	const batch = 6
	p, err := Compile(g, s, Options{Batch: batch, Loss: NormalizedSquaredError{}, Others: []int{1, 2, 3}, Pool: kernel.NewPool(1)})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.Others(), []int{2, 3}) {
		t.Fatalf("the loss reads outputs %v beside the first, wants 2 and 3", p.Others())
	}
	for i := range p.Inputs[0].F {
		p.Inputs[0].F[i] = float32(math.Sin(float64(3 * i)))
	}
	values := func(n, seed int) []float32 {
		v := make([]float32, n*batch)
		for i := range v {
			v[i] = float32(math.Cos(float64(seed + i*i)))
		}
		return v
	}
	target := &Target{Values: values(2, 1), Others: [][]float32{values(5, 2), values(4, 3)}}
	loss, err := p.Step(target)
	if err != nil {
		t.Fatal(err)
	}
	want := 0.0
	for i, of := range []struct {
		output int
		v      []float32
	}{{0, target.Values}, {2, target.Others[0]}, {3, target.Others[1]}} {
		l, err := (NormalizedSquaredError{}).Eval(p.Outputs[of.output], &Target{Values: of.v}, nil)
		if err != nil {
			t.Fatal(i, err)
		}
		want += l / 3
	}
	if math.Abs(loss-want) > 1e-9 {
		t.Errorf("loss %g, the mean over the outputs is %g", loss, want)
	}
	for _, name := range p.Trained() {
		grad := append([]float32(nil), p.Grad(name).F...)
		w := s.Tensor(name).F
		for i := range w {
			const step = 1.0 / 128
			old := w[i]
			at := func(x float32) float64 {
				w[i] = x
				l, err := p.Step(target)
				if err != nil {
					t.Fatal(err)
				}
				return l
			}
			num := (at(old+step) - at(old-step)) / (2 * step)
			w[i] = old
			if math.Abs(num-float64(grad[i])) > 2e-3*(1+math.Abs(num)) {
				t.Errorf("%s: gradient %d is %g, finite difference %g", name, i, grad[i], num)
			}
		}
	}
	if len(p.Trained()) != 3 {
		t.Errorf("%v are trained", p.Trained())
	}
	if _, err := p.Step(&Target{Values: target.Values}); err == nil {
		t.Error("values for further outputs may be missing")
	}
}
