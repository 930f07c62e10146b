package op

// Hardmax: y = 1 at the first largest element along an axis (opset 13), or along all
// axes from axis on (before), 0 elsewhere.
// https://onnx.ai/onnx/operators/onnx__Hardmax.html
func init() {
	axis := func(v int) Attrs { return Attrs{"axis": IntAttr(v)} }
	ties := Const(Floats([]float32{1, 3, 3, 2, 0, 0}, 2, 3))
	Register(Def{
		Name: "Hardmax", Since: 1,
		New: func(n Node) (Op, error) {
			o, err := newSoftmax(n, false)
			if err != nil {
				return nil, err
			}
			return &hardmax{o.(*softmax)}, nil
		},
		Reference: refHardmax,
		Cases: []Case{
			{In: []Arg{Rand(3, 7)}},
			{Name: "channels", Attrs: axis(1), In: []Arg{Rand(2, 5, 3, 4)}},
			{Name: "ties", In: []Arg{ties}},
			{Name: "flattened", Opset: 11, In: []Arg{Rand(2, 3, 4)}},
			{Name: "flattened-axis-2", Opset: 12, Attrs: axis(2), In: []Arg{Rand(2, 3, 4)}},
		},
	})
}

// hardmax has the attributes, shapes and channel rule of Softmax.
type hardmax struct{ s *softmax }

func (f *hardmax) Infer(in []*Tensor) ([]*Tensor, error) { return f.s.Infer(in) }

func (f *hardmax) Layouts(in []*Tensor) (want, out []Layout) { return f.s.Layouts(in) }

func (f *hardmax) Links(in, out []*Tensor) []Link { return f.s.Links(in, out) }

func (f *hardmax) Forward(c *Context, in, out []*Tensor) error {
	clear(out[0].F)
	f.s.lines(c, in[0], func(o, n, stride int, _ []float32) {
		at := extreme(in[0].F[o:], n, stride, 1, false)
		out[0].F[o+int(at)*stride] = 1
	})
	return nil
}

func refHardmax(n Node, in []*Array) []*Array {
	r := &reader{n: n}
	x := in[0]
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
		best := first
		for k := range span {
			if x.V[first+k*after] > x.V[best] {
				best = first + k*after
			}
		}
		y.V[best] = 1
	}
	return []*Array{y}
}
