package op

// refReduce gathers the elements of every output and applies the function.
func refReduce(n Node, f reduceFunc, in []*Array) []*Array {
	x := in[0]
	var axes []int64
	if a, ok := n.Attrs["axes"]; ok {
		axes = a.Ints
	}
	if len(in) > 1 && in[1] != nil {
		for _, v := range in[1].V {
			axes = append(axes, int64(v))
		}
	}
	all := len(axes) == 0 && n.Attrs["noop_with_empty_axes"].I == 0
	keep := true
	if a, ok := n.Attrs["keepdims"]; ok {
		keep = a.I != 0
	}
	full, shape := []int{}, []int{}
	gone := make([]bool, len(x.Shape))
	for i, d := range x.Shape {
		gone[i] = all
		for _, a := range axes {
			gone[i] = gone[i] || int(a) == i || int(a)+len(x.Shape) == i
		}
		if gone[i] {
			d = 1
		}
		full = append(full, d)
		if !gone[i] || keep {
			shape = append(shape, d)
		}
	}
	groups := &Array{Shape: full}
	values := make([][]float64, Size(full))
	k := 0
	Each(x.Shape, func(idx []int) {
		at := append([]int{}, idx...)
		for i := range at {
			if gone[i] {
				at[i] = 0
			}
		}
		o := groups.At(at...)
		values[o] = append(values[o], x.V[k])
		k++
	})
	y := NewArray(shape...)
	for i, v := range values {
		y.V[i] = f.ref(v)
	}
	return []*Array{y}
}

// reduceCases covers what the operators of the family share.
func reduceCases(f reduceFunc) []Case {
	keep, drop := IntAttr(1), IntAttr(0)
	cs := []Case{
		{Name: "spatial", Opset: 11, Attrs: Attrs{"axes": IntsAttr(2, 3), "keepdims": drop}, In: []Arg{Rand(2, 5, 7, 3)}},
		{Name: "spatial kept", Opset: 11, Attrs: Attrs{"axes": IntsAttr(-1, -2), "keepdims": keep}, In: []Arg{Rand(2, 5, 7, 3)}},
		{Name: "channel", Opset: 11, Attrs: Attrs{"axes": IntsAttr(1)}, In: []Arg{Rand(2, 5, 7, 3)}},
		{Name: "batch", Opset: 11, Attrs: Attrs{"axes": IntsAttr(0), "keepdims": drop}, In: []Arg{Rand(3, 5, 7, 2)}},
		{Name: "last", Opset: 11, Attrs: Attrs{"axes": IntsAttr(-1)}, In: []Arg{Rand(4, 6, 33)}},
		{Name: "mixed", Opset: 11, Attrs: Attrs{"axes": IntsAttr(0, 2)}, In: []Arg{Rand(2, 3, 5, 4)}},
		{Name: "all", Opset: 11, Attrs: Attrs{"keepdims": drop}, In: []Arg{Rand(2, 3, 4)}},
		{Name: "input", Opset: f.axesInput, In: []Arg{Rand(2, 3, 4, 5), Const(Vector(-1, 1))}},
		{Name: "no axes", Opset: f.axesInput, In: []Arg{Rand(2, 3, 4), Const(Vector())}},
		{Name: "omitted axes", Opset: f.axesInput, In: []Arg{Rand(2, 3, 4)}},
		{Name: "noop", Opset: f.axesInput, Attrs: Attrs{"noop_with_empty_axes": IntAttr(1)}, In: []Arg{Rand(2, 3, 4)}},
		{Name: "scalar", Opset: 11, In: []Arg{Rand()}},
	}
	if f.ints != nil {
		cs = append(cs, Case{Name: "int64", Opset: f.axesInput,
			In: []Arg{Const(Ints([]int64{3, -1, 4, 1, -5, 9}, 2, 3)), Const(Vector(1))}})
	}
	for i := range cs {
		for j := range cs[i].In {
			if f.positive {
				cs[i].In[j].Lo, cs[i].In[j].Hi = 0.5, 2
			}
		}
	}
	return cs
}
