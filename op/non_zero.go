package op

// nonZero is y [rank(x), count], the positions of the elements of constant x
// that are not zero, in row-major order, as int64.
// https://onnx.ai/onnx/operators/onnx__NonZero.html
type nonZero struct{}

func init() {
	Register(Def{
		Name: "NonZero", Since: 9,
		New: func(n Node) (Op, error) { return &nonZero{}, nil },
		Reference: func(n Node, in []*Array) []*Array {
			x := in[0]
			r := len(x.Shape)
			rows := make([][]float64, r)
			Each(x.Shape, func(idx []int) {
				for a, k := range idx {
					if x.V[x.At(idx...)] != 0 {
						rows[a] = append(rows[a], float64(k))
					}
				}
			})
			y := &Array{Shape: []int{r, len(rows[0])}}
			for _, v := range rows {
				y.V = append(y.V, v...)
			}
			return []*Array{y}
		},
		Cases: []Case{
			{In: []Arg{Const(Floats([]float32{0, 1.5, -2, 0, 0, 3}, 2, 3))}},
			{Name: "bool", In: []Arg{Const(&Tensor{Type: Bool, Shape: []int{2, 1, 2}, I: []int64{1, 0, 0, 1}})}},
			{Name: "none", In: []Arg{Const(Vector(0, 0))}},
		},
	})
}

// positions returns the row-major offsets of the elements that are not zero.
func (o *nonZero) positions(x *Tensor) []int {
	var at []int
	for i, v := range x.F {
		if v != 0 {
			at = append(at, i)
		}
	}
	for i, v := range x.I {
		if v != 0 {
			at = append(at, i)
		}
	}
	return at
}

func (o *nonZero) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 1, 1); err != nil {
		return nil, err
	}
	if !in[0].IsConst() {
		return nil, NeedConst{0}
	}
	return []*Tensor{Info(Int64, in[0].Rank(), len(o.positions(in[0])))}, nil
}

func (o *nonZero) Forward(c *Context, in, out []*Tensor) error {
	at := o.positions(in[0])
	shape := in[0].Shape
	for k, off := range at {
		for a := len(shape) - 1; a >= 0; a-- {
			out[0].I[a*len(at)+k] = int64(off % shape[a])
			off /= shape[a]
		}
	}
	return nil
}
