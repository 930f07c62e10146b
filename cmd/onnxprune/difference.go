package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/onnxprune/onnxprune/op"
	"github.com/onnxprune/onnxprune/report"
)

// difference is how far two outputs are apart.
type difference struct {
	Output string `json:"output,omitempty"`
	// MaxAbs is max |a-b|, MaxRel that divided by the largest |a| of the output.
	MaxAbs report.Number `json:"max_abs"`
	MaxRel report.Number `json:"max_rel"`
	// Agree is the fraction of samples with the same top-1 class.
	Agree *float64 `json:"agree,omitempty"`

	top            float64
	agreed, voters int
	largest        float64
}

// verification is the JSON of verify: all outputs together, then each.
type verification struct {
	difference
	Samples   int           `json:"samples"`
	Tolerance float64       `json:"tolerance"`
	Equal     bool          `json:"within_tolerance"`
	Outputs   []*difference `json:"outputs"`
	// Until names the first nodes that cannot be run; Outputs are then what goes into such
	// nodes, and what is behind them was not compared.
	Until []string `json:"until,omitempty"`
	// First is the first node whose result differs, where the models have results of
	// the same name and shape.
	First string `json:"first_difference,omitempty"`
}

// add compares the first rows of two tensors of equal shape.
func (d *difference) add(a, b *op.Tensor, rows, batch int) {
	n := a.Size()
	if a.Rank() > 0 && a.Shape[0] == batch {
		n = n / batch * rows
	}
	at := func(t *op.Tensor, i int) float64 {
		if t.F != nil {
			return float64(t.F[i])
		}
		return float64(t.I[i])
	}
	for i := range n {
		x, y := at(a, i), at(b, i)
		d.largest = math.Max(d.largest, math.Abs(x))
		diff := math.Abs(x - y)
		if x == y || math.IsNaN(x) && math.IsNaN(y) {
			diff = 0
		} else if math.IsNaN(diff) {
			diff = math.Inf(1)
		}
		d.top = math.Max(d.top, diff)
	}
	if a.F == nil || a.Rank() != 2 || a.Shape[0] != batch || a.Shape[1] < 2 {
		return
	}
	k := a.Shape[1]
	for r := range rows {
		d.voters++
		if argmax(a.F[r*k:(r+1)*k]) == argmax(b.F[r*k:(r+1)*k]) {
			d.agreed++
		}
	}
}

func argmax(v []float32) int {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return best
}

func (d *difference) finish() {
	d.MaxAbs = report.Number(d.top)
	if d.top > 0 {
		d.MaxRel = report.Number(d.top / d.largest)
	}
	if d.voters > 0 {
		f := float64(d.agreed) / float64(d.voters)
		d.Agree = &f
	}
}

// finish sums up: the largest differences, and the agreement of the first output that
// has classes.
func (v *verification) finish() {
	for _, o := range v.Outputs {
		o.finish()
		v.MaxAbs = max(v.MaxAbs, o.MaxAbs)
		v.MaxRel = max(v.MaxRel, o.MaxRel)
		if v.Agree == nil {
			v.Agree = o.Agree
		}
	}
	v.Equal = float64(v.MaxAbs) <= v.Tolerance
}

// partialRows is how many of the values before nodes that cannot be run are shown, the
// furthest apart first.
const partialRows = 10

func (v *verification) print(con *console) error {
	t := report.NewTable("output", ">max abs", ">max rel", ">top-1 agreement")
	shown := v.Outputs
	if len(v.Until) > 0 && len(shown) > partialRows {
		shown = slices.Clone(shown)
		slices.SortStableFunc(shown, func(a, b *difference) int { return cmp.Compare(b.top, a.top) })
		shown = shown[:partialRows]
	}
	for _, o := range shown {
		agree := "-"
		if o.Agree != nil {
			agree = report.Percent(*o.Agree)
		}
		t.Row(o.Output, fmt.Sprintf("%.3g", float64(o.MaxAbs)), fmt.Sprintf("%.3g", float64(o.MaxRel)), agree)
	}
	if err := t.Write(con.out); err != nil {
		return err
	}
	if n := len(v.Outputs) - len(shown); n > 0 {
		fmt.Fprintf(con.out, "and %s, no further apart\n", plural(n, "more value"))
	}
	if len(v.Until) > 0 {
		fmt.Fprintf(con.out, "partial: what goes into %s was compared, what comes out was not\n", list(v.Until))
	}
	_, err := fmt.Fprintf(con.out, "%s compared, tolerance %g\n", plural(v.Samples, "sample"), v.Tolerance)
	return err
}
