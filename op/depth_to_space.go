package op

import "fmt"

// DepthToSpace moves blocks of b·b channels to a grid of b×b pixels. x [N,C,H,W],
// y [N,C/b²,H·b,W·b]. In mode DCR channel (i·b+j)·C/b²+k goes to channel k at
// offset (i,j), in mode CRD channel k·b²+i·b+j does.
// https://onnx.ai/onnx/operators/onnx__DepthToSpace.html
func init() {
	mode := func(b int, m string) Attrs { return Attrs{"blocksize": IntAttr(b), "mode": StringAttr(m)} }
	Register(Def{
		Name: "DepthToSpace", Since: 1,
		New: func(n Node) (Op, error) {
			f, r := newBlocks(n)
			switch m := r.String("mode", "DCR"); m {
			case "DCR":
			case "CRD":
				f.inner = true
			default:
				r.keep(fmt.Errorf("attribute %q is %q, wants DCR or CRD", "mode", m))
			}
			return &depthToSpace{f}, r.err
		},
		Reference: refDepthToSpace,
		Cases: []Case{
			{In: []Arg{Rand(2, 12, 3, 5)}, Attrs: Attrs{"blocksize": IntAttr(2)}},
			{Name: "crd", In: []Arg{Rand(2, 12, 3, 5)}, Attrs: mode(2, "CRD")},
			{Name: "three", Opset: 11, In: []Arg{Rand(1, 18, 2, 3)}, Attrs: mode(3, "DCR")},
			{Name: "three-crd", In: []Arg{Rand(1, 18, 2, 3)}, Attrs: mode(3, "CRD")},
			{Name: "one", In: []Arg{Rand(1, 3, 2, 2)}, Attrs: mode(1, "DCR")},
			{Name: "int64", In: []Arg{Const(Ints([]int64{1, 2, 3, 4, 5, 6, 7, 8}, 1, 4, 1, 2))}, Attrs: Attrs{"blocksize": IntAttr(2)}},
		},
	})
}

// blocks is the correspondence between the channels of a deep tensor [N,C·b²,H,W]
// and the pixels of a wide one [N,C,H·b,W·b].
type blocks struct {
	size  int
	inner bool // the place in the block varies faster than the channel
}

func newBlocks(n Node) (blocks, *reader) {
	r := &reader{n: n}
	f := blocks{size: r.Int("blocksize", 0)}
	if f.size < 1 || f.size > 1<<15 {
		r.keep(fmt.Errorf("attribute %q is %d, wants 1 to %d", "blocksize", f.size, 1<<15))
	}
	return f, r
}

// strides returns the shape [N,b,b,C,H,W] and the strides in both tensors that
// visit each element once.
func (f blocks) strides(deep, wide *Tensor) (shape, deepStr, wideStr []int) {
	d, w, b, c := deep.Strides(), wide.Strides(), f.size, wide.Shape[1]
	shape = []int{deep.Shape[0], b, b, c, deep.Shape[2], deep.Shape[3]}
	wideStr = []int{w[0], w[2], w[3], w[1], b * w[2], b * w[3]}
	if f.inner {
		return shape, []int{d[0], b * d[1], d[1], b * b * d[1], d[2], d[3]}, wideStr
	}
	return shape, []int{d[0], b * c * d[1], c * d[1], d[1], d[2], d[3]}, wideStr
}

func (f blocks) wantImages(in []*Tensor) error {
	if err := wantInputs(in, 1, 1); err != nil {
		return err
	}
	if x := in[0].Shape; len(x) != 4 {
		return fmt.Errorf("input has shape %s, wants rank 4", ShapeString(x))
	}
	return nil
}

func (f blocks) Layouts(in []*Tensor) (want, out []Layout) { return keepLayouts(in, 1) }

// couplings couples the channels of the deep tensor with b² times those of the wide
// one.
func (f blocks) couplings(deep, wide int) []Coupling {
	of := []Factor{FixedAxis(f.size * f.size), Axis(wide, 1)}
	if f.inner {
		of[0], of[1] = of[1], of[0]
	}
	return []Coupling{
		{Sides: []Side{Whole(Axis(0, 0)), Whole(Axis(^0, 0))}},
		{Sides: []Side{Whole(Axis(deep, 1)), Whole(of...)}},
	}
}

// Zeros holds: the elements are the input's.
func (f blocks) Zeros(zero []bool) bool { return zero[0] }

func (f blocks) Reads() (in, out uint32) { return 0, 0 }

// Accumulates marks the operator as an [Accumulator].
func (f blocks) Accumulates() {}

type depthToSpace struct{ blocks }

func (f *depthToSpace) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := f.wantImages(in); err != nil {
		return nil, err
	}
	x, b := in[0].Shape, f.size
	if x[1]%(b*b) != 0 {
		return nil, fmt.Errorf("input %s has %d channels, wants a multiple of %d", ShapeString(x), x[1], b*b)
	}
	return []*Tensor{Info(in[0].Type, x[0], x[1]/(b*b), x[2]*b, x[3]*b)}, nil
}

// Couplings joins an output channel with the b² input channels that it is made of.
func (f *depthToSpace) Couplings(in, out []*Tensor) []Coupling { return f.couplings(0, ^0) }

func (f *depthToSpace) Forward(c *Context, in, out []*Tensor) error {
	shape, deep, wide := f.strides(in[0], out[0])
	moveTensor(c, shape, out[0], 0, wide, in[0], 0, deep)
	return nil
}

func (f *depthToSpace) Backward(c *Context, in, out, dout, din []*Tensor) error {
	if din[0] != nil {
		shape, deep, wide := f.strides(din[0], dout[0])
		moveGrad(c, shape, din[0], 0, deep, dout[0], 0, wide)
	}
	return nil
}

func refDepthToSpace(n Node, in []*Array) []*Array {
	x, b := in[0], int(n.Attrs["blocksize"].I)
	c := x.Shape[1] / (b * b)
	y := NewArray(x.Shape[0], c, x.Shape[2]*b, x.Shape[3]*b)
	Each(y.Shape, func(q []int) {
		from := (q[2]%b*b+q[3]%b)*c + q[1]
		if n.Attrs["mode"].S == "CRD" {
			from = q[1]*b*b + q[2]%b*b + q[3]%b
		}
		y.V[y.At(q...)] = x.V[x.At(q[0], from, q[2]/b, q[3]/b)]
	})
	return []*Array{y}
}
