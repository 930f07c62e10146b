package op

// ScatterElements: y = x, then y[i…, index[i…, k, j…], j…] = f(y[…], u[i…, k, j…]) for all
// elements of updates u (input 2), where f takes the update, or adds, multiplies or
// takes the larger or smaller of both. x [D1,…], index and u of one shape.
// https://onnx.ai/onnx/operators/onnx__ScatterElements.html
func init() { registerScatterElements("ScatterElements", 11) }

func registerScatterElements(name string, since int) {
	attrs := func(axis int, reduction string) Attrs {
		a := Attrs{"axis": IntAttr(axis)}
		if reduction != "" {
			a["reduction"] = StringAttr(reduction)
		}
		return a
	}
	index := Const(Ints([]int64{0, -1, 2, 1, 2, 1}, 2, 3))
	twice := Const(Ints([]int64{1, 1, 0, 1}, 1, 4))
	cases := []Case{
		{In: []Arg{Rand(3, 4), index, Rand(2, 3)}},
		{Name: "axis", Attrs: attrs(1, ""), In: []Arg{Rand(3, 4), index, Rand(2, 3)}},
		{Name: "int64", In: []Arg{Const(Vector(1, 2, 3)), Const(Vector(2)), Const(Vector(7))}},
	}
	if name == "ScatterElements" {
		for _, f := range []string{"add", "mul", "max", "min"} {
			cases = append(cases, Case{Name: f, Opset: 18, Attrs: attrs(-1, f), In: []Arg{Rand(2, 3), twice, Rand(1, 4)}})
		}
	}
	Register(Def{
		Name: name, Since: since,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			axis := r.Int("axis", 0)
			reduction, f := scatterReduction(r)
			return newScatter(reduction, scatterForm{f: f,
				check: func(x, index, u *Tensor) error {
					if err := wantShape(2, u, index.Shape); err != nil {
						return err
					}
					return wantElements(x, index, axis)
				},
				locate: func(p *pieces, x, index *Tensor) error {
					a, err := wantAxis(axis, x.Rank())
					if err != nil {
						return err
					}
					return p.elements(x.Shape, a, index)
				},
			}), r.err
		},
		Reference: func(n Node, in []*Array) []*Array {
			x, index, u := in[0], in[1], in[2]
			a := (int(n.Attrs["axis"].I) + len(x.Shape)) % len(x.Shape)
			f := scatterOf[float64](n.Attrs["reduction"].S)
			y := refView(x, x.Shape)[0]
			Each(index.Shape, func(idx []int) {
				to := append([]int{}, idx...)
				to[a] = refIndex(index.V[index.At(idx...)], x.Shape[a])
				o := y.At(to...)
				y.V[o] = f(y.V[o], u.V[u.At(idx...)])
			})
			return []*Array{y}
		},
		Cases: cases,
	})
}
