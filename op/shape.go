package op

// shapeOf is y = the dimensions of x from start to end (opset 15; negative
// positions count from the end, positions beyond an end are clamped) as int64.
// It reads the shape of x only. https://onnx.ai/onnx/operators/onnx__Shape.html
type shapeOf struct {
	start, end int
	part       bool
}

func init() {
	Register(Def{
		Name: "Shape", Since: 1,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			o := &shapeOf{}
			if n.Opset >= 15 {
				o.start, o.end, o.part = r.Int("start", 0), r.Int("end", 0), r.Has("end")
			}
			return o, r.err
		},
		Reference: func(n Node, in []*Array) []*Array {
			s := in[0].Shape
			lo, hi := int(n.Attrs["start"].I), len(s)
			if a, ok := n.Attrs["end"]; ok {
				hi = int(a.I)
			}
			v := []float64{}
			for i, d := range s {
				if (i >= lo && lo >= 0 || i-len(s) >= lo && lo < 0) && (i < hi && hi >= 0 || i-len(s) < hi && hi < 0) {
					v = append(v, float64(d))
				}
			}
			return []*Array{{Shape: []int{len(v)}, V: v}}
		},
		Cases: []Case{
			{In: []Arg{Rand(2, 3, 5, 7)}},
			{Name: "scalar", In: []Arg{Rand()}},
			{Name: "part", Opset: 15, Attrs: Attrs{"start": IntAttr(1), "end": IntAttr(-1)}, In: []Arg{Rand(2, 3, 5, 7)}},
			{Name: "clamped", Opset: 15, Attrs: Attrs{"start": IntAttr(-9), "end": IntAttr(9)}, In: []Arg{Rand(2, 3)}},
			{Name: "zero end", Opset: 15, Attrs: Attrs{"end": IntAttr(0)}, In: []Arg{Rand(2, 3)}},
			{Name: "crossed", Opset: 15, Attrs: Attrs{"start": IntAttr(2), "end": IntAttr(1)}, In: []Arg{Rand(2, 3, 5)}},
			{Name: "int64", In: []Arg{Const(Vector(1, 2))}},
		},
	})
}

// dims returns the dimensions asked for.
func (o *shapeOf) dims(s []int) []int {
	end := len(s)
	if o.part {
		end = o.end
	}
	r := clampRun(o.start, end, 1, len(s))
	return s[r.start : r.start+r.n]
}

func (o *shapeOf) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 1, 1); err != nil {
		return nil, err
	}
	return []*Tensor{Info(Int64, len(o.dims(in[0].Shape)))}, nil
}

func (o *shapeOf) Layouts(in []*Tensor) (want, out []Layout) {
	return []Layout{in[0].Layout}, []Layout{RowMajor}
}

func (o *shapeOf) Forward(c *Context, in, out []*Tensor) error {
	for i, d := range o.dims(in[0].Shape) {
		out[0].I[i] = int64(d)
	}
	return nil
}

// ReadsShape marks the operator as one that needs no elements.
func (o *shapeOf) ReadsShape() {}
