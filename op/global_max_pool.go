package op

import (
	"slices"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// GlobalMaxPool: y[n,c] = the maximum of x[n,c,…] over all spatial axes.
// x [N,C,D1,…], y [N,C,1,…].
// https://onnx.ai/onnx/operators/onnx__GlobalMaxPool.html
func init() {
	Register(Def{
		Name: "GlobalMaxPool", Since: 1,
		New: func(n Node) (Op, error) {
			return &globalMaxPool{pool: maxPool{outputs: 1, training: n.Training}}, nil
		},
		Reference: func(_ Node, in []*Array) []*Array { return refGlobalPool(in[0], slices.Max[[]float64]) },
		Cases:     append(globalPoolCases(), Case{Name: "training", In: []Arg{Rand(2, 3, 4, 5)}, Training: true}),
	})
}

// globalMaxPool is a max pool whose window is the whole input.
type globalMaxPool struct {
	globalPool
	pool maxPool
}

func (f *globalMaxPool) Prepare(in, out []*Tensor, training bool) (int, error) {
	s := in[0].Shape
	hw := Size(s[2:])
	f.pool.shape = kernel.PoolShape{
		N: s[0], C: s[1], H: 1, KH: 1, OH: 1, W: hw, KW: hw, OW: 1,
		StrideH: 1, StrideW: 1, DilH: 1, DilW: 1,
	}
	f.pool.keep(out[0].Size(), training)
	return 0, wantInner(0, in[0])
}

func (f *globalMaxPool) Forward(c *Context, in, out []*Tensor) error {
	if f.pool.shape.OW == 0 {
		if _, err := f.Prepare(in, out, false); err != nil {
			return err
		}
	}
	return f.pool.Forward(c, in, out)
}

func (f *globalMaxPool) Reads() (in, out uint32) { return f.pool.Reads() }

func (f *globalMaxPool) Accumulates() {}

func (f *globalMaxPool) Backward(c *Context, in, out, dout, din []*Tensor) error {
	return f.pool.Backward(c, in, out, dout, din)
}
