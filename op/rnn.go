package op

import (
	"fmt"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// RNN: h' = tanh(x·wᵀ + h·rᵀ + b), the activation by default. Outputs are y and the last
// h. https://onnx.ai/onnx/operators/onnx__RNN.html
func init() {
	lens := Const(&Tensor{Type: Int32, Shape: []int{2}, I: []int64{1, 4}})
	Register(Def{
		Name: "RNN", Since: 7, Weights: []int{1, 2}, Params: []int{1, 2, 3},
		New: func(n Node) (Op, error) {
			f, r := newRecurrent(n, rnnCell{}, "Tanh")
			if f.outputs > 2 {
				r.keep(fmt.Errorf("has %d outputs, wants at most 2", f.outputs))
			}
			return &rnn{f}, r.err
		},
		Reference: func(n Node, in []*Array) []*Array { return refRecurrent(n, in, 1) },
		Cases: []Case{
			{Outputs: 2, In: []Arg{Rand(4, 2, 5), Rand(1, 3, 5), Rand(1, 3, 3)}},
			{Name: "full", Outputs: 2, Attrs: Attrs{"direction": StringAttr("bidirectional")},
				In: []Arg{Rand(4, 2, 5), Rand(2, 3, 5), Rand(2, 3, 3), Rand(2, 6), lens, Rand(2, 2, 3)}},
			{Name: "batch first", Opset: 14, Outputs: 2, Attrs: Attrs{"layout": IntAttr(1), "activations": {Kind: KindStrings, Strings: []string{"Sigmoid"}}},
				In: []Arg{Rand(2, 4, 5), Rand(1, 3, 5), Rand(1, 3, 3), Rand(1, 6), None(), Rand(2, 1, 3)}},
		},
	})
}

type rnn struct{ *recurrent }

func (f *rnn) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := f.shapes(in, 6); err != nil {
		return nil, err
	}
	return f.infer(in)
}

type rnnCell struct{}

func (rnnCell) gates() int { return 1 }

func (rnnCell) bias(row, b []float32) { lstmCell{}.bias(row, b) }

func (rnnCell) biasGrad(f *recurrent, d int, db []float32) {
	sumRows(db[:f.H], f.dirs[d].dgates, f.H)
	sumRows(db[f.H:], f.dirs[d].dgates, f.H)
}

func (rnnCell) forward(c *Context, f *recurrent, in []*Tensor, k, s int) {
	d, h := f.dirs[k], f.H
	f.times(c, f.step, h, f.before(d.h, s), h, f.matrix(in[2], k), f.B, h, h, 0)
	for b := range f.B {
		if t, ok := f.row(in, k, s, b); ok {
			g := d.gates[(t*f.B+b)*h:][:h]
			kernel.Add(g, g, f.step[b*h:][:h])
			f.act[k][0].f(g, g)
			copy(f.after(d.h, s)[b*h:][:h], g)
		}
	}
}

func (rnnCell) backward(c *Context, f *recurrent, in, din []*Tensor, k, s int) {
	d, h := f.dirs[k], f.H
	clear(f.step)
	for b := range f.B {
		t, ok := f.row(in, k, s, b)
		if !ok {
			continue
		}
		g, dg, dh := d.gates[(t*f.B+b)*h:][:h], d.dgates[(t*f.B+b)*h:][:h], f.dh[b*h:][:h]
		for e, y := range g {
			dg[e] = dh[e] * f.act[k][0].d(y)
			dh[e] = 0
		}
		copy(f.step[b*h:][:h], dg)
	}
	f.back(c, f.dh, f.step, h, f.matrix(in[2], k), f.B, h, h, 1)
	if din[2] != nil {
		f.outer(c, f.matrix(din[2], k), f.step, h, f.before(d.h, s), f.B, h, h)
	}
}
