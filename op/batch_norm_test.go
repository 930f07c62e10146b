package op

import (
	"math"
	"testing"
)

// TestRunningStatistics checks what training does to the running statistics,
// and that frozen normalisation leaves them alone.
func TestRunningStatistics(t *testing.T) {
	for _, name := range []string{"BatchNormalization", "NormAct"} {
		d := Lookup("", name)
		if d == nil {
			d = Lookup("onnxprune", name)
		}
		for _, freeze := range []bool{false, true} {
			o, err := d.Make(Node{Type: name, Opset: 15, Outputs: 1, Training: true, Attrs: Attrs{"momentum": FloatAttr(0.75)}})
			if err != nil {
				t.Fatal(err)
			}
			x := Floats([]float32{1, 10, 2, 10, 6, 40}, 3, 2)
			in := []*Tensor{x, Floats([]float32{1, 1}, 2), Floats([]float32{0, 0}, 2), Floats([]float32{4, 8}, 2), Floats([]float32{1, 100}, 2)}
			y := New(Float, 3, 2)
			if err := o.Forward(&Context{Training: true, FreezeNorm: freeze}, in, []*Tensor{y}); err != nil {
				t.Fatal(err)
			}
			// Means 3 and 20; unbiased variances 7 and 300, biased 14/3 and 200.
			want := [][]float64{{3.75, 11}, {2.5, 150}}
			first := -2 / math.Sqrt(14.0/3+1e-5)
			if freeze {
				want = [][]float64{{4, 8}, {1, 100}}
				first = -3 / math.Sqrt(1+1e-5)
			}
			for i, w := range want {
				for k, v := range w {
					if got := float64(in[3+i].F[k]); math.Abs(got-v) > 1e-5*(1+v) {
						t.Errorf("%s, frozen %v: statistic %d of channel %d is %v, want %v", name, freeze, i, k, got, v)
					}
				}
			}
			if got := float64(y.F[0]); math.Abs(got-first) > 1e-5 {
				t.Errorf("%s, frozen %v: y[0] is %v, want %v", name, freeze, got, first)
			}
		}
	}
}

// TestUnwantedGradients checks that a gradient that is not wanted changes none
// of the others.
func TestUnwantedGradients(t *testing.T) {
	for _, training := range []bool{false, true} {
		d := Lookup("onnxprune", "NormAct")
		cs := Case{In: []Arg{Rand(4, 3), Rand(3), Rand(3), Rand(3), RandIn(1, 2, 3), Rand(4, 3)}, Training: training,
			Attrs: Attrs{"min": FloatAttr(0)}}
		in := caseInputs(cs, 5)
		p, c, err := forward(t, d, cs, in, false, 1)
		if err != nil {
			t.Fatal(err)
		}
		dy := caseInputs(Case{In: []Arg{Rand(4, 3)}}, 6)
		run := func(wanted uint) []*Tensor {
			din := make([]*Tensor, 6)
			for _, i := range []int{0, 1, 2, 5} {
				if wanted&(1<<i) != 0 {
					din[i] = New(Float, in[i].Shape...)
				}
			}
			if err := p.op.(Gradient).Backward(c, p.in, p.out, dy, din); err != nil {
				t.Fatal(err)
			}
			return din
		}
		all := run(1<<0 | 1<<1 | 1<<2 | 1<<5)
		for wanted := uint(0); wanted < 1<<6; wanted++ {
			for i, dx := range run(wanted) {
				if dx != nil {
					sameBits(t, "gradient", dx, all[i])
				}
			}
		}
	}
}
