package op

import (
	"fmt"
)

// SoftmaxCrossEntropyLoss: −w[t]·v[n,t,…] for every label t, reduced, where v is the
// logarithm of the softmax of x [N,C,D1,…] over axis 1 and output 1. The class weights
// have no gradient.
// https://onnx.ai/onnx/operators/onnx__SoftmaxCrossEntropyLoss.html
func init() {
	cases := fixedWeights(lossCases())
	for i := range cases {
		cases[i].Outputs = 1 + i%2
	}
	Register(Def{
		Name: "SoftmaxCrossEntropyLoss", Since: 12,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			f := &softmaxCrossEntropy{classLoss: newClassLoss(r), outputs: max(1, n.Outputs)}
			if f.outputs > 2 {
				r.keep(fmt.Errorf("has %d outputs, wants at most 2", f.outputs))
			}
			return f, r.err
		},
		Reference: func(n Node, in []*Array) []*Array {
			x := in[0]
			v := NewArray(x.Shape...)
			Each(x.Shape, func(i []int) {
				at := append([]int{}, i...)
				classes := make([]float64, x.Shape[1])
				for k := range classes {
					at[1] = k
					classes[k] = x.V[x.At(at...)]
				}
				v.V[v.At(i...)] = x.V[x.At(i...)] - refLogSumExp(classes)
			})
			return []*Array{refClassLoss(n, in, v), v}[:n.Outputs]
		},
		Cases: cases,
	})
}

type softmaxCrossEntropy struct {
	classLoss
	outputs int
	log     *Tensor // the logarithms of the last forward pass
}

func (f *softmaxCrossEntropy) Infer(in []*Tensor) ([]*Tensor, error) {
	s, err := f.shape(in)
	if err != nil {
		return nil, err
	}
	return []*Tensor{Info(in[0].Type, s...), Info(in[0].Type, in[0].Shape...)}[:f.outputs], nil
}

func (f *softmaxCrossEntropy) Links(in, out []*Tensor) []Link {
	if f.outputs > 1 {
		return f.links(out, AxisRef{^1, 0})
	}
	return f.links(out)
}

func (f *softmaxCrossEntropy) Prepare(in, out []*Tensor, training bool) (int, error) {
	f.log = New(Float, in[0].Shape...)
	return 0, nil
}

func (f *softmaxCrossEntropy) Forward(c *Context, in, out []*Tensor) error {
	if f.log == nil {
		if _, err := f.Prepare(in, out, false); err != nil {
			return err
		}
	}
	s := softmax{axis: 1, log: true}
	if err := s.Forward(c, in[:1], []*Tensor{f.log}); err != nil {
		return err
	}
	if f.outputs > 1 {
		copy(out[1].F, f.log.F)
	}
	return f.loss(in, f.log, out[0])
}

// Reads: the logarithms of the forward pass are kept by the operator.
func (f *softmaxCrossEntropy) Reads() (in, out uint32) { return 1<<1 | 1<<2, 0 }

// Backward: the gradient of v, −d at the class of each label and that of output 1, goes
// through the logarithm of the softmax.
func (f *softmaxCrossEntropy) Backward(c *Context, in, out, dout, din []*Tensor) error {
	if len(din) > 2 && din[2] != nil {
		clear(din[2].F)
	}
	if din[0] == nil {
		return nil
	}
	dv := New(Float, f.log.Shape...)
	if f.outputs > 1 && dout[1] != nil {
		copy(dv.F, dout[1].F)
	}
	if dout[0] != nil {
		if err := f.grad(in, dv, dout[0], func(_, at int, d float32) { dv.F[at] -= d }); err != nil {
			return err
		}
	}
	s := softmax{axis: 1, log: true}
	return s.Backward(c, nil, []*Tensor{f.log}, []*Tensor{dv}, din[:1])
}
