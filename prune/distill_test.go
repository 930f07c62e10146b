package prune

import (
	"math"
	"testing"

	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/engine"
)

// taught is a trainer of the tanh network with values as labels and the network itself,
// unmasked, as teacher.
func taught(t *testing.T, share float64) *Trainer {
	t.Helper()
	tr, _, _ := tanhNet(t, 1, config())
	tr.Config.Loss = engine.MeanSquaredError{}
	dir := t.TempDir()
	x, y := make([]float32, 36), make([]float32, 36)
	for i := range x {
		x[i], y[i] = float32(math.Sin(float64(i))), float32(math.Cos(float64(3*i)))
	}
	writeShards(t, dir, "input", []int{3}, x)
	writeShards(t, dir, "label", []int{3}, y)
	d, err := data.Open(dir, []data.InputSpec{{Name: "x", Shape: []int{3}}}, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	tr.Train, tr.Val = d, d
	if err := tr.Prepare(); err != nil {
		t.Fatal(err)
	}
	if tr.Config.Teacher, err = engine.Compile(tr.Graph, engine.NewState(tr.Graph), engine.Options{Batch: 12, Pool: tr.Pool}); err != nil {
		t.Fatal(err)
	}
	tr.Config.LabelShare = share
	return tr
}

// slope is the gradient of one batch at half of the weights.
func slope(t *testing.T, tr *Trainer) (out []float64) {
	t.Helper()
	OMP(tr.Masks, Structure{}, 0.5, tr.Pool)
	g, err := tr.meanGradient()
	if err != nil {
		t.Fatal(err)
	}
	return flat(g)
}

// TestMixedTeacher: the gradient of a mixed target is the mix of the gradients by the
// teacher's values and by the data's own.
func TestMixedTeacher(t *testing.T) {
	teacher := slope(t, taught(t, 0))
	own := taught(t, 0)
	own.Config.Teacher = nil
	values := slope(t, own)
	want := make([]float64, len(values))
	for i := range want {
		want[i] = 0.7*teacher[i] + 0.3*values[i]
	}
	near(t, slope(t, taught(t, 0.3)), want, 1e-5, false)
}

// TestOwnTeacher: the unpruned network has loss 0 to itself, in training and in
// evaluation, and the pruned one has not.
func TestOwnTeacher(t *testing.T) {
	tr := taught(t, 0)
	tr.Config.EvalTeacher = tr.Config.Teacher
	check := func(zero bool) {
		t.Helper()
		g, err := tr.meanGradient()
		if err != nil {
			t.Fatal(err)
		}
		norm := 0.0
		for _, v := range flat(g) {
			norm += v * v
		}
		s, err := tr.Evaluate(tr.Val)
		if err != nil {
			t.Fatal(err)
		}
		if (norm == 0) != zero || (s.Loss == 0) != zero {
			t.Errorf("gradient %g, loss %g; want zeros: %v", norm, s.Loss, zero)
		}
	}
	check(true)
	OMP(tr.Masks, Structure{}, 0.5, tr.Pool)
	check(false)
}

// TestClip: a gradient above its bound is scaled to it, one below it stays bit for bit.
func TestClip(t *testing.T) {
	free := slope(t, taught(t, 0))
	norm := func(x []float64) float64 {
		s := 0.0
		for _, v := range x {
			s += v * v
		}
		return math.Sqrt(s)
	}
	for _, clip := range []float64{1e-3, 1e-6, 1e9} {
		tr := taught(t, 0)
		tr.Config.Clip = clip
		got := slope(t, tr)
		weights := 0.0
		for _, name := range tr.plan.Trained() {
			weights += sumSquares(tr.State.Tensor(name).F)
		}
		bound := clip * math.Sqrt(weights)
		if norm(free) < bound {
			near(t, got, free, 0, false)
			continue
		}
		if n := norm(got); math.Abs(n-bound) > 1e-5*bound {
			t.Errorf("clip %g: the norm is %g, want %g", clip, n, bound)
		}
		want := make([]float64, len(free))
		for i, v := range free {
			want[i] = v * bound / norm(free)
		}
		near(t, got, want, 1e-5, false)
	}
}
