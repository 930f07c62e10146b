package op

import (
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Softmax: y = exp(x) / Σ exp(x), the sum over one axis (opset 13), or over all
// axes from axis on (before). https://onnx.ai/onnx/operators/onnx__Softmax.html
func init() {
	Register(Def{
		Name: "Softmax", Since: 1,
		New:       func(n Node) (Op, error) { return newSoftmax(n, false) },
		Reference: func(n Node, in []*Array) []*Array { return refSoftmax(n, in[0], func(p float64) float64 { return p }) },
		Cases:     softmaxCases(),
	})
}

// softmaxCases are shared with LogSoftmax.
func softmaxCases() []Case {
	axis := func(v int) Attrs { return Attrs{"axis": IntAttr(v)} }
	return []Case{
		{In: []Arg{RandIn(-4, 4, 3, 7)}},
		{Name: "channels", In: []Arg{RandIn(-4, 4, 2, 5, 3, 4)}, Attrs: axis(1)},
		{Name: "height", In: []Arg{RandIn(-4, 4, 2, 3, 6, 2)}, Attrs: axis(-2)},
		{Name: "width", In: []Arg{RandIn(-4, 4, 2, 3, 2, 19)}, Attrs: axis(3)},
		{Name: "batch", In: []Arg{RandIn(-4, 4, 4, 3)}, Attrs: axis(0)},
		{Name: "vector", In: []Arg{RandIn(-4, 4, 37)}},
		{Name: "large", In: []Arg{RandIn(80, 120, 3, 9)}},
		{Name: "flattened", Opset: 11, In: []Arg{RandIn(-4, 4, 2, 3, 4)}},
		{Name: "flattened-axis-0", Opset: 7, In: []Arg{RandIn(-4, 4, 3, 4)}, Attrs: axis(0)},
		{Name: "flattened-last", Opset: 12, In: []Arg{RandIn(-4, 4, 2, 3, 2, 5)}, Attrs: axis(-1)},
	}
}

// softmax is Softmax, or LogSoftmax with log.
type softmax struct {
	axis    int
	log     bool
	flatten bool
}

func newSoftmax(n Node, log bool) (Op, error) {
	r := &reader{n: n}
	def := -1
	if n.Opset < 13 {
		def = 1
	}
	return &softmax{axis: r.Int("axis", def), log: log, flatten: n.Opset < 13}, r.err
}

func (f *softmax) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 1, 1); err != nil {
		return nil, err
	}
	if err := wantFloats(in); err != nil {
		return nil, err
	}
	if _, err := wantAxis(f.axis, in[0].Rank()); err != nil {
		return nil, err
	}
	return []*Tensor{Info(in[0].Type, in[0].Shape...)}, nil
}

// at returns the axis, counted from the front.
func (f *softmax) at(rank int) int { return (f.axis + rank) % rank }

// spans reports whether the sum runs over several axes.
func (f *softmax) spans(rank int) bool { return f.flatten && f.at(rank) != rank-1 }

func (f *softmax) Layouts(in []*Tensor) (want, out []Layout) {
	l := in[0].Layout
	if f.spans(in[0].Rank()) {
		l = RowMajor
	}
	return []Layout{l}, []Layout{l}
}

// Links leaves out the axes of the sum.
func (f *softmax) Links(in, out []*Tensor) []Link {
	var links []Link
	at := f.at(in[0].Rank())
	for a := range in[0].Shape {
		if a < at || a > at && !f.flatten {
			links = append(links, Link{{0, a}, {^0, a}})
		}
	}
	return links
}

// lines calls g with the offset of every line of n elements, stride apart, over
// which a sum runs. Lines are spread over threads; buf has 3·n elements of its
// own per task.
func (f *softmax) lines(c *Context, t *Tensor, g func(o, n, stride int, buf []float32)) {
	at := f.at(t.Rank())
	shape, n, stride := append([]int{}, t.Shape...), t.Shape[at], t.Strides()[at]
	shape[at] = 1
	if f.spans(t.Rank()) {
		n, stride = Size(t.Shape[at:]), 1
		for a := at; a < len(shape); a++ {
			shape[a] = 1
		}
	}
	if t.Size() == 0 {
		return
	}
	w := newWalk(shape, t.Strides())
	lines := newOdometer(w.dims, w.str)
	c.Parallel(lines.size(), 4*n, func(lo, hi int) {
		buf := make([]float32, 3*n)
		for i := lo; i < hi; i++ {
			g(lines.at(i)[0], n, stride, buf)
		}
	})
}

// line returns the elements of a line: in place if contiguous, else in buf.
func line(v []float32, o, n, stride int, buf []float32) []float32 {
	if stride == 1 {
		return v[o : o+n]
	}
	for i := range n {
		buf[i] = v[o+i*stride]
	}
	return buf[:n]
}

// putLine writes a line back that is not contiguous.
func putLine(v []float32, o, stride int, from []float32) {
	if stride != 1 {
		for i, x := range from {
			v[o+i*stride] = x
		}
	}
}

// target returns where a line is to be computed.
func target(v []float32, o, n, stride int, buf []float32) []float32 {
	if stride == 1 {
		return v[o : o+n]
	}
	return buf[:n]
}

func (f *softmax) Forward(c *Context, in, out []*Tensor) error {
	f.lines(c, in[0], func(o, n, stride int, buf []float32) {
		x := line(in[0].F, o, n, stride, buf)
		y := target(out[0].F, o, n, stride, buf[n:])
		top := x[0]
		for _, v := range x {
			top = max(top, v)
		}
		if f.log {
			e := buf[2*n:]
			kernel.AddScalar(y, x, -top)
			kernel.Exp(e, y)
			kernel.AddScalar(y, y, -float32(math.Log(float64(kernel.Sum(e)))))
		} else {
			kernel.AddScalar(y, x, -top)
			kernel.Exp(y, y)
			kernel.Scale(y, y, 1/kernel.Sum(y))
		}
		putLine(out[0].F, o, stride, y)
	})
	return nil
}

func (f *softmax) Reads() (in, out uint32) { return 0, 1 << 0 }

// Backward: dx = y·(dy − Σ dy·y) for Softmax, dx = dy − exp(y)·Σ dy for
// LogSoftmax.
func (f *softmax) Backward(c *Context, in, out, dout, din []*Tensor) error {
	f.lines(c, out[0], func(o, n, stride int, buf []float32) {
		y := line(out[0].F, o, n, stride, buf)
		dy := line(dout[0].F, o, n, stride, buf[n:])
		dx := target(din[0].F, o, n, stride, buf[2*n:])
		if f.log {
			sum := kernel.Sum(dy)
			kernel.Exp(dx, y)
			kernel.Scale(dx, dx, -sum)
			kernel.Add(dx, dx, dy)
		} else {
			kernel.AddScalar(dx, dy, -kernel.Dot(dy, y))
			kernel.Mul(dx, dx, y)
		}
		putLine(din[0].F, o, stride, dx)
	})
	return nil
}

// refSoftmax applies f to the probabilities.
func refSoftmax(n Node, x *Array, f func(p float64) float64) []*Array {
	r := &reader{n: n}
	axis := r.Int("axis", -1)
	if n.Opset < 13 {
		axis = r.Int("axis", 1)
	}
	axis = (axis + len(x.Shape)) % len(x.Shape)
	after := Size(x.Shape[axis+1:])
	span := x.Shape[axis]
	if n.Opset < 13 {
		span, after = span*after, 1
	}
	y := NewArray(x.Shape...)
	for i := range x.V {
		first := i/(span*after)*span*after + i%after
		sum := 0.0
		for k := 0; k < span; k++ {
			sum += math.Exp(x.V[first+k*after] - x.V[i])
		}
		y.V[i] = f(1 / sum)
	}
	return []*Array{y}
}
