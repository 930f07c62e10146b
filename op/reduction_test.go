package op

import (
	"math"
	"testing"

	"github.com/onnxprune/onnxprune/internal/kernel"
	"pgregory.net/rapid"
)

// drawBroadcast draws a shape of up to four axes and one that broadcasts to it.
func drawBroadcast(t *rapid.T, label string) (shape, part []int) {
	limit := 1 << 17
	for i := rapid.IntRange(1, 4).Draw(t, label+" rank"); i > 0; i-- {
		d := rapid.OneOf(rapid.IntRange(1, 9), rapid.IntRange(10, 70), rapid.IntRange(400, 5000)).Draw(t, label)
		d = max(1, min(d, limit))
		limit /= d
		shape = append(shape, d)
		if rapid.Bool().Draw(t, "broadcast") {
			d = 1
		}
		part = append(part, d)
	}
	return shape, part
}

func ramp(shape []int, l Layout) *Tensor {
	x := &Tensor{Type: Float, Shape: shape, Layout: l}
	x.Alloc()
	state := uint32(1)
	for i := range x.F {
		state = state*1664525 + 1013904223
		x.F[i] = float32(state>>8)/(1<<24) - 0.5
	}
	return x
}

// at reads a tensor at an index of a shape that it is broadcast to.
func at(x *Tensor, str []int, idx []int) float64 {
	o := 0
	for i, k := range idx {
		o += k * str[i]
	}
	return float64(x.F[o])
}

func drawLayout(t *rapid.T) Layout { return Layout(rapid.IntRange(0, 1).Draw(t, "layout")) }

// TestReduction holds Σ a·b over random axes against a plain float64 loop, and
// one thread against three.
func TestReduction(t *testing.T) {
	one, three := kernel.NewPool(1), kernel.NewPool(3)
	defer one.Close()
	defer three.Close()
	rapid.Check(t, func(t *rapid.T) {
		shape, kept := drawBroadcast(t, "dim")
		other := append([]int{}, shape...)
		for i := range other {
			if rapid.Bool().Draw(t, "other") {
				other[i] = 1
			}
		}
		a, b := ramp(shape, drawLayout(t)), ramp(other, drawLayout(t))
		y := ramp(kept, drawLayout(t))
		str, bs := spread(y, shape), spread(b, shape)
		want := make([]float64, len(y.F))
		size := make([]float64, len(y.F))
		as := a.Strides()
		Each(shape, func(idx []int) {
			o := 0
			for i, k := range idx {
				o += k * str[i]
			}
			v := at(a, as, idx) * at(b, bs, idx)
			want[o] += v
			size[o] += math.Abs(v)
		})
		r := reduction{each: func(e []float32, x *vectors) { kernel.Mul(e, x[0], x[1]) }}
		r.run(&Context{Pool: one}, shape, operand{y.F, str}, dense(a), operand{b.F, bs})
		for i, w := range want {
			if e := math.Abs(float64(y.F[i]) - w); !(e <= 1e-6*(size[i]+1e-3)) {
				t.Fatalf("element %d is %v, wants %v", i, y.F[i], w)
			}
		}
		z := ramp(kept, y.Layout)
		r.run(&Context{Pool: three}, shape, operand{z.F, str}, dense(a), operand{b.F, bs})
		for i, v := range y.F {
			if z.F[i] != v {
				t.Fatalf("element %d is %v at one thread, %v at three", i, v, z.F[i])
			}
		}
	})
}

// TestPointwise holds a - b over random broadcasts against a plain loop.
func TestPointwise(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	rapid.Check(t, func(t *rapid.T) {
		shape, part := drawBroadcast(t, "dim")
		a, b, y := ramp(shape, drawLayout(t)), ramp(part, drawLayout(t)), ramp(shape, drawLayout(t))
		as, bs, ys := a.Strides(), spread(b, shape), y.Strides()
		pointwise(&Context{Pool: pool}, shape, dense(y), func(d []float32, x *vectors) { kernel.Sub(d, x[0], x[1]) },
			dense(a), operand{b.F, bs})
		Each(shape, func(idx []int) {
			want := float32(at(a, as, idx)) - float32(at(b, bs, idx))
			if got := float32(at(y, ys, idx)); got != want {
				t.Fatalf("element %v is %v, wants %v", idx, got, want)
			}
		})
	})
}

// TestReductionMaximum folds over chunks with something else than a sum.
func TestReductionMaximum(t *testing.T) {
	x := ramp([]int{70001}, RowMajor)
	x.F[60000] = 7
	y := make([]float32, 1)
	r := reduction{init: math.Inf(-1), fold: foldMax, done: func(v float64) float64 { return 2 * v }}
	r.run(nil, x.Shape, operand{y, []int{0}}, dense(x))
	if y[0] != 14 {
		t.Errorf("twice the maximum is %v, wants 14", y[0])
	}
}

// TestReductionPrecision sums many equal rows: float32 alone would drift.
func TestReductionPrecision(t *testing.T) {
	x := New(Float, 2700, 2, 2, 3)
	for i := range x.F {
		x.F[i] = 0.1
	}
	y := New(Float, 1, 2, 1, 3)
	new(reduction).run(nil, x.Shape, operand{y.F, spread(y, x.Shape)}, dense(x))
	want := 2700 * 2 * float64(float32(0.1))
	for i, v := range y.F {
		if e := math.Abs(float64(v)/want - 1); e > 1e-6 {
			t.Errorf("element %d is %v, wants %v", i, v, want)
		}
	}
}
