package op

import "fmt"

// classLoss is what losses over class labels share: for x [N,C,D1,…], labels t [N,D1,…]
// and optional class weights w [C], every label gives w[t]·v for a value v of x at the
// label's class. reduction none keeps them, sum adds them up, and mean divides the sum by
// Σ w[t]. Labels equal to ignore_index count for nothing.
type classLoss struct {
	reduction string
	ignore    int64
	ignores   bool
}

func newClassLoss(r *reader) classLoss {
	f := classLoss{reduction: r.String("reduction", "mean"), ignores: r.Has("ignore_index"), ignore: int64(r.Int("ignore_index", 0))}
	oneOf(r, "reduction", f.reduction, "none", "sum", "mean")
	return f
}

// shape checks the inputs and returns that of the loss.
func (f *classLoss) shape(in []*Tensor) ([]int, error) {
	if err := wantInputs(in, 2, 3); err != nil {
		return nil, err
	}
	x, t := in[0].Shape, in[1]
	if !in[0].Type.IsFloat() || hasInput(in, 2) && !in[2].Type.IsFloat() {
		return nil, fmt.Errorf("inputs 0 and 2 want a float type")
	}
	if err := wantIndex(1, t); err != nil {
		return nil, err
	}
	if len(x) < 2 || x[1] < 1 {
		return nil, fmt.Errorf("input has shape %s, wants classes on axis 1", ShapeString(x))
	}
	if err := wantShape(1, t, append([]int{x[0]}, x[2:]...)); err != nil {
		return nil, err
	}
	if hasInput(in, 2) {
		if err := wantShape(2, in[2], x[1:2]); err != nil {
			return nil, err
		}
	}
	if f.reduction == "none" {
		return t.Shape, nil
	}
	return []int{}, nil
}

// each calls g for every label that counts: its number, the offset in x of its class and
// its weight.
func (f *classLoss) each(in []*Tensor, x *Tensor, g func(i, at int, w float32)) error {
	c, p := x.Shape[1], Size(x.Shape[2:])
	for i, t := range in[1].I {
		if f.ignores && t == f.ignore {
			continue
		}
		if t < 0 || t >= int64(c) {
			return fmt.Errorf("label %d, wants 0 to %d", t, c-1)
		}
		w := float32(1)
		if hasInput(in, 2) {
			w = in[2].F[t]
		}
		g(i, (i/p*c+int(t))*p+i%p, w)
	}
	return nil
}

// total is the sum of the weights of all labels.
func (f *classLoss) total(in []*Tensor, x *Tensor) (float64, error) {
	sum := 0.0
	err := f.each(in, x, func(_, _ int, w float32) { sum += float64(w) })
	return sum, err
}

// loss writes −w·v of all labels, reduced, for the log-probabilities v.
func (f *classLoss) loss(in []*Tensor, v, y *Tensor) error {
	if f.reduction == "none" {
		clear(y.F)
		return f.each(in, v, func(i, at int, w float32) { y.F[i] = -w * v.F[at] })
	}
	sum := 0.0
	if err := f.each(in, v, func(_, at int, w float32) { sum -= float64(w) * float64(v.F[at]) }); err != nil {
		return err
	}
	if f.reduction == "mean" {
		n, err := f.total(in, v)
		if err != nil {
			return err
		}
		sum /= n
	}
	y.F[0] = float32(sum)
	return nil
}

// grad calls g with the offset of every label's class and the gradient of −v there.
func (f *classLoss) grad(in []*Tensor, x, dy *Tensor, g func(i, at int, d float32)) error {
	n := 1.0
	if f.reduction == "mean" {
		var err error
		if n, err = f.total(in, x); err != nil {
			return err
		}
	}
	return f.each(in, x, func(i, at int, w float32) {
		d := dy.F[0]
		if f.reduction == "none" {
			d = dy.F[i]
		}
		g(i, at, float32(float64(d)*float64(w)/n))
	})
}

// Links joins samples where they keep their losses apart.
func (f *classLoss) links(out []*Tensor, extra ...AxisRef) []Link {
	if f.reduction != "none" {
		return nil
	}
	return []Link{append(Link{{0, 0}, {1, 0}, {^0, 0}}, extra...)}
}

// lossCases are the cases that losses over labels share.
func lossCases() []Case {
	labels := Const(Ints([]int64{0, 2, 1, 2, 0, 1}, 2, 3))
	with := func(reduction string, kv ...any) Attrs {
		a := Attrs{"reduction": StringAttr(reduction)}
		if len(kv) > 0 {
			a["ignore_index"] = IntAttr(kv[0].(int))
		}
		return a
	}
	w := RandIn(0.5, 2, 3)
	return []Case{
		{In: []Arg{Rand(4, 3), Const(Vector(0, 2, 1, 2))}},
		{Name: "weights", In: []Arg{Rand(2, 3, 3), labels, Const(Floats([]float32{0.5, 2, 1}, 3))}},
		{Name: "none", Attrs: with("none"), In: []Arg{Rand(2, 3, 3), labels}},
		{Name: "sum", Attrs: with("sum", 2), In: []Arg{Rand(2, 3, 3), labels, Const(Floats([]float32{0.5, 2, 1}, 3))}},
		{Name: "ignored", Opset: 13, Attrs: with("mean", -1), In: []Arg{Rand(4, 3), Const(Vector(0, -1, 1, 2))}},
		{Name: "images", Attrs: with("none", 0), In: []Arg{Rand(2, 3, 2, 2), Const(Ints([]int64{0, 1, 2, 1, 2, 2, 0, 1}, 2, 2, 2)), w}},
	}
}

// refClassLoss reduces −w·v over labels.
func refClassLoss(n Node, in []*Array, v *Array) *Array {
	r := &reader{n: n}
	t := in[1]
	each := NewArray(t.Shape...)
	sum, weights := 0.0, 0.0
	Each(t.Shape, func(i []int) {
		label := t.V[t.At(i...)]
		if a, ok := n.Attrs["ignore_index"]; ok && float64(a.I) == label {
			return
		}
		w := 1.0
		if len(in) > 2 && in[2] != nil {
			w = in[2].V[int(label)]
		}
		l := -w * v.V[v.At(append([]int{i[0], int(label)}, i[1:]...)...)]
		each.V[each.At(i...)] = l
		sum, weights = sum+l, weights+w
	})
	y := NewArray()
	switch r.String("reduction", "mean") {
	case "none":
		return each
	case "sum":
		y.V[0] = sum
	default:
		y.V[0] = sum / weights
	}
	return y
}
