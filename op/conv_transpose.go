package op

import (
	"fmt"
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// ConvTranspose: every input element adds its filter to the output,
// y[n,o,p·stride−pad+t·dilation] = b[o] + Σ x[n,c,p]·w[c,o−g·O/G,t], the sum over
// the positions p, the taps t and the channels c of group g = o/(O/G). What
// falls into the padding is dropped. x [N,C,L], [N,C,H,W] or [N,C,D,H,W], w [C,O/G,k…], b [O],
// y [N,O,…] of length stride·(L−1) + output_padding + (k−1)·dilation + 1 − pads,
// or output_shape, from which pads then follow.
// https://onnx.ai/onnx/operators/onnx__ConvTranspose.html
func init() {
	attrs := func(strides, pads, extra []int) Attrs {
		a := Attrs{"strides": IntsAttr(strides...), "pads": IntsAttr(pads...)}
		if extra != nil {
			a["output_padding"] = IntsAttr(extra...)
		}
		return a
	}
	Register(Def{
		Name: "ConvTranspose", Since: 1, Weights: []int{1}, Params: []int{1, 2},
		New:       newConvTranspose,
		Reference: refConvTranspose,
		Cases: []Case{
			{In: []Arg{Rand(2, 3, 4, 5), Rand(3, 5, 3, 3), Rand(5)}},
			{Name: "double", In: []Arg{Rand(2, 6, 3, 4), Rand(6, 4, 2, 2), Rand(4)}, Attrs: Attrs{"strides": IntsAttr(2, 2), "kernel_shape": IntsAttr(2, 2)}},
			{Name: "no-bias", Opset: 7, In: []Arg{Rand(1, 3, 4, 5), Rand(3, 4, 4, 4)}, Attrs: attrs([]int{2, 2}, []int{1, 1, 1, 1}, nil)},
			{Name: "output-padding", In: []Arg{Rand(1, 3, 4, 3), Rand(3, 2, 3, 2), Rand(2)}, Attrs: attrs([]int{2, 3}, []int{1, 0, 0, 1}, []int{1, 2})},
			{Name: "gaps", In: []Arg{Rand(1, 2, 3, 4), Rand(2, 3, 2, 1), Rand(3)}, Attrs: Attrs{"strides": IntsAttr(3, 2)}},
			{Name: "dilations", In: []Arg{Rand(1, 2, 4, 3), Rand(2, 3, 3, 2)}, Attrs: Attrs{"dilations": IntsAttr(2, 3), "pads": IntsAttr(1, 0, 2, 1)}},
			{Name: "groups", In: []Arg{Rand(2, 6, 3, 4), Rand(6, 2, 3, 3), Rand(6)}, Attrs: Attrs{"group": IntAttr(3), "strides": IntsAttr(2, 1)}},
			{Name: "depthwise", In: []Arg{Rand(2, 5, 3, 4), Rand(5, 1, 4, 4), Rand(5)},
				Attrs: Attrs{"group": IntAttr(5), "strides": IntsAttr(2, 2), "pads": IntsAttr(1, 1, 1, 1)}},
			{Name: "same-upper", In: []Arg{Rand(1, 2, 3, 4), Rand(2, 3, 3, 4)}, Attrs: Attrs{"auto_pad": StringAttr("SAME_UPPER"), "strides": IntsAttr(2, 1)}},
			{Name: "same-lower", In: []Arg{Rand(1, 2, 3, 4), Rand(2, 3, 3, 4)}, Attrs: Attrs{"auto_pad": StringAttr("SAME_LOWER"), "strides": IntsAttr(2, 1)}},
			{Name: "output-shape", In: []Arg{Rand(1, 2, 3, 3), Rand(2, 3, 4, 3), Rand(3)}, Attrs: Attrs{"strides": IntsAttr(3, 2), "output_shape": IntsAttr(7, 6)}},
			{Name: "output-shape-far", In: []Arg{Rand(1, 2, 3), Rand(2, 3, 2)}, Attrs: Attrs{"strides": IntsAttr(2), "output_shape": IntsAttr(8), "auto_pad": StringAttr("SAME_UPPER")}},
			{Name: "1d", Opset: 22, In: []Arg{Rand(2, 3, 5), Rand(3, 4, 3), Rand(4)}, Attrs: Attrs{"strides": IntsAttr(2), "pads": IntsAttr(1, 0)}},
			{Name: "3d", In: []Arg{Rand(2, 3, 2, 3, 3), Rand(3, 4, 2, 2, 2), Rand(4)}, Attrs: Attrs{"strides": IntsAttr(2, 2, 2)}},
			{Name: "3d-pads", In: []Arg{Rand(1, 3, 3, 2, 4), Rand(3, 2, 3, 3, 2)}, Attrs: attrs([]int{2, 1, 3}, []int{1, 1, 0, 0, 1, 1}, []int{1, 0, 2})},
			{Name: "3d-groups", In: []Arg{Rand(2, 6, 2, 3, 2), Rand(6, 2, 2, 3, 3), Rand(6)}, Attrs: Attrs{"group": IntAttr(3), "dilations": IntsAttr(2, 1, 1)}},
			{Name: "3d-spatial", In: []Arg{Rand(2, 3, 3, 2, 3), Rand(3, 4, 1, 2, 2), Rand(4)}, Attrs: Attrs{"strides": IntsAttr(1, 2, 2)}},
			{Name: "wide", In: []Arg{Rand(1, 17, 2, 3), Rand(17, 19, 3, 3), Rand(19)}, Attrs: attrs([]int{2, 2}, []int{1, 1, 1, 1}, []int{1, 1})},
		},
	})
}

// convTranspose runs on the convolution that leads from y to x: its gradient by
// data is the forward pass here.
type convTranspose struct {
	window       window
	extra, shape []int // output_padding and output_shape
	group        int
	k            *kernel.Conv
	volume       *volume // in place of k, for three spatial axes
	// The pass over y in progress; the function is made once.
	y, bias []float32
	fill    func(lo, hi int)
}

func newConvTranspose(n Node) (Op, error) {
	r := &reader{n: n}
	f := &convTranspose{window: readWindow(r), group: r.Int("group", 1)}
	if f.group < 1 || f.group > math.MaxInt32 {
		r.keep(fmt.Errorf("attribute %q is %d, wants at least 1", "group", f.group))
	}
	list := func(name string, lo int) []int {
		v := r.Ints(name)
		for _, x := range v {
			if x < lo || x > math.MaxInt32 {
				r.keep(fmt.Errorf("attribute %q has element %d, wants %d to %d", name, x, lo, math.MaxInt32))
			}
		}
		if len(v) == 0 {
			return nil
		}
		return v
	}
	f.extra, f.shape = list("output_padding", 0), list("output_shape", 1)
	return f, r.err
}

// geometry checks the inputs and returns the windows of the convolution from y
// to x: in are lengths of y, out those of x.
func (f *convTranspose) geometry(in []*Tensor) ([]axisWindow, error) {
	if err := wantInputs(in, 2, 3); err != nil {
		return nil, err
	}
	if err := wantFloats(in); err != nil {
		return nil, err
	}
	x, w := in[0].Shape, in[1].Shape
	if len(x) < 3 || len(x) > 5 {
		return nil, fmt.Errorf("input has shape %s, wants rank 3 to 5: only convolutions of 1 to 3 spatial axes are supported", ShapeString(x))
	}
	if len(w) != len(x) {
		return nil, fmt.Errorf("weight %s has rank %d, input %s has rank %d", ShapeString(w), len(w), ShapeString(x), len(x))
	}
	if x[1] == 0 || x[1] != w[0] || x[1]%f.group != 0 {
		return nil, fmt.Errorf("weight %s wants %d input channels in %d groups, input has %d", ShapeString(w), w[0], f.group, x[1])
	}
	if w[1] == 0 || w[1] > maxSize/f.group {
		return nil, fmt.Errorf("weight %s gives %d output channels in each of %d groups", ShapeString(w), w[1], f.group)
	}
	if b := in[2:]; len(b) > 0 && b[0] != nil && !EqualShape(b[0].Shape, []int{w[1] * f.group}) {
		return nil, fmt.Errorf("bias has shape %s, wants [%d]", ShapeString(b[0].Shape), w[1]*f.group)
	}
	if f.window.kernel != nil && !EqualShape(f.window.kernel, w[2:]) {
		return nil, fmt.Errorf("attribute %q is %s, weight is %s", "kernel_shape", ShapeString(f.window.kernel), ShapeString(w))
	}
	return f.axes(x[2:], w[2:])
}

func (f *convTranspose) axes(spatial, taps []int) ([]axisWindow, error) {
	r := len(spatial)
	for _, a := range []struct {
		name string
		v    []int
		n    int
	}{
		{"strides", f.window.strides, r}, {"dilations", f.window.dilations, r}, {"pads", f.window.pads, 2 * r},
		{"output_padding", f.extra, r}, {"output_shape", f.shape, r},
	} {
		if a.v != nil && len(a.v) != a.n {
			return nil, fmt.Errorf("attribute %q has %d elements, wants %d for %d spatial axes", a.name, len(a.v), a.n, r)
		}
	}
	ax := make([]axisWindow, r)
	for i := range ax {
		a := axisWindow{out: spatial[i], kernel: taps[i], stride: 1, dil: 1}
		if f.window.strides != nil {
			a.stride = f.window.strides[i]
		}
		if f.window.dilations != nil {
			a.dil = f.window.dilations[i]
		}
		if a.out < 1 || a.kernel < 1 {
			return nil, fmt.Errorf("spatial axis %d: input has %d elements, window %d, wants at least 1", i, a.out, a.kernel)
		}
		if a.out > maxSize/a.stride || a.kernel > maxSize/a.dil {
			return nil, fmt.Errorf("spatial axis %d: the output has more than %d elements", i, int64(maxSize))
		}
		f.place(&a, i, r)
		if a.in < 1 {
			return nil, fmt.Errorf("spatial axis %d: pads %d and %d leave %d elements", i, a.begin, a.end, a.in)
		}
		ax[i] = a
	}
	return ax, nil
}

// place sets the pads and the length of the output on spatial axis i of r.
func (f *convTranspose) place(a *axisWindow, i, r int) {
	full := (a.out-1)*a.stride + a.extent()
	if f.extra != nil {
		full += f.extra[i]
	}
	auto := f.window.autoPad
	same := auto == "SAME_UPPER" || auto == "SAME_LOWER"
	switch {
	case f.shape != nil:
		a.in = f.shape[i]
	case same:
		a.in = a.out * a.stride
	default:
		if f.window.pads != nil && auto != "VALID" {
			a.begin, a.end = f.window.pads[i], f.window.pads[r+i]
		}
		a.in = full - a.begin - a.end
		return
	}
	total := max(0, full-a.in)
	a.begin = total - total/2
	if auto == "SAME_UPPER" {
		a.begin = total / 2
	}
	a.end = total - a.begin
}

func (f *convTranspose) Infer(in []*Tensor) ([]*Tensor, error) {
	ax, err := f.geometry(in)
	if err != nil {
		return nil, err
	}
	y := []int{in[0].Shape[0], in[1].Shape[1] * f.group}
	for _, a := range ax {
		y = append(y, a.in)
	}
	if err := checkSize(y); err != nil {
		return nil, err
	}
	return []*Tensor{Info(in[0].Type, y...)}, nil
}

func (f *convTranspose) Prepare(in, out []*Tensor, training bool) (int, error) {
	ax, err := f.geometry(in)
	if err != nil {
		return 0, err
	}
	if err := wantInner(0, in[0]); err != nil {
		return 0, err
	}
	if in[0].Size() == 0 {
		return 0, fmt.Errorf("input has shape %s, wants at least one element", ShapeString(in[0].Shape))
	}
	if len(ax) == 3 {
		f.volume = newVolume(in[0].Shape[0], in[1].Shape[1]*f.group, in[0].Shape[1], f.group, ax)
		return f.volume.workspace(), nil
	}
	h, w := plane(ax)
	f.k = kernel.NewConv(kernel.ConvShape{
		N: in[0].Shape[0], C: in[1].Shape[1] * f.group, O: in[0].Shape[1], Groups: f.group,
		H: h.in, KH: h.kernel, OH: h.out, StrideH: h.stride, DilH: h.dil, PadTop: h.begin,
		W: w.in, KW: w.kernel, OW: w.out, StrideW: w.stride, DilW: w.dil, PadLeft: w.begin,
	})
	return f.k.Workspace(), nil
}

func (f *convTranspose) Layouts(in []*Tensor) (want, out []Layout) {
	want = make([]Layout, len(in))
	want[0] = ChannelsLast
	return want, []Layout{ChannelsLast}
}

func (f *convTranspose) MACs(in, out []*Tensor) int64 {
	return int64(in[0].Size()) * int64(Size(in[1].Shape[1:]))
}

// Couplings joins an output channel with its bias, and the channels of input and
// weight. With groups, input channels are G × C/G and output channels G × O/G: a
// group goes as a whole, or the same channels of all groups.
func (f *convTranspose) Couplings(in, out []*Tensor) []Coupling {
	read := []Side{Whole(Axis(0, 1)), Whole(Axis(1, 0))}
	filter := []Side{Whole(Axis(^0, 1))}
	if hasInput(in, 2) {
		filter = append(filter, Whole(Axis(2, 0)))
	}
	if f.group == 1 {
		filter = append(filter, Whole(Axis(1, 1)))
	} else {
		groups := HiddenAxis(1, f.group)
		read = append(read, Whole(groups, HiddenAxis(2, in[0].Shape[1]/f.group)))
		filter = append(filter, Whole(groups, Axis(1, 1)))
	}
	return []Coupling{{Sides: []Side{Whole(Axis(0, 0)), Whole(Axis(^0, 0))}}, {Sides: read, Sum: true}, {Sides: filter}}
}

// Zeros needs zero filters and a zero bias.
func (f *convTranspose) Zeros(zero []bool) bool { return zero[1] && (len(zero) < 3 || zero[2]) }

// Cut adapts the number of groups.
func (f *convTranspose) Cut(c *Cut) (Change, error) {
	if g := c.Kept(^0, 1) / max(1, c.Kept(1, 1)); g != f.group {
		return Change{Attrs: Attrs{"group": IntAttr(g)}}, nil
	}
	return Change{}, nil
}

func (f *convTranspose) Forward(c *Context, in, out []*Tensor) error {
	if f.k == nil && f.volume == nil {
		if _, err := f.Prepare(in, out, false); err != nil {
			return err
		}
	}
	y := out[0].F
	biased := len(in) > 2 && in[2] != nil
	if biased {
		f.fillBias(c, y, in[2].F)
	}
	if f.volume != nil {
		f.volume.backwardData(c, y, in[0].F, in[1].F, biased)
		return nil
	}
	f.k.BackwardData(c.pool(), y, in[0].F, in[1].F, biased, c.scratch(f.k.Workspace()))
	return nil
}

// fillBias writes the bias to every pixel of y.
func (f *convTranspose) fillBias(c *Context, y, bias []float32) {
	f.y, f.bias = y, bias
	if f.fill == nil {
		f.fill = func(lo, hi int) {
			o := len(f.bias)
			for p := lo; p < hi; p++ {
				copy(f.y[p*o:][:o], f.bias)
			}
		}
	}
	c.Parallel(len(y)/len(bias), len(bias), f.fill)
	f.y, f.bias = nil, nil
}

func (f *convTranspose) Reads() (in, out uint32) { return 1<<0 | 1<<1, 0 }

func (f *convTranspose) Accumulates() {}

func (f *convTranspose) Backward(c *Context, in, out, dout, din []*Tensor) error {
	dy := dout[0]
	if f.volume != nil {
		f.backwardVolume(c, in, dy, din)
		return nil
	}
	ws := c.scratch(f.k.Workspace())
	if dx := din[0]; dx != nil {
		e := kernel.Epilogue{}
		if dx.Acc {
			e.Residual = dx.F
		}
		f.k.Forward(c.pool(), dx.F, dy.F, in[1].F, e, ws)
	}
	if dw := din[1]; dw != nil {
		f.k.BackwardWeights(c.pool(), dw.F, dy.F, in[0].F, dw.Acc, ws)
	}
	f.backwardBias(c, dy, din)
	return nil
}

func (f *convTranspose) backwardBias(c *Context, dy *Tensor, din []*Tensor) {
	if len(din) > 2 && din[2] != nil {
		o := dy.Shape[1]
		kernel.ColumnSums(c.pool(), din[2].F, dy.F, dy.Size()/o, o, din[2].Acc)
	}
}

func (f *convTranspose) backwardVolume(c *Context, in []*Tensor, dy *Tensor, din []*Tensor) {
	if dx := din[0]; dx != nil {
		var before []float32
		if dx.Acc {
			before = dx.F
		}
		f.volume.forward(c, dx.F, dy.F, in[1].F, nil, before)
	}
	if dw := din[1]; dw != nil {
		f.volume.backwardWeights(c, dw.F, dy.F, in[0].F, dw.Acc)
	}
	f.backwardBias(c, dy, din)
}

func refConvTranspose(n Node, in []*Array) []*Array {
	r := &reader{n: n}
	x, w := in[0], in[1]
	k := len(x.Shape) - 2
	at := func(name string, i, def int) int {
		if v := r.Ints(name); v != nil {
			return v[i]
		}
		return def
	}
	group, auto := r.Int("group", 1), r.String("auto_pad", "NOTSET")
	shape := []int{x.Shape[0], w.Shape[1] * group}
	begin := make([]int, k)
	for i := range k {
		full := at("strides", i, 1)*(x.Shape[2+i]-1) + at("output_padding", i, 0) + (w.Shape[2+i]-1)*at("dilations", i, 1) + 1
		if !r.Has("output_shape") && auto != "SAME_UPPER" && auto != "SAME_LOWER" {
			begin[i] = at("pads", i, 0)
			shape = append(shape, full-begin[i]-at("pads", k+i, 0))
			continue
		}
		size := at("output_shape", i, x.Shape[2+i]*at("strides", i, 1))
		total := max(0, full-size)
		begin[i] = total / 2
		if auto != "SAME_UPPER" {
			begin[i] = total - total/2
		}
		shape = append(shape, size)
	}
	y := NewArray(shape...)
	perGroup := x.Shape[1] / group
	Each(y.Shape, func(q []int) {
		if len(in) > 2 && in[2] != nil {
			y.V[y.At(q...)] = in[2].V[q[1]]
		}
	})
	stride, dil := make([]int, k), make([]int, k)
	for a := range k {
		stride[a], dil[a] = at("strides", a, 1), at("dilations", a, 1)
	}
	xArea, wArea, yArea := Size(x.Shape[2:]), Size(w.Shape[2:]), Size(y.Shape[2:])
	pixel := 0
	Each(x.Shape[2:], func(p []int) {
		tap := 0
		Each(w.Shape[2:], func(t []int) {
			to, inside := 0, true
			for a := range k {
				o := p[a]*stride[a] - begin[a] + t[a]*dil[a]
				inside = inside && o >= 0 && o < y.Shape[2+a]
				to = to*y.Shape[2+a] + o
			}
			for nc := 0; inside && nc < x.Shape[0]*x.Shape[1]; nc++ {
				n, c := nc/x.Shape[1], nc%x.Shape[1]
				for o := range w.Shape[1] {
					y.V[(n*y.Shape[1]+c/perGroup*w.Shape[1]+o)*yArea+to] += x.V[nc*xArea+pixel] * w.V[(c*w.Shape[1]+o)*wArea+tap]
				}
			}
			tap++
		})
		pixel++
	})
	return []*Array{y}
}
