package op

import "fmt"

// ReverseSequence reverses the first length[b] (input 1) elements along the time axis
// of every batch element b: y[b,t] = x[b,length[b]−1−t] for t < length[b], x[b,t] after.
// https://onnx.ai/onnx/operators/onnx__ReverseSequence.html
func init() {
	axes := func(batch, time int) Attrs { return Attrs{"batch_axis": IntAttr(batch), "time_axis": IntAttr(time)} }
	Register(Def{
		Name: "ReverseSequence", Since: 10,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			o := &reverseSequence{batch: r.Int("batch_axis", 1), time: r.Int("time_axis", 0)}
			if o.batch == o.time || min(o.batch, o.time) != 0 || max(o.batch, o.time) != 1 {
				r.keep(fmt.Errorf("batch axis %d and time axis %d, wants 0 and 1 or 1 and 0", o.batch, o.time))
			}
			return o, r.err
		},
		Reference: func(n Node, in []*Array) []*Array {
			r := &reader{n: n}
			b, t := r.Int("batch_axis", 1), r.Int("time_axis", 0)
			x := in[0]
			y := NewArray(x.Shape...)
			Each(x.Shape, func(i []int) {
				from := append([]int{}, i...)
				if l := int(in[1].V[i[b]]); i[t] < l {
					from[t] = l - 1 - i[t]
				}
				y.V[y.At(i...)] = x.V[x.At(from...)]
			})
			return []*Array{y}
		},
		Cases: []Case{
			{In: []Arg{Rand(5, 3), Const(Vector(1, 5, 4))}},
			{Name: "batch", Attrs: axes(0, 1), In: []Arg{Rand(2, 4, 3), Const(Vector(3, 1))}},
			{Name: "int64", Attrs: axes(0, 1), In: []Arg{Const(Ints([]int64{1, 2, 3, 4}, 2, 2)), Const(Vector(2, 0))}},
		},
	})
}

type reverseSequence struct{ batch, time int }

func (o *reverseSequence) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 2, 2); err != nil {
		return nil, err
	}
	x := in[0]
	if x.Rank() < 2 {
		return nil, fmt.Errorf("input has shape %s, wants rank 2 or more", ShapeString(x.Shape))
	}
	if err := wantIndex(1, in[1]); err != nil {
		return nil, err
	}
	if err := wantShape(1, in[1], x.Shape[o.batch:o.batch+1]); err != nil {
		return nil, err
	}
	if err := o.check(x, in[1]); err != nil {
		return nil, err
	}
	return []*Tensor{Info(x.Type, x.Shape...)}, nil
}

func (o *reverseSequence) check(x, lengths *Tensor) error {
	for b, l := range lengths.I {
		if l < 0 || l > int64(x.Shape[o.time]) {
			return fmt.Errorf("length %d of sequence %d, wants 0 to %d", l, b, x.Shape[o.time])
		}
	}
	return nil
}

// reversed calls f with the offsets of equally long rows of y and x.
func (o *reverseSequence) reversed(x *Tensor, lengths []int64, f func(to, from, n int)) {
	str := x.Strides()
	n := Size(x.Shape[2:])
	for b, l := range lengths {
		for t := range x.Shape[o.time] {
			from := t
			if t < int(l) {
				from = int(l) - 1 - t
			}
			f(b*str[o.batch]+t*str[o.time], b*str[o.batch]+from*str[o.time], n)
		}
	}
}

func (o *reverseSequence) Forward(c *Context, in, out []*Tensor) error {
	if err := o.check(in[0], in[1]); err != nil {
		return err
	}
	x, y := in[0], out[0]
	o.reversed(x, in[1].I, func(to, from, n int) {
		if x.F != nil {
			copy(y.F[to:to+n], x.F[from:])
		} else {
			copy(y.I[to:to+n], x.I[from:])
		}
	})
	return nil
}

func (o *reverseSequence) Links(in, out []*Tensor) []Link {
	return identityLinks(in, out, func(a int) bool { return a > 1 })
}

// Zeros holds: the elements are the input's.
func (o *reverseSequence) Zeros(zero []bool) bool { return zero[0] }

func (o *reverseSequence) Reads() (in, out uint32) { return 1 << 1, 0 }

func (o *reverseSequence) Backward(c *Context, in, out, dout, din []*Tensor) error {
	if din[0] == nil {
		return nil
	}
	o.reversed(dout[0], in[1].I, func(to, from, n int) { copy(din[0].F[from:from+n], dout[0].F[to:]) })
	return nil
}
