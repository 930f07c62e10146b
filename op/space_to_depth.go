package op

import "fmt"

// SpaceToDepth moves grids of b×b pixels to b·b channels: the pixel at offset
// (i,j) of channel k goes to channel (i·b+j)·C+k. x [N,C,H,W], y [N,C·b²,H/b,W/b].
// https://onnx.ai/onnx/operators/onnx__SpaceToDepth.html
func init() {
	Register(Def{
		Name: "SpaceToDepth", Since: 1,
		New: func(n Node) (Op, error) {
			f, r := newBlocks(n)
			return &spaceToDepth{f}, r.err
		},
		Reference: refSpaceToDepth,
		Cases: []Case{
			{In: []Arg{Rand(2, 3, 4, 6)}, Attrs: Attrs{"blocksize": IntAttr(2)}},
			{Name: "three", Opset: 11, In: []Arg{Rand(1, 2, 6, 3)}, Attrs: Attrs{"blocksize": IntAttr(3)}},
		},
	})
}

type spaceToDepth struct{ *blocks }

func (f *spaceToDepth) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := f.wantImages(in); err != nil {
		return nil, err
	}
	x, b := in[0].Shape, f.size
	if x[2]%b != 0 || x[3]%b != 0 {
		return nil, fmt.Errorf("input has shape %s, wants height and width to be multiples of %d", ShapeString(x), b)
	}
	y := Info(in[0].Type, x[0], x[1]*b*b, x[2]/b, x[3]/b)
	return []*Tensor{y}, checkSize(y.Shape)
}

// Couplings joins an input channel with the b² output channels that it becomes.
func (f *spaceToDepth) Couplings(in, out []*Tensor) []Coupling { return f.couplings(^0, 0) }

func (f *spaceToDepth) Prepare(in, out []*Tensor, training bool) (int, error) {
	f.prepare(out[0], in[0])
	return 0, nil
}

func (f *spaceToDepth) Forward(c *Context, in, out []*Tensor) error {
	f.move(c, out[0], in[0], false, false)
	return nil
}

func (f *spaceToDepth) Backward(c *Context, in, out, dout, din []*Tensor) error {
	if din[0] != nil {
		f.move(c, dout[0], din[0], true, din[0].Acc)
	}
	return nil
}

func refSpaceToDepth(n Node, in []*Array) []*Array {
	x, b := in[0], int(n.Attrs["blocksize"].I)
	y := NewArray(x.Shape[0], x.Shape[1]*b*b, x.Shape[2]/b, x.Shape[3]/b)
	Each(x.Shape, func(p []int) {
		c := (p[2]%b*b+p[3]%b)*x.Shape[1] + p[1]
		y.V[y.At(p[0], c, p[2]/b, p[3]/b)] = x.V[x.At(p...)]
	})
	return []*Array{y}
}
