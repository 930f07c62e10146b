package engine

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/op"
)

// TestLossGradients compares every loss's gradient with finite differences.
func TestLossGradients(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	values := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		return v
	}
	cases := []struct {
		name   string
		loss   Loss
		shape  []int
		target *Target
	}{
		{"cross-entropy", CrossEntropy{}, []int{3, 5}, &Target{Labels: []int64{4, 0, 2}}},
		{"cross-entropy per position", CrossEntropy{}, []int{2, 3, 2, 2}, &Target{Labels: []int64{0, 1, 2, 0, 1, 2, 1, 1}}},
		{"cross-entropy, positions that do not count", CrossEntropy{}, []int{2, 3, 2}, &Target{Labels: []int64{Uncounted, 2, 0, Uncounted}}},
		{"cross-entropy, nothing counts", CrossEntropy{}, []int{2, 3}, &Target{Labels: []int64{Uncounted, Uncounted}}},
		{"cross-entropy per position, classes last", CrossEntropy{Last: true}, []int{2, 3, 4}, &Target{Labels: []int64{3, 1, 2, 0, Uncounted, 2}}},
		{"distillation, classes last", Distillation{Temperature: 2, LabelWeight: 0.3, Last: true}, []int{2, 2, 4}, &Target{Values: values(16), Labels: []int64{3, 1, 2, 0}}},
		{"mean squared error", MeanSquaredError{}, []int{2, 3, 2}, &Target{Values: values(12)}},
		{"normalized squared error", NormalizedSquaredError{}, []int{3, 4}, &Target{Values: values(12)}},
		{"distillation", Distillation{Temperature: 4}, []int{3, 5}, &Target{Values: values(15)}},
		{"distillation with labels", Distillation{Temperature: 2, LabelWeight: 0.3}, []int{3, 5}, &Target{Values: values(15), Labels: []int64{1, 1, 4}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			n := op.Size(c.shape)
			y, dy := op.Floats(values(n), c.shape...), op.New(op.Float, c.shape...)
			if _, err := c.loss.Eval(y, c.target, dy); err != nil {
				t.Fatal(err)
			}
			for i := range y.F {
				const h = 1.0 / 256
				old := y.F[i]
				y.F[i] = old + h
				up, _ := c.loss.Eval(y, c.target, nil)
				y.F[i] = old - h
				down, _ := c.loss.Eval(y, c.target, nil)
				y.F[i] = old
				if num := (up - down) / (2 * h); math.Abs(num-float64(dy.F[i])) > 2e-5 {
					t.Errorf("gradient %d is %v, finite difference %v", i, dy.F[i], num)
				}
			}
		})
	}
}

func TestLossValues(t *testing.T) {
	y := op.Floats([]float32{0, 0, 0, 0}, 1, 4)
	l, err := CrossEntropy{}.Eval(y, &Target{Labels: []int64{2}}, nil)
	if err != nil || math.Abs(l-math.Log(4)) > 1e-12 {
		t.Errorf("cross-entropy of a uniform output is %v, %v; want log 4", l, err)
	}
	big := op.Floats([]float32{1e30, 0}, 1, 2)
	if l, err := (CrossEntropy{}).Eval(big, &Target{Labels: []int64{0}}, nil); err != nil || l != 0 {
		t.Errorf("cross-entropy of a sure and right output is %v, %v", l, err)
	}
	same := op.Floats([]float32{1, -2, 3}, 1, 3)
	if l, err := (Distillation{Temperature: 3}).Eval(same, &Target{Values: same.F}, nil); err != nil || math.Abs(l) > 1e-12 {
		t.Errorf("distillation from itself is %v, %v", l, err)
	}
	if l, err := (CrossEntropy{}).Eval(y, &Target{Labels: []int64{Uncounted}}, nil); err != nil || l != 0 {
		t.Errorf("cross-entropy of nothing that counts is %v, %v", l, err)
	}
	// The mean is over what counts, and class numbers are read along the axis of the classes.
	two := op.Floats([]float32{0, 0, 3, 0, 0, 3}, 1, 2, 3)
	want := math.Log(2+math.Exp(3)) - 3
	if l, err := (CrossEntropy{Last: true}).Eval(two, &Target{Labels: []int64{2, Uncounted}}, nil); err != nil || math.Abs(l-want) > 1e-12 {
		t.Errorf("cross-entropy with the classes last is %v, %v; want %v", l, err, want)
	}
	if l, err := (CrossEntropy{}).Eval(two, &Target{Labels: []int64{0, Uncounted, 1}}, nil); err != nil || math.Abs(l-math.Log(2)) > 1e-12 {
		t.Errorf("cross-entropy with the classes first is %v, %v; want log 2", l, err)
	}
	for _, labels := range [][]int64{{-2}, {4}} {
		if _, err := (CrossEntropy{}).Eval(y, &Target{Labels: labels}, nil); err == nil || !strings.Contains(err.Error(), "is outside [0,4)") {
			t.Errorf("label %d: error is %v", labels[0], err)
		}
	}
}

// TestLossLayouts: the same classes and positions count alike on axis 1 and last, over more than one block.
func TestLossLayouts(t *testing.T) {
	const n, k, inner = 2, 5, 2*blockOf + 37
	rng := rand.New(rand.NewPCG(2, 1))
	first, last := op.New(op.Float, n, k, inner), op.New(op.Float, n, inner, k)
	teacher, teacherLast := make([]float32, n*k*inner), make([]float32, n*k*inner)
	labels := make([]int64, n*inner)
	for i := range n {
		for p := range inner {
			labels[i*inner+p] = rng.Int64N(k+1) - 1
			for j := range k {
				a, b := (i*k+j)*inner+p, (i*inner+p)*k+j
				first.F[a] = float32(3 * rng.NormFloat64())
				teacher[a] = float32(3 * rng.NormFloat64())
				last.F[b], teacherLast[b] = first.F[a], teacher[a]
			}
		}
	}
	for _, c := range []struct {
		name    string
		of      func(last bool) Loss
		counted bool
	}{
		{"cross-entropy", func(last bool) Loss { return CrossEntropy{Last: last} }, true},
		{"distillation", func(last bool) Loss { return Distillation{Temperature: 3, Last: last} }, false},
		{"both", func(last bool) Loss { return Distillation{Temperature: 3, LabelWeight: 0.4, Last: last} }, true},
	} {
		d, e := op.New(op.Float, n, k, inner), op.New(op.Float, n, inner, k)
		a, err := c.of(false).Eval(first, &Target{Labels: labels, Values: teacher}, d)
		if err != nil {
			t.Fatal(err)
		}
		b, err := c.of(true).Eval(last, &Target{Labels: labels, Values: teacherLast}, e)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(a-b) > 1e-9*math.Abs(b) || b == 0 {
			t.Errorf("%s: loss is %v with the classes on axis 1, %v last", c.name, a, b)
		}
		for i := range n {
			for p := range inner {
				for j := range k {
					if x, y := d.F[(i*k+j)*inner+p], e.F[(i*inner+p)*k+j]; math.Abs(float64(x-y)) > 1e-6*math.Abs(float64(y))+1e-12 {
						t.Fatalf("%s: gradient of class %d at %d of sample %d is %v on axis 1, %v last", c.name, j, p, i, x, y)
					}
				}
			}
		}
	}
	labels[n*inner-1] = k
	if _, err := (CrossEntropy{}).Eval(first, &Target{Labels: labels}, nil); err == nil || !strings.Contains(err.Error(), "label 5 is outside [0,5)") {
		t.Errorf("error is %v", err)
	}
}
