package op

import (
	"fmt"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// GRU: with the gates z, r, n from x·wᵀ + h·rᵀ + b, h' = (1−σ(z))⊙tanh(n) + σ(z)⊙h, the
// activations by default. n has (σ(r)⊙h)·rᵀ in place of h·rᵀ, or, with
// linear_before_reset, σ(r)⊙(h·rᵀ + b). Outputs are y and the last h.
// https://onnx.ai/onnx/operators/onnx__GRU.html
func init() {
	attrs := func(dir string, linear int) Attrs {
		return Attrs{"direction": StringAttr(dir), "linear_before_reset": IntAttr(linear)}
	}
	lens := Const(&Tensor{Type: Int32, Shape: []int{2}, I: []int64{3, 4}})
	Register(Def{
		Name: "GRU", Since: 7, Weights: []int{1, 2}, Params: []int{1, 2, 3},
		New: func(n Node) (Op, error) {
			k := &gruCell{}
			f, r := newRecurrent(n, k, "Sigmoid", "Tanh")
			k.linear = r.Bool("linear_before_reset", false)
			if f.outputs > 2 {
				r.keep(fmt.Errorf("has %d outputs, wants at most 2", f.outputs))
			}
			return &gru{f}, r.err
		},
		Reference: func(n Node, in []*Array) []*Array { return refRecurrent(n, in, 3) },
		Cases: []Case{
			{Outputs: 2, In: []Arg{Rand(4, 2, 5), Rand(1, 9, 5), Rand(1, 9, 3)}},
			{Name: "full", Outputs: 2, Attrs: attrs("bidirectional", 0),
				In: []Arg{Rand(4, 2, 5), Rand(2, 9, 5), Rand(2, 9, 3), Rand(2, 18), lens, Rand(2, 2, 3)}},
			{Name: "linear", Outputs: 2, Attrs: attrs("bidirectional", 1),
				In: []Arg{Rand(4, 2, 5), Rand(2, 9, 5), Rand(2, 9, 3), Rand(2, 18), lens, Rand(2, 2, 3)}},
			{Name: "linear reverse", Opset: 14, Attrs: attrs("reverse", 1), In: []Arg{Rand(3, 2, 4), Rand(1, 6, 4), Rand(1, 6, 2)}},
		},
	})
}

type gru struct{ *recurrent }

func (f *gru) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := f.shapes(in, 6); err != nil {
		return nil, err
	}
	return f.infer(in)
}

// gruCell keeps r⊙h per step, or h·rᵀ + b of n with linear.
type gruCell struct{ linear bool }

func (*gruCell) gates() int { return 3 }

func (g *gruCell) bias(row, b []float32) {
	kernel.Add(row, row, b[:len(row)])
	n := len(row)
	if g.linear {
		n = len(row) / 3 * 2 // that of n comes after the reset
	}
	kernel.Add(row[:n], row[:n], b[len(row):][:n])
}

func (g *gruCell) biasGrad(f *recurrent, d int, db []float32) {
	n := 3 * f.H
	sumRows(db[:n], f.dirs[d].dgates, n)
	if !g.linear {
		sumRows(db[n:], f.dirs[d].dgates, n)
		return
	}
	sumRows(db[n:][:2*f.H], f.dirs[d].dgates, n)
	for i := 0; i < len(f.dirs[d].dgates); i += n { // dn·r
		r, dn := f.dirs[d].gates[i+f.H:][:f.H], f.dirs[d].dgates[i+2*f.H:][:f.H]
		for e, v := range dn {
			db[n+2*f.H+e] += v * r[e]
		}
	}
}

func (g *gruCell) forward(c *Context, f *recurrent, in []*Tensor, k, s int) {
	d, h, n := f.dirs[k], f.H, 3*f.H
	r, old := f.matrix(in[2], k), f.before(d.h, s)
	extra := d.extra[s*f.B*h:][:f.B*h]
	all := 2 * h
	if g.linear {
		all = n
	}
	clear(extra)
	f.times(c, f.step, n, old, h, r[:all*h], f.B, all, h, 0)
	for b := range f.B {
		t, ok := f.row(in, k, s, b)
		if !ok {
			continue
		}
		row, x := d.gates[(t*f.B+b)*n:][:n], extra[b*h:][:h]
		kernel.Add(row[:2*h], row[:2*h], f.step[b*n:][:2*h])
		f.act[k][0].f(row[:2*h], row[:2*h])
		if !g.linear {
			kernel.Mul(x, row[h:2*h], old[b*h:][:h])
			continue
		}
		copy(x, f.step[b*n+2*h:])
		if hasInput(in, 3) {
			kernel.Add(x, x, f.matrix(in[3], k)[5*h:])
		}
		for e, v := range x {
			row[2*h+e] += row[h+e] * v
		}
	}
	if !g.linear {
		f.times(c, f.step[2*h:], n, extra, h, r[2*h*h:], f.B, h, h, 0)
	}
	for b := range f.B {
		t, ok := f.row(in, k, s, b)
		if !ok {
			continue
		}
		row, new := d.gates[(t*f.B+b)*n:][:n], f.after(d.h, s)[b*h:][:h]
		z, m := row[:h], row[2*h:]
		if !g.linear {
			kernel.Add(m, m, f.step[b*n+2*h:][:h])
		}
		f.act[k][1].f(m, m)
		for e, v := range old[b*h:][:h] {
			new[e] = (1-z[e])*m[e] + z[e]*v
		}
	}
}

func (g *gruCell) backward(c *Context, f *recurrent, in, din []*Tensor, k, s int) {
	d, h, n := f.dirs[k], f.H, 3*f.H
	r, old := f.matrix(in[2], k), f.before(d.h, s)
	extra := d.extra[s*f.B*h:][:f.B*h]
	var dr []float32
	if din[2] != nil {
		dr = f.matrix(din[2], k)
	}
	clear(f.step)
	for b := range f.B {
		t, ok := f.row(in, k, s, b)
		if !ok {
			continue
		}
		row, dg, dh := d.gates[(t*f.B+b)*n:][:n], d.dgates[(t*f.B+b)*n:][:n], f.dh[b*h:][:h]
		for e := range h {
			z, m := row[e], row[2*h+e]
			dg[e] = dh[e] * (old[b*h+e] - m) * f.act[k][0].d(z)
			dn := dh[e] * (1 - z) * f.act[k][1].d(m)
			dg[2*h+e] = dn
			dh[e] *= z
			if g.linear {
				dg[h+e] = dn * extra[b*h+e] * f.act[k][0].d(row[h+e])
				dn *= row[h+e]
			}
			f.step[b*n+2*h+e] = dn
		}
	}
	if !g.linear {
		g.throughReset(c, f, in, k, s, dr)
	}
	for b := range f.B {
		if t, ok := f.row(in, k, s, b); ok {
			copy(f.step[b*n:][:2*h], d.dgates[(t*f.B+b)*n:])
		}
	}
	all := 2 * h
	if g.linear {
		all = n
	}
	f.back(c, f.dh, f.step, n, r[:all*h], f.B, all, h, 1)
	if dr != nil {
		f.outer(c, dr[:all*h], f.step, n, old, f.B, all, h)
	}
}

// throughReset passes the gradient of n on to r⊙h; f.dc, which a GRU has no other use
// for, takes it.
func (g *gruCell) throughReset(c *Context, f *recurrent, in []*Tensor, k, s int, dr []float32) {
	d, h, n := f.dirs[k], f.H, 3*f.H
	r, old := f.matrix(in[2], k), f.before(d.h, s)
	f.back(c, f.dc, f.step[2*h:], n, r[2*h*h:], f.B, h, h, 0)
	if dr != nil {
		f.outer(c, dr[2*h*h:], f.step[2*h:], n, d.extra[s*f.B*h:][:f.B*h], f.B, h, h)
	}
	for b := range f.B {
		t, ok := f.row(in, k, s, b)
		if !ok {
			continue
		}
		row, dg := d.gates[(t*f.B+b)*n:][:n], d.dgates[(t*f.B+b)*n:][:n]
		for e, v := range f.dc[b*h:][:h] {
			dg[h+e] = v * old[b*h+e] * f.act[k][0].d(row[h+e])
			f.dh[b*h+e] += v * row[h+e]
		}
	}
}
