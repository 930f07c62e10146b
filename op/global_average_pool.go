package op

import (
	"fmt"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// GlobalAveragePool: y[n,c] = the mean of x[n,c,…] over all spatial axes.
// x [N,C,D1,…], y [N,C,1,…].
// https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html
func init() {
	Register(Def{
		Name: "GlobalAveragePool", Since: 1,
		New: func(Node) (Op, error) { return &globalAveragePool{}, nil },
		Reference: func(_ Node, in []*Array) []*Array {
			return refGlobalPool(in[0], func(v []float64) float64 {
				sum := 0.0
				for _, x := range v {
					sum += x
				}
				return sum / float64(len(v))
			})
		},
		Cases: globalPoolCases(),
	})
}

// globalPoolCases are the cases that all pools over whole inputs share.
func globalPoolCases() []Case {
	return []Case{
		{In: []Arg{Rand(2, 5, 3, 4)}},
		{Name: "1d", In: []Arg{Rand(3, 4, 7)}},
		{Name: "3d", Opset: 22, In: []Arg{Rand(1, 3, 2, 3, 5)}},
		{Name: "wide", In: []Arg{Rand(2, 37, 8, 8)}},
		{Name: "point", In: []Arg{Rand(2, 6, 1, 1)}},
	}
}

// globalPool is the form of pools over all spatial axes.
type globalPool struct{}

func (globalPool) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 1, 1); err != nil {
		return nil, err
	}
	if err := wantFloats(in); err != nil {
		return nil, err
	}
	x := in[0].Shape
	if len(x) < 3 || Size(x[2:]) == 0 {
		return nil, fmt.Errorf("input has shape %s, wants [N,C,…] with non-empty spatial axes", ShapeString(x))
	}
	y := append([]int{}, x...)
	for i := 2; i < len(y); i++ {
		y[i] = 1
	}
	return []*Tensor{Info(in[0].Type, y...)}, nil
}

func (globalPool) Layouts(in []*Tensor) (want, out []Layout) {
	return []Layout{ChannelsLast}, []Layout{ChannelsLast}
}

func (globalPool) Links(in, out []*Tensor) []Link {
	return []Link{{{0, 0}, {^0, 0}}, {{0, 1}, {^0, 1}}}
}

func (globalPool) Wide(in []*Tensor) (free, same []int) { return nil, []int{0} }

// Zeros holds: the mean and the largest of zeros are zero.
func (globalPool) Zeros(zero []bool) bool { return zero[0] }

type globalAveragePool struct{ globalPool }

func (*globalAveragePool) Prepare(in, out []*Tensor, training bool) (int, error) {
	return 0, wantInner(0, in[0])
}

func (*globalAveragePool) Forward(c *Context, in, out []*Tensor) error {
	s := in[0].Shape
	if out[0].Size() == 0 {
		return nil
	}
	kernel.GlobalAvgPool(c.pool(), out[0].F, in[0].F, s[0], Size(s[2:]), s[1])
	return nil
}

func (*globalAveragePool) Reads() (in, out uint32) { return 0, 0 }

func (*globalAveragePool) Accumulates() {}

func (*globalAveragePool) Backward(c *Context, in, out, dout, din []*Tensor) error {
	s := in[0].Shape
	if in[0].Size() == 0 {
		return nil
	}
	kernel.GlobalAvgPoolGrad(c.pool(), din[0].F, dout[0].F, s[0], Size(s[2:]), s[1], din[0].Acc)
	return nil
}

func refGlobalPool(x *Array, f func(v []float64) float64) []*Array {
	shape := append([]int{}, x.Shape...)
	for i := 2; i < len(shape); i++ {
		shape[i] = 1
	}
	y := NewArray(shape...)
	n := Size(x.Shape[2:])
	for i := range y.V {
		y.V[i] = f(x.V[i*n : (i+1)*n])
	}
	return []*Array{y}
}
