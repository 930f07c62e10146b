package op

import (
	"fmt"
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Conv: y[n,o,q] = b[o] + Σ w[o,c,t]·x[n, g·C/G+c, q·stride−pad+t·dilation], the
// sum over the channels c of group g = o/(O/G) and the taps t that fall inside
// the input. x [N,C,L], [N,C,H,W] or [N,C,D,H,W], w [O,C/G,k…], b [O], y [N,O,…].
// https://onnx.ai/onnx/operators/onnx__Conv.html
func init() {
	Register(Def{
		Name: "Conv", Since: 1, Weights: []int{1}, Params: []int{1, 2},
		New: func(n Node) (Op, error) {
			g, err := newConvForm(n)
			if err != nil {
				return nil, err
			}
			g.volumes = true
			return &conv{convForm: *g}, nil
		},
		Reference: refConv,
		Cases: []Case{
			{In: []Arg{Rand(2, 3, 6, 7), Rand(5, 3, 3, 3), Rand(5)}, Attrs: Attrs{"pads": IntsAttr(1, 1, 1, 1)}},
			{Name: "no-bias", Opset: 7, In: []Arg{Rand(2, 4, 5, 5), Rand(6, 4, 1, 1)}, Attrs: Attrs{"kernel_shape": IntsAttr(1, 1)}},
			{Name: "strides", In: []Arg{Rand(1, 3, 9, 8), Rand(4, 3, 3, 5), Rand(4)},
				Attrs: Attrs{"strides": IntsAttr(2, 3), "pads": IntsAttr(1, 2, 1, 2)}},
			{Name: "asymmetric", In: []Arg{Rand(1, 2, 5, 6), Rand(3, 2, 3, 2)},
				Attrs: Attrs{"pads": IntsAttr(0, 2, 1, 0), "strides": IntsAttr(2, 1)}},
			{Name: "dilations", In: []Arg{Rand(1, 2, 9, 7), Rand(3, 2, 3, 2), Rand(3)},
				Attrs: Attrs{"dilations": IntsAttr(2, 3), "pads": IntsAttr(2, 1, 2, 1)}},
			{Name: "groups", In: []Arg{Rand(2, 6, 5, 4), Rand(9, 2, 3, 3), Rand(9)},
				Attrs: Attrs{"group": IntAttr(3), "pads": IntsAttr(1, 1, 1, 1)}},
			{Name: "depthwise", In: []Arg{Rand(2, 5, 6, 5), Rand(5, 1, 3, 3), Rand(5)},
				Attrs: Attrs{"group": IntAttr(5), "strides": IntsAttr(2, 2), "pads": IntsAttr(1, 1, 1, 1)}},
			{Name: "multiplier", In: []Arg{Rand(1, 3, 4, 5), Rand(6, 1, 3, 3)}, Attrs: Attrs{"group": IntAttr(3)}},
			{Name: "same-upper", Opset: 11, In: []Arg{Rand(1, 2, 7, 6), Rand(3, 2, 4, 3)},
				Attrs: Attrs{"auto_pad": StringAttr("SAME_UPPER"), "strides": IntsAttr(2, 2)}},
			{Name: "same-lower", In: []Arg{Rand(1, 2, 7, 6), Rand(3, 2, 4, 2)},
				Attrs: Attrs{"auto_pad": StringAttr("SAME_LOWER"), "strides": IntsAttr(2, 1)}},
			{Name: "valid", In: []Arg{Rand(1, 2, 5, 6), Rand(3, 2, 2, 3)}, Attrs: Attrs{"auto_pad": StringAttr("VALID")}},
			{Name: "1d", Opset: 22, In: []Arg{Rand(2, 3, 11), Rand(4, 3, 3), Rand(4)},
				Attrs: Attrs{"pads": IntsAttr(2, 0), "strides": IntsAttr(2), "dilations": IntsAttr(2)}},
			{Name: "1d-depthwise", In: []Arg{Rand(2, 4, 9), Rand(4, 1, 5)}, Attrs: Attrs{"group": IntAttr(4), "pads": IntsAttr(2, 2)}},
			{Name: "3d", In: []Arg{Rand(2, 3, 4, 5, 6), Rand(5, 3, 3, 3, 2), Rand(5)}, Attrs: Attrs{"pads": IntsAttr(1, 1, 1, 1, 1, 0)}},
			{Name: "3d-strides", In: []Arg{Rand(1, 2, 7, 6, 5), Rand(3, 2, 3, 2, 3)},
				Attrs: Attrs{"strides": IntsAttr(2, 1, 2), "dilations": IntsAttr(2, 2, 1), "pads": IntsAttr(2, 0, 1, 0, 1, 1)}},
			{Name: "3d-groups", In: []Arg{Rand(2, 6, 3, 4, 4), Rand(4, 3, 2, 3, 3), Rand(4)}, Attrs: Attrs{"group": IntAttr(2), "pads": IntsAttr(1, 1, 1, 0, 1, 1)}},
			{Name: "3d-depthwise", In: []Arg{Rand(1, 5, 4, 4, 3), Rand(5, 1, 3, 3, 3)}, Attrs: Attrs{"group": IntAttr(5), "pads": IntsAttr(1, 1, 1, 1, 1, 1)}},
			{Name: "3d-spatial", In: []Arg{Rand(2, 3, 4, 5, 4), Rand(4, 3, 1, 3, 3), Rand(4)}, Attrs: Attrs{"pads": IntsAttr(0, 1, 1, 0, 1, 1)}},
			{Name: "3d-temporal", In: []Arg{Rand(2, 4, 5, 3, 3), Rand(3, 4, 3, 1, 1)}, Attrs: Attrs{"pads": IntsAttr(1, 0, 0, 1, 0, 0), "strides": IntsAttr(2, 1, 1)}},
			{Name: "3d-skips-frames", In: []Arg{Rand(1, 2, 5, 3, 3), Rand(3, 2, 1, 2, 2)}, Attrs: Attrs{"strides": IntsAttr(2, 2, 2)}},
			{Name: "3d-padding-only", In: []Arg{Rand(1, 2, 2, 3, 3), Rand(3, 2, 2, 1, 1)}, Attrs: Attrs{"pads": IntsAttr(4, 0, 0, 3, 0, 0)}},
			{Name: "wide", In: []Arg{Rand(1, 19, 4, 4), Rand(37, 19, 3, 3), Rand(37)}, Attrs: Attrs{"pads": IntsAttr(1, 1, 1, 1)}},
			{Name: "one-channel", In: []Arg{Rand(2, 1, 5, 5), Rand(1, 1, 3, 3)}, Attrs: Attrs{"pads": IntsAttr(1, 1, 1, 1)}},
		},
	})
}

// convForm is what every convolution node has: its attributes, the checks of
// its inputs and the kernel made for its shape.
type convForm struct {
	window window
	group  int
	inputs int
	k      *kernel.Conv
	wide   widened
	// volumes allows three spatial axes.
	volumes bool
}

func newConvForm(n Node) (*convForm, error) {
	r := &reader{n: n}
	f := &convForm{window: readWindow(r), group: r.Int("group", 1), inputs: 3}
	if f.group < 1 || f.group > math.MaxInt32 {
		r.keep(fmt.Errorf("attribute %q is %d, wants at least 1", "group", f.group))
	}
	f.window.ceil = false
	return f, r.err
}

// grouped says how many equal groups the channels must form.
func (f *convForm) grouped() string {
	if f.group == 1 {
		return ""
	}
	return fmt.Sprintf(" in %d groups", f.group)
}

// geometry checks the inputs and lays the window over the input.
func (f *convForm) geometry(in []*Tensor) ([]axisWindow, error) {
	if err := wantInputs(in, 2, f.inputs); err != nil {
		return nil, err
	}
	if err := wantFloats(in); err != nil {
		return nil, err
	}
	x, w := in[0].Shape, in[1].Shape
	if len(x) < 3 || len(x) > 5 || len(x) == 5 && !f.volumes {
		return nil, fmt.Errorf("input has shape %s, wants rank 3 to 5: only convolutions of 1 to 3 spatial axes are supported", ShapeString(x))
	}
	if len(w) != len(x) {
		return nil, fmt.Errorf("weight %s has rank %d, input %s has rank %d", ShapeString(w), len(w), ShapeString(x), len(x))
	}
	if x[1]%f.group != 0 || x[1]/f.group != w[1] {
		return nil, fmt.Errorf("weight %s wants %d input channels%s, input has %d", ShapeString(w), w[1]*f.group, f.grouped(), x[1])
	}
	if w[0] == 0 || w[1] == 0 || w[0]%f.group != 0 {
		return nil, fmt.Errorf("weight %s has %d output channels, wants a positive number%s", ShapeString(w), w[0], f.grouped())
	}
	if b := in[2:]; len(b) > 0 && b[0] != nil && !EqualShape(b[0].Shape, w[:1]) {
		return nil, fmt.Errorf("bias has shape %s, wants [%d]", ShapeString(b[0].Shape), w[0])
	}
	if f.window.kernel != nil && !EqualShape(f.window.kernel, w[2:]) {
		return nil, fmt.Errorf("attribute %q is %s, weight is %s", "kernel_shape", ShapeString(f.window.kernel), ShapeString(w))
	}
	return f.window.axes(x[2:], w[2:])
}

func (f *convForm) Infer(in []*Tensor) ([]*Tensor, error) {
	ax, err := f.geometry(in)
	if err != nil {
		return nil, err
	}
	y := []int{in[0].Shape[0], in[1].Shape[0]}
	for _, a := range ax {
		y = append(y, a.out)
	}
	if err := checkSize(y); err != nil {
		return nil, err
	}
	return []*Tensor{Info(in[0].Type, y...)}, nil
}

func (f *convForm) Prepare(in, out []*Tensor, training bool) (int, error) {
	s, err := f.widen(in, out[0])
	if err != nil {
		return 0, err
	}
	if err := wantInner(0, in[0]); err != nil {
		return 0, err
	}
	f.k = kernel.NewConv(s)
	return f.k.Workspace(), nil
}

// shape describes the convolution to the kernels.
func (f *convForm) shape(in []*Tensor) (kernel.ConvShape, error) {
	ax, err := f.geometry(in)
	if err != nil {
		return kernel.ConvShape{}, err
	}
	if in[0].Size() == 0 {
		return kernel.ConvShape{}, fmt.Errorf("input has shape %s, wants at least one element", ShapeString(in[0].Shape))
	}
	h, w := plane(ax)
	return kernel.ConvShape{
		N: in[0].Shape[0], C: in[0].Shape[1], O: in[1].Shape[0], Groups: f.group,
		H: h.in, KH: h.kernel, OH: h.out, StrideH: h.stride, DilH: h.dil, PadTop: h.begin,
		W: w.in, KW: w.kernel, OW: w.out, StrideW: w.stride, DilW: w.dil, PadLeft: w.begin,
	}, nil
}

func (f *convForm) Layouts(in []*Tensor) (want, out []Layout) {
	want = make([]Layout, len(in))
	want[0] = ChannelsLast
	if len(in) > 3 {
		want[3] = ChannelsLast
	}
	return want, []Layout{ChannelsLast}
}

func (f *convForm) MACs(in, out []*Tensor) int64 {
	w := in[1].Shape
	return int64(out[0].Size()) * int64(Size(w[1:]))
}

// Couplings joins a filter with its bias and output channel, and the channels of
// input and weight. With groups, input channels are G × C/G and filters G × O/G: a
// group goes as a whole, or the same channels of all groups.
func (f *convForm) Couplings(in, out []*Tensor) []Coupling {
	batch := []Side{Whole(Axis(0, 0)), Whole(Axis(^0, 0))}
	filter := []Side{Whole(Axis(1, 0)), Whole(Axis(^0, 1))}
	if hasInput(in, 2) {
		filter = append(filter, Whole(Axis(2, 0)))
	}
	if hasInput(in, 3) {
		filter = append(filter, Whole(Axis(3, 1)))
		batch = append(batch, Whole(Axis(3, 0)))
	}
	read := Whole(Axis(1, 1))
	if f.group > 1 {
		groups := HiddenAxis(1, f.group)
		read = Whole(groups, Axis(1, 1))
		filter = append(filter, Whole(groups, HiddenAxis(2, in[1].Shape[0]/f.group)))
	}
	return []Coupling{{Sides: batch}, {Sides: []Side{Whole(Axis(0, 1)), read}, Sum: true}, {Sides: filter}}
}

// Zeros needs zero filters and a zero bias.
func (f *convForm) Zeros(zero []bool) bool {
	for _, z := range zero[1:] {
		if !z {
			return false
		}
	}
	return true
}

// Cut adapts the number of groups.
func (f *convForm) Cut(c *Cut) (Change, error) {
	if g := c.Kept(0, 1) / max(1, c.Kept(1, 1)); g != f.group {
		return Change{Attrs: Attrs{"group": IntAttr(g)}}, nil
	}
	return Change{}, nil
}

func (f *convForm) forward(c *Context, in, out []*Tensor, e kernel.Epilogue) error {
	if f.k == nil {
		if _, err := f.Prepare(in, out, false); err != nil {
			return err
		}
	}
	if len(in) > 2 && in[2] != nil {
		e.Bias = f.wide.bias(in[2].F)
	}
	w := in[1].F
	if !f.k.Kept() {
		w = f.wide.filters(w)
	}
	f.k.Forward(c.pool(), out[0].F, in[0].F, w, e, c.scratch(f.k.Workspace()))
	return nil
}

// Keep keeps packed filters.
func (f *convForm) Keep(in []*Tensor) int {
	if in[1].F == nil {
		return 0
	}
	return f.k.Keep()
}

type conv struct {
	convForm
	// volume is set for three spatial axes.
	volume *volume
}

func (f *conv) Prepare(in, out []*Tensor, training bool) (int, error) {
	if in[0].Rank() < 5 {
		return f.convForm.Prepare(in, out, training)
	}
	ax, err := f.geometry(in)
	if err != nil {
		return 0, err
	}
	if in[0].Size() == 0 {
		return 0, fmt.Errorf("input has shape %s, wants at least one element", ShapeString(in[0].Shape))
	}
	if err := wantInner(0, in[0]); err != nil {
		return 0, err
	}
	f.volume = newVolume(in[0].Shape[0], in[0].Shape[1], in[1].Shape[0], f.group, ax)
	f.k = f.volume.k
	return f.volume.workspace(), nil
}

func (f *conv) Forward(c *Context, in, out []*Tensor) error {
	if in[0].Rank() < 5 {
		return f.forward(c, in, out, kernel.Epilogue{})
	}
	if f.volume == nil {
		if _, err := f.Prepare(in, out, false); err != nil {
			return err
		}
	}
	var bias []float32
	if hasInput(in, 2) {
		bias = in[2].F
	}
	f.volume.forward(c, out[0].F, in[0].F, in[1].F, bias, nil)
	return nil
}

func (f *conv) Reads() (in, out uint32) { return 1<<0 | 1<<1, 0 }

func (f *conv) Accumulates() {}

func (f *conv) Backward(c *Context, in, out, dout, din []*Tensor) error {
	if f.volume != nil {
		return f.backwardVolume(c, in, dout[0], din)
	}
	dy, ws := dout[0], c.scratch(f.k.Workspace())
	if dx := din[0]; dx != nil {
		f.k.BackwardData(c.pool(), dx.F, dy.F, f.wide.last(in[1].F), dx.Acc, ws)
	}
	if dw := din[1]; dw != nil {
		g, add := f.wide.grad(dw)
		f.k.BackwardWeights(c.pool(), g, in[0].F, dy.F, add, ws)
		f.wide.deliver(dw)
	}
	if len(din) > 2 && din[2] != nil {
		o := dy.Shape[1]
		if db := din[2]; f.wide.on {
			kernel.ColumnSums(c.pool(), f.wide.b, dy.F, dy.Size()/o, o, false)
			deliver(db, f.wide.b)
		} else {
			kernel.ColumnSums(c.pool(), db.F, dy.F, dy.Size()/o, o, db.Acc)
		}
	}
	return nil
}

func (f *conv) backwardVolume(c *Context, in []*Tensor, dy *Tensor, din []*Tensor) error {
	if dx := din[0]; dx != nil {
		f.volume.backwardData(c, dx.F, dy.F, in[1].F, dx.Acc)
	}
	if dw := din[1]; dw != nil {
		f.volume.backwardWeights(c, dw.F, in[0].F, dy.F, dw.Acc)
	}
	if len(din) > 2 && din[2] != nil {
		o := dy.Shape[1]
		kernel.ColumnSums(c.pool(), din[2].F, dy.F, dy.Size()/o, o, din[2].Acc)
	}
	return nil
}

func refConv(n Node, in []*Array) []*Array {
	x, w := in[0], in[1]
	k := len(x.Shape) - 2
	begin, _, stride, dil, spatial := refWindow(n, x.Shape[2:], w.Shape[2:])
	group := (&reader{n: n}).Int("group", 1)
	y := NewArray(append([]int{x.Shape[0], w.Shape[0]}, spatial...)...)
	perGroup, pixels := w.Shape[0]/group, Size(spatial)
	xArea, wArea := Size(x.Shape[2:]), Size(w.Shape[2:])
	pixel := 0
	Each(spatial, func(q []int) {
		// The taps of this pixel that lie within the image: offsets in x and w.
		var taps [][2]int
		tap := 0
		Each(w.Shape[2:], func(t []int) {
			at, inside := 0, true
			for a := 0; a < k; a++ {
				p := q[a]*stride[a] - begin[a] + t[a]*dil[a]
				inside = inside && p >= 0 && p < x.Shape[2+a]
				at = at*x.Shape[2+a] + p
			}
			if inside {
				taps = append(taps, [2]int{at, tap})
			}
			tap++
		})
		for n := range x.Shape[0] {
			for o := range w.Shape[0] {
				sum := 0.0
				if len(in) > 2 && in[2] != nil {
					sum = in[2].V[o]
				}
				for c := range w.Shape[1] {
					xs := x.V[(n*x.Shape[1]+o/perGroup*w.Shape[1]+c)*xArea:]
					ws := w.V[(o*w.Shape[1]+c)*wArea:]
					for _, t := range taps {
						sum += xs[t[0]] * ws[t[1]]
					}
				}
				y.V[(n*w.Shape[0]+o)*pixels+pixel] = sum
			}
		}
		pixel++
	})
	return []*Array{y}
}
