package op

import (
	"fmt"
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// MaxPool: y[n,c,q] = max of x[n,c,q·stride−pad+t·dilation] over the taps t of
// the window that fall inside the input. x [N,C,L], [N,C,H,W] or [N,C,D,H,W]; the optional
// second output holds the row-major offset in x of each maximum.
// https://onnx.ai/onnx/operators/onnx__MaxPool.html
func init() {
	Register(Def{
		Name: "MaxPool", Since: 1,
		New:       newMaxPool,
		Reference: refMaxPool,
		Cases: append(poolCases(),
			Case{Name: "3d-training", In: []Arg{Rand(2, 3, 4, 5, 4)}, Training: true,
				Attrs: Attrs{"kernel_shape": IntsAttr(3, 3, 2), "strides": IntsAttr(2, 2, 1), "pads": IntsAttr(1, 1, 0, 1, 1, 1)}},
			Case{Name: "3d-indices", In: []Arg{Rand(2, 3, 4, 3, 5)}, Outputs: 2, Attrs: Attrs{"kernel_shape": IntsAttr(2, 2, 3), "pads": IntsAttr(1, 0, 1, 0, 1, 0)}},
			Case{Name: "training", In: []Arg{Rand(2, 3, 7, 6)}, Training: true,
				Attrs: Attrs{"kernel_shape": IntsAttr(3, 3), "strides": IntsAttr(2, 2), "pads": IntsAttr(1, 1, 1, 1)}},
			Case{Name: "indices", In: []Arg{Rand(2, 3, 5, 6)}, Outputs: 2,
				Attrs: Attrs{"kernel_shape": IntsAttr(2, 3), "strides": IntsAttr(2, 1), "pads": IntsAttr(1, 0, 0, 1)}},
			Case{Name: "indices by columns", In: []Arg{Rand(2, 3, 5, 6)}, Outputs: 2,
				Attrs: Attrs{"kernel_shape": IntsAttr(2, 3), "pads": IntsAttr(1, 0, 0, 1), "storage_order": IntAttr(1)}},
			Case{Name: "indices-1d by columns", In: []Arg{Rand(2, 3, 8)}, Outputs: 2, Attrs: Attrs{"kernel_shape": IntsAttr(3), "storage_order": IntAttr(1)}},
			Case{Name: "indices-1d", In: []Arg{Rand(2, 3, 8)}, Outputs: 2, Attrs: Attrs{"kernel_shape": IntsAttr(3)}},
		),
	})
}

// poolCases are the cases that all pools with a window share.
func poolCases() []Case {
	k := IntsAttr(3, 2)
	return []Case{
		{In: []Arg{Rand(2, 5, 6, 6)}, Attrs: Attrs{"kernel_shape": IntsAttr(2, 2), "strides": IntsAttr(2, 2)}},
		{Name: "plain", Opset: 7, In: []Arg{Rand(1, 3, 5, 4)}, Attrs: Attrs{"kernel_shape": k}},
		{Name: "pads", In: []Arg{Rand(1, 3, 7, 5)}, Attrs: Attrs{"kernel_shape": k, "strides": IntsAttr(2, 1), "pads": IntsAttr(1, 0, 2, 1)}},
		{Name: "ceil", Opset: 12, In: []Arg{Rand(1, 3, 7, 8)}, Attrs: Attrs{"kernel_shape": k, "strides": IntsAttr(3, 3), "ceil_mode": IntAttr(1)}},
		{Name: "ceil-pads", In: []Arg{Rand(1, 2, 6, 5)}, Attrs: Attrs{"kernel_shape": IntsAttr(3, 3), "strides": IntsAttr(2, 3),
			"pads": IntsAttr(1, 1, 1, 0), "ceil_mode": IntAttr(1)}},
		{Name: "same-upper", In: []Arg{Rand(1, 3, 5, 7)}, Attrs: Attrs{"kernel_shape": k, "strides": IntsAttr(2, 2), "auto_pad": StringAttr("SAME_UPPER")}},
		{Name: "same-lower", In: []Arg{Rand(1, 3, 5, 7)}, Attrs: Attrs{"kernel_shape": k, "strides": IntsAttr(2, 2), "auto_pad": StringAttr("SAME_LOWER")}},
		{Name: "valid", In: []Arg{Rand(1, 3, 5, 7)}, Attrs: Attrs{"kernel_shape": k, "strides": IntsAttr(2, 2), "auto_pad": StringAttr("VALID")}},
		{Name: "dilations", Opset: 19, In: []Arg{Rand(1, 3, 8, 7)}, Attrs: Attrs{"kernel_shape": k, "dilations": IntsAttr(2, 3), "pads": IntsAttr(1, 1, 1, 1)}},
		{Name: "1d", Opset: 22, In: []Arg{Rand(2, 3, 11)}, Attrs: Attrs{"kernel_shape": IntsAttr(3), "strides": IntsAttr(2), "pads": IntsAttr(1, 0)}},
		{Name: "dilated point", Opset: 19, In: []Arg{Rand(2, 3, 3, 4)}, Attrs: Attrs{"kernel_shape": IntsAttr(3, 3), "dilations": IntsAttr(2, 2), "pads": IntsAttr(1, 1, 1, 1)}},
		{Name: "padding only", In: []Arg{Rand(1, 3, 3, 2)}, Attrs: Attrs{"kernel_shape": IntsAttr(9, 8), "pads": IntsAttr(7, 4, 3, 6), "strides": IntsAttr(2, 1)}},
		{Name: "3d", In: []Arg{Rand(2, 3, 4, 6, 5)}, Attrs: Attrs{"kernel_shape": IntsAttr(2, 2, 2), "strides": IntsAttr(2, 2, 2)}},
		{Name: "3d-pads", In: []Arg{Rand(1, 5, 5, 4, 6)}, Attrs: Attrs{"kernel_shape": IntsAttr(3, 2, 3), "strides": IntsAttr(2, 1, 2), "pads": IntsAttr(1, 1, 1, 1, 0, 1)}},
		{Name: "3d-ceil", In: []Arg{Rand(1, 2, 5, 5, 4)}, Attrs: Attrs{"kernel_shape": IntsAttr(2, 3, 3), "strides": IntsAttr(2, 2, 2), "pads": IntsAttr(0, 1, 1, 1, 0, 1), "ceil_mode": IntAttr(1)}},
		{Name: "3d-dilations", Opset: 19, In: []Arg{Rand(1, 3, 7, 6, 5)}, Attrs: Attrs{"kernel_shape": IntsAttr(3, 2, 2), "dilations": IntsAttr(2, 3, 1), "pads": IntsAttr(1, 1, 0, 2, 1, 0)}},
		{Name: "3d-padding-only", In: []Arg{Rand(1, 3, 2, 3, 2)}, Attrs: Attrs{"kernel_shape": IntsAttr(8, 2, 2), "pads": IntsAttr(6, 0, 0, 5, 0, 0), "strides": IntsAttr(2, 1, 1)}},
		{Name: "3d-same", In: []Arg{Rand(1, 3, 5, 4, 5)}, Attrs: Attrs{"kernel_shape": IntsAttr(3, 2, 3), "strides": IntsAttr(2, 2, 3), "auto_pad": StringAttr("SAME_UPPER")}},
		{Name: "wide", In: []Arg{Rand(1, 37, 6, 5)}, Attrs: Attrs{"kernel_shape": IntsAttr(3, 3), "strides": IntsAttr(2, 2), "pads": IntsAttr(1, 1, 1, 1)}},
	}
}

// poolForm is what pools with a window share.
type poolForm struct {
	window window
	shape  kernel.PoolShape
	// depth is set for three spatial axes: every frame is an image in shape then.
	depth *depthPool
}

func newPoolForm(r *reader) poolForm {
	f := poolForm{window: readWindow(r)}
	if f.window.kernel == nil {
		r.keep(fmt.Errorf("attribute %q is missing", "kernel_shape"))
	}
	return f
}

func (f *poolForm) geometry(in []*Tensor) ([]axisWindow, error) {
	if err := wantInputs(in, 1, 1); err != nil {
		return nil, err
	}
	if err := wantFloats(in); err != nil {
		return nil, err
	}
	x := in[0].Shape
	if len(x) < 3 || len(x) > 5 {
		return nil, fmt.Errorf("input has shape %s, wants rank 3 to 5: only pools of 1 to 3 spatial axes are supported", ShapeString(x))
	}
	if len(f.window.kernel) != len(x)-2 {
		return nil, fmt.Errorf("attribute %q is %s, input has %d spatial axes", "kernel_shape", ShapeString(f.window.kernel), len(x)-2)
	}
	ax, err := f.window.axes(x[2:], f.window.kernel)
	if err != nil {
		return nil, err
	}
	return ax, wantTaps(ax)
}

func (f *poolForm) infer(in []*Tensor) (*Tensor, error) {
	ax, err := f.geometry(in)
	if err != nil {
		return nil, err
	}
	y := []int{in[0].Shape[0], in[0].Shape[1]}
	for _, a := range ax {
		y = append(y, a.out)
	}
	return Info(in[0].Type, y...), checkSize(y)
}

// prepare fixes the shape for the kernels, and returns the windows of images.
func (f *poolForm) prepare(in []*Tensor) ([]axisWindow, error) {
	ax, err := f.geometry(in)
	if err != nil {
		return nil, err
	}
	if err := wantInner(0, in[0]); err != nil {
		return nil, err
	}
	frames := 1
	if len(ax) == 3 {
		f.depth = &depthPool{axis: ax[0].cropped(), whole: ax[0], samples: in[0].Shape[0]}
		frames, ax = ax[0].in, ax[1:]
	}
	h, w := plane(ax)
	h, w = h.cropped(), w.cropped()
	f.shape = kernel.PoolShape{
		N: in[0].Shape[0] * frames, C: in[0].Shape[1],
		H: h.in, KH: h.kernel, OH: h.out, StrideH: h.stride, DilH: h.dil, PadTop: h.begin,
		W: w.in, KW: w.kernel, OW: w.out, StrideW: w.stride, DilW: w.dil, PadLeft: w.begin,
	}
	if f.depth != nil {
		f.depth.plane, f.depth.size = h.in*w.in, h.out*w.out*in[0].Shape[1]
	}
	return ax, nil
}

func (f *poolForm) Wide(in []*Tensor) (free, same []int) { return nil, []int{0} }

// Links is empty where offsets are wanted: they count all channels.
func (f *poolForm) Links(in, out []*Tensor) []Link {
	if len(out) > 1 {
		return nil
	}
	return []Link{{{0, 0}, {^0, 0}}, {{0, 1}, {^0, 1}}}
}

// Zeros holds: the mean and the largest of zeros are zero.
func (f *poolForm) Zeros(zero []bool) bool { return zero[0] }

type maxPool struct {
	poolForm
	outputs  int
	training bool
	// columns numbers the pixels of an image by columns in output 1.
	columns bool
	argmax  []int32
	// within are the places of the maxima of frames, where there are three spatial axes.
	within []int32
}

func newMaxPool(n Node) (Op, error) {
	r := &reader{n: n}
	f := &maxPool{poolForm: newPoolForm(r), outputs: max(1, n.Outputs), training: n.Training}
	if f.outputs > 2 {
		r.keep(fmt.Errorf("has %d outputs, wants at most 2", f.outputs))
	}
	f.columns = r.Bool("storage_order", false)
	return f, r.err
}

func (f *maxPool) Infer(in []*Tensor) ([]*Tensor, error) {
	y, err := f.infer(in)
	if err != nil {
		return nil, err
	}
	if y.Rank() == 5 && f.columns && f.outputs == 2 {
		return nil, fmt.Errorf("attribute %q is 1, wants 0 for 3 spatial axes", "storage_order")
	}
	out := []*Tensor{y}
	if f.outputs == 2 {
		out = append(out, Info(Int64, y.Shape...))
	}
	return out, nil
}

func (f *maxPool) Wide(in []*Tensor) (free, same []int) {
	if f.outputs > 1 {
		return nil, nil
	}
	return nil, []int{0}
}

func (f *maxPool) Layouts(in []*Tensor) (want, out []Layout) {
	return []Layout{ChannelsLast}, lastLayouts(f.outputs, ChannelsLast)
}

func (f *maxPool) Prepare(in, out []*Tensor, training bool) (int, error) {
	if _, err := f.prepare(in); err != nil {
		return 0, err
	}
	f.keep(out[0].Size(), training)
	if f.depth != nil {
		return f.depth.frames(), nil
	}
	return 0, nil
}

// keep makes room for the places of n maxima where they are needed.
func (f *maxPool) keep(n int, training bool) {
	if training || f.training || f.outputs == 2 {
		f.argmax = make([]int32, n)
		if f.depth != nil {
			f.within = make([]int32, f.depth.frames())
		}
	}
}

// pool computes y, and the places of its maxima unless argmax is nil.
func (f *maxPool) pool(c *Context, y []float32, argmax, within []int32, x []float32) {
	if f.depth == nil {
		kernel.MaxPool(c.pool(), y, argmax, x, f.shape)
		return
	}
	flat := c.scratch(f.depth.frames())
	kernel.MaxPool(c.pool(), flat, within, x, f.shape)
	f.depth.max(c.pool(), y, argmax, flat, within)
}

func (f *maxPool) Forward(c *Context, in, out []*Tensor) error {
	if f.shape.OW == 0 {
		if _, err := f.Prepare(in, out, false); err != nil {
			return err
		}
	}
	f.pool(c, out[0].F, f.argmax, f.within, in[0].F)
	if f.outputs == 2 {
		f.indices(out[1].I)
	}
	return nil
}

// indices turns the places of the maxima, which are pixels of one image, into
// offsets in the input, the images of which lie by rows or by columns.
func (f *maxPool) indices(dst []int64) {
	s := f.shape
	image, plane := s.OH*s.OW*s.C, s.H*s.W
	if d := f.depth; d != nil {
		image, plane = image*d.axis.out, plane*d.axis.in
	}
	for i, pixel := range f.argmax {
		if f.columns {
			pixel = pixel%int32(s.W)*int32(s.H) + pixel/int32(s.W)
		}
		dst[i] = int64((i/image*s.C+i%s.C)*plane) + int64(pixel)
	}
}

// Reads: a plan that trains keeps the places of the maxima.
func (f *maxPool) Reads() (in, out uint32) {
	if f.training {
		return 0, 0
	}
	return 1 << 0, 0
}

func (f *maxPool) Accumulates() {}

func (f *maxPool) Backward(c *Context, in, out, dout, din []*Tensor) error {
	argmax := f.argmax
	if argmax == nil {
		n := dout[0].Size()
		argmax = make([]int32, n)
		var within []int32
		if f.depth != nil {
			within = make([]int32, f.depth.frames())
		}
		f.pool(c, make([]float32, n), argmax, within, in[0].F)
	}
	if f.depth != nil {
		clearGrad(din[0])
		f.depth.maxGrad(c.pool(), din[0].F, dout[0].F, argmax, f.shape.C)
		return nil
	}
	kernel.MaxPoolGrad(c.pool(), din[0].F, dout[0].F, argmax, f.shape, din[0].Acc)
	return nil
}

// refPool calls f with the values of every window, padding left out, and the
// size of the window inside the padded input.
func refPool(n Node, x *Array, f func(v []float64, at []int, padded int) float64) *Array {
	kernel := (&reader{n: n}).Ints("kernel_shape")
	begin, end, stride, dil, spatial := refWindow(n, x.Shape[2:], kernel)
	y := NewArray(append([]int{x.Shape[0], x.Shape[1]}, spatial...)...)
	Each(y.Shape, func(q []int) {
		var v []float64
		var at []int
		padded := 0
		Each(kernel, func(t []int) {
			inside, counted := true, true
			xi := []int{q[0], q[1]}
			for a := range t {
				p := q[2+a]*stride[a] - begin[a] + t[a]*dil[a]
				xi = append(xi, p)
				inside = inside && p >= 0 && p < x.Shape[2+a]
				counted = counted && p < x.Shape[2+a]+end[a]
			}
			if counted {
				padded++
			}
			if inside {
				at = append(at, x.At(xi...))
				v = append(v, x.V[x.At(xi...)])
			}
		})
		y.V[y.At(q...)] = f(v, at, padded)
	})
	return y
}

func refMaxPool(n Node, in []*Array) []*Array {
	pick := func(index bool) *Array {
		return refPool(n, in[0], func(v []float64, at []int, _ int) float64 {
			best, place := math.Inf(-1), 0
			for i, x := range v {
				if x > best {
					best, place = x, at[i]
				}
			}
			if index {
				if s := in[0].Shape; len(s) == 4 && (&reader{n: n}).Int("storage_order", 0) == 1 {
					image := s[2] * s[3]
					place = place - place%image + place%image%s[3]*s[2] + place%image/s[3]
				}
				return float64(place)
			}
			return best
		})
	}
	return []*Array{pick(false), pick(true)}[:n.Outputs]
}
