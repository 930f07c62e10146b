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

	// For the shapes that were prepared for.
	shape, deepStr, wideStr [6]int
	// The pass in progress; the function is made once.
	to, from [6]int
	dst, src []float32
	add      bool
	rows     func(lo, hi int)
}

func newBlocks(n Node) (*blocks, *reader) {
	r := &reader{n: n}
	f := &blocks{size: r.Int("blocksize", 0)}
	if f.size < 1 || f.size > 1<<15 {
		r.keep(fmt.Errorf("attribute %q is %d, wants 1 to %d", "blocksize", f.size, 1<<15))
	}
	return f, r
}

// strides returns the shape and the strides in both tensors that visit each element
// once, in the order in which it lies in the wide one.
func (f *blocks) strides(deep, wide *Tensor) (shape, deepStr, wideStr [6]int) {
	d, w, b, c := deep.Strides(), wide.Strides(), f.size, wide.Shape[1]
	place, channel := c*d[1], d[1] // of the place in the block, and of the channel
	if f.inner {
		place, channel = d[1], b*b*d[1]
	}
	type axis struct{ n, deep, wide int }
	n, ch := axis{deep.Shape[0], d[0], w[0]}, axis{c, channel, w[1]}
	h, i := axis{deep.Shape[2], d[2], b * w[2]}, axis{b, b * place, w[2]}
	v, j := axis{deep.Shape[3], d[3], b * w[3]}, axis{b, place, w[3]}
	order := [6]axis{n, h, i, v, j, ch}
	if wide.Layout == RowMajor {
		order = [6]axis{n, ch, h, i, j, v}
	}
	for k, a := range order {
		shape[k], deepStr[k], wideStr[k] = a.n, a.deep, a.wide
	}
	return shape, deepStr, wideStr
}

// prepare fixes shapes and layouts for move.
func (f *blocks) prepare(deep, wide *Tensor) {
	f.shape, f.deepStr, f.wideStr = f.strides(deep, wide)
	f.rows = f.moveRows
}

// move copies deep to wide, or back, or adds to what is there.
func (f *blocks) move(c *Context, deep, wide *Tensor, toWide, add bool) {
	if f.rows == nil {
		f.prepare(deep, wide)
	}
	src, dst, from, to := deep, wide, f.deepStr, f.wideStr
	if !toWide {
		src, dst, from, to = wide, deep, to, from
	}
	if src.F == nil {
		move(c, f.shape[:], dst.I, 0, to[:], src.I, 0, from[:])
		return
	}
	f.dst, f.src, f.to, f.from, f.add = dst.F, src.F, to, from, add
	if n := f.shape[5]; n > 0 {
		c.Parallel(len(src.F)/n, n, f.rows)
	}
	f.dst, f.src = nil, nil
}

// moveRows moves runs along the innermost axis.
func (f *blocks) moveRows(lo, hi int) {
	n, ds, ss := f.shape[5], f.to[5], f.from[5]
	for r := lo; r < hi; r++ {
		d, s, rest := 0, 0, r
		for k := 4; k >= 0; k-- {
			x := rest % f.shape[k]
			rest /= f.shape[k]
			d, s = d+x*f.to[k], s+x*f.from[k]
		}
		switch {
		case f.add:
			for i := range n {
				f.dst[d+i*ds] += f.src[s+i*ss]
			}
		case ds == 1 && ss == 1:
			copy(f.dst[d:d+n], f.src[s:])
		default:
			for i := range n {
				f.dst[d+i*ds] = f.src[s+i*ss]
			}
		}
	}
}

func (f *blocks) wantImages(in []*Tensor) error {
	if err := wantInputs(in, 1, 1); err != nil {
		return err
	}
	if x := in[0].Shape; len(x) != 4 {
		return fmt.Errorf("input has shape %s, wants rank 4", ShapeString(x))
	}
	return nil
}

func (f *blocks) Layouts(in []*Tensor) (want, out []Layout) { return keepLayouts(in, 1) }

// couplings couples the channels of the deep tensor with b² times those of the wide
// one.
func (f *blocks) couplings(deep, wide int) []Coupling {
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
func (f *blocks) Zeros(zero []bool) bool { return zero[0] }

func (f *blocks) Reads() (in, out uint32) { return 0, 0 }

// Accumulates marks the operator as an [Accumulator].
func (f *blocks) Accumulates() {}

type depthToSpace struct{ *blocks }

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

func (f *depthToSpace) Prepare(in, out []*Tensor, training bool) (int, error) {
	f.prepare(in[0], out[0])
	return 0, nil
}

func (f *depthToSpace) Forward(c *Context, in, out []*Tensor) error {
	f.move(c, in[0], out[0], true, false)
	return nil
}

func (f *depthToSpace) Backward(c *Context, in, out, dout, din []*Tensor) error {
	if din[0] != nil {
		f.move(c, din[0], dout[0], false, din[0].Acc)
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
