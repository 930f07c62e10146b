package op

// ScatterND: y = x, then y[index[i…, 0], …, index[i…, q−1], …] = f(y[…], u[i…, …]) for
// every tuple along the last axis of index (input 1), where f takes the slice of
// updates u (input 2), or adds, multiplies or takes the larger or smaller of both.
// https://onnx.ai/onnx/operators/onnx__ScatterND.html
func init() {
	tuples := Const(Ints([]int64{0, 1, -1, 3}, 2, 2))
	cases := []Case{
		{In: []Arg{Rand(3, 4), tuples, Rand(2)}},
		{Name: "slices", Opset: 11, In: []Arg{Rand(3, 2, 4), Const(Ints([]int64{2, 0}, 2, 1)), Rand(2, 2, 4)}},
		{Name: "grid", In: []Arg{Rand(3, 2), Const(Ints([]int64{2, 1, 0, 0, 1, 1, 2, 0}, 2, 2, 2)), Rand(2, 2)}},
		{Name: "int64", In: []Arg{Const(Vector(1, 2, 3)), Const(Ints([]int64{1}, 1, 1)), Const(Vector(7))}},
	}
	for _, f := range []string{"add", "mul", "max", "min"} {
		cases = append(cases, Case{Name: f, Opset: 18, Attrs: Attrs{"reduction": StringAttr(f)},
			In: []Arg{Rand(3, 2), Const(Ints([]int64{1, -2, 0}, 3, 1)), Rand(3, 2)}})
	}
	Register(Def{
		Name: "ScatterND", Since: 11,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			reduction, f := scatterReduction(r)
			return newScatter(reduction, scatterForm{f: f,
				check: func(x, index, u *Tensor) error {
					if err := wantTuples(x.Shape, index.Shape, 0); err != nil {
						return err
					}
					k := index.Rank() - 1
					return wantShape(2, u, append(append([]int{}, index.Shape[:k]...), x.Shape[index.Shape[k]:]...))
				},
				locate: func(p *pieces, x, index *Tensor) error { return p.slices(x.Shape, index.Shape, index.I, 0) },
			}), r.err
		},
		Reference: func(n Node, in []*Array) []*Array {
			x, index, u := in[0], in[1], in[2]
			f := scatterOf[float64](n.Attrs["reduction"].S)
			y := refView(x, x.Shape)[0]
			k := len(index.Shape) - 1
			Each(u.Shape, func(idx []int) {
				o := y.At(append(refTuple(x, index, idx[:k], 0), idx[k:]...)...)
				y.V[o] = f(y.V[o], u.V[u.At(idx...)])
			})
			return []*Array{y}
		},
		Cases: cases,
	})
}
