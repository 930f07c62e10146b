package op

import (
	"fmt"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// LSTM: with the gates i, o, f, g from x·wᵀ + h·rᵀ + b, peepholes p (input 7) adding
// p⊙c to i, o and f, c' = σ(f)⊙c + σ(i)⊙tanh(g) and h' = σ(o)⊙tanh(c'), the activations
// by default. Input 6 is the initial c; outputs are y, the last h and the last c.
// https://onnx.ai/onnx/operators/onnx__LSTM.html
func init() {
	attrs := func(dir string, layout int) Attrs {
		return Attrs{"direction": StringAttr(dir), "layout": IntAttr(layout), "hidden_size": IntAttr(3)}
	}
	lens := Const(&Tensor{Type: Int32, Shape: []int{2}, I: []int64{4, 2}})
	Register(Def{
		Name: "LSTM", Since: 7, Weights: []int{1, 2}, Params: []int{1, 2, 3, 7},
		New: func(n Node) (Op, error) {
			f, r := newRecurrent(n, lstmCell{}, "Sigmoid", "Tanh", "Tanh")
			if r.Bool("input_forget", false) {
				r.keep(fmt.Errorf("attribute %q is 1, only 0 is supported", "input_forget"))
			}
			if f.outputs > 3 {
				r.keep(fmt.Errorf("has %d outputs, wants at most 3", f.outputs))
			}
			return &lstm{f}, r.err
		},
		Reference: func(n Node, in []*Array) []*Array { return refRecurrent(n, in, 4) },
		Cases: []Case{
			{Outputs: 3, In: []Arg{Rand(4, 2, 5), Rand(1, 12, 5), Rand(1, 12, 3)}, Attrs: Attrs{"hidden_size": IntAttr(3)}},
			{Name: "full", Outputs: 3, Attrs: attrs("bidirectional", 0),
				In: []Arg{Rand(4, 2, 5), Rand(2, 12, 5), Rand(2, 12, 3), Rand(2, 24), lens, Rand(2, 2, 3), Rand(2, 2, 3), Rand(2, 9)}},
			{Name: "reverse", Opset: 14, Attrs: attrs("reverse", 1), In: []Arg{Rand(2, 4, 5), Rand(1, 12, 5), Rand(1, 12, 3), Rand(1, 24), lens}},
			{Name: "activations", Opset: 14, Outputs: 2, Attrs: Attrs{"activations": {Kind: KindStrings, Strings: []string{"Tanh", "Sigmoid", "Relu"}}},
				In: []Arg{Rand(3, 2, 4), Rand(1, 8, 4), Rand(1, 8, 2), Rand(1, 16), None(), Rand(1, 2, 2)}},
		},
	})
}

type lstm struct{ *recurrent }

func (f *lstm) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := f.shapes(in, 8); err != nil {
		return nil, err
	}
	return f.infer(in)
}

type lstmCell struct{}

func (lstmCell) gates() int { return 4 }

func (lstmCell) bias(row, b []float32) {
	kernel.Add(row, row, b[:len(row)])
	kernel.Add(row, row, b[len(row):])
}

func (lstmCell) biasGrad(f *recurrent, d int, db []float32) {
	n := 4 * f.H
	sumRows(db[:n], f.dirs[d].dgates, n)
	sumRows(db[n:], f.dirs[d].dgates, n)
}

// peepholes returns p of a direction as i, o, f; nil without.
func peepholes(f *recurrent, t *Tensor, d int) (i, o, g []float32) {
	if t == nil {
		return nil, nil, nil
	}
	v := f.matrix(t, d)
	return v[:f.H], v[f.H : 2*f.H], v[2*f.H:]
}

func (lstmCell) forward(c *Context, f *recurrent, in []*Tensor, k, s int) {
	d, h, n := f.dirs[k], f.H, 4*f.H
	f.times(c, f.step, n, f.before(d.h, s), h, f.matrix(in[2], k), f.B, n, h, 0)
	pi, po, pf := peepholes(f, input(in, 7), k)
	act := f.act[k]
	for b := range f.B {
		t, ok := f.row(in, k, s, b)
		if !ok {
			continue
		}
		g := d.gates[(t*f.B+b)*n:][:n]
		kernel.Add(g, g, f.step[b*n:][:n])
		i, o, fg, z := g[:h], g[h:2*h], g[2*h:3*h], g[3*h:]
		old, c2, h2 := f.before(d.c, s)[b*h:][:h], f.after(d.c, s)[b*h:][:h], f.after(d.h, s)[b*h:][:h]
		tanh := d.extra[(s*f.B+b)*h:][:h]
		if pi != nil {
			for e, v := range old {
				i[e] += pi[e] * v
				fg[e] += pf[e] * v
			}
		}
		act[0].f(i, i)
		act[0].f(fg, fg)
		act[1].f(z, z)
		for e, v := range old {
			c2[e] = fg[e]*v + i[e]*z[e]
		}
		if po != nil {
			for e, v := range c2 {
				o[e] += po[e] * v
			}
		}
		act[0].f(o, o)
		act[2].f(tanh, c2)
		kernel.Mul(h2, o, tanh)
	}
}

func (lstmCell) backward(c *Context, f *recurrent, in, din []*Tensor, k, s int) {
	d, h, n := f.dirs[k], f.H, 4*f.H
	pi, po, pf := peepholes(f, input(in, 7), k)
	gi, go_, gf := peepholes(f, input(din, 7), k)
	act := f.act[k]
	clear(f.step)
	for b := range f.B {
		t, ok := f.row(in, k, s, b)
		if !ok {
			continue
		}
		g, dg := d.gates[(t*f.B+b)*n:][:n], d.dgates[(t*f.B+b)*n:][:n]
		i, o, fg, z := g[:h], g[h:2*h], g[2*h:3*h], g[3*h:]
		old, c2 := f.before(d.c, s)[b*h:][:h], f.after(d.c, s)[b*h:][:h]
		tanh := d.extra[(s*f.B+b)*h:][:h]
		dh, dc := f.dh[b*h:][:h], f.dc[b*h:][:h]
		for e := range h {
			do := dh[e] * tanh[e] * act[0].d(o[e])
			e2 := dc[e] + dh[e]*o[e]*act[2].d(tanh[e])
			if po != nil {
				e2 += do * po[e]
			}
			di, df, dz := e2*z[e]*act[0].d(i[e]), e2*old[e]*act[0].d(fg[e]), e2*i[e]*act[1].d(z[e])
			dg[e], dg[h+e], dg[2*h+e], dg[3*h+e] = di, do, df, dz
			dc[e] = e2 * fg[e]
			if pi != nil {
				dc[e] += di*pi[e] + df*pf[e]
			}
			if gi != nil {
				gi[e] += di * old[e]
				gf[e] += df * old[e]
				go_[e] += do * c2[e]
			}
			dh[e] = 0
		}
		copy(f.step[b*n:][:n], dg)
	}
	f.back(c, f.dh, f.step, n, f.matrix(in[2], k), f.B, n, h, 1)
	if din[2] != nil {
		f.outer(c, f.matrix(din[2], k), f.step, n, f.before(d.h, s), f.B, n, h)
	}
}
