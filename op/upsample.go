package op

import "fmt"

// Upsample: y[o] = x at place o/scale, the element before it (nearest) or linear
// between the elements around it. x and y of any rank, y of length ⌊scale·length⌋.
// The scales are an attribute before opset 9 and constant input 1 since.
// https://onnx.ai/onnx/operators/onnx__Upsample.html
func init() {
	scales := func(v ...float32) Attr { return Attr{Kind: KindFloats, Floats: v} }
	Register(Def{
		Name: "Upsample", Since: 7,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			f := &resize{mode: r.String("mode", "nearest"), coordinate: "asymmetric", nearest: "simple", policy: "stretch", scalesAt: 1, inputs: 2}
			oneOf(r, "mode", f.mode, "nearest", "linear")
			if n.Opset < 9 {
				a, ok, err := n.attr("scales", KindFloats)
				r.keep(err)
				if !ok {
					r.keep(fmt.Errorf("attribute %q is missing", "scales"))
				}
				f.scales, f.scalesAt, f.inputs = a.Floats, -1, 1
			}
			return f, r.err
		},
		Reference: refResize,
		Cases: []Case{
			{Opset: 9, In: []Arg{Rand(2, 3, 4, 5), Const(Floats([]float32{1, 1, 2, 3}, 4))}},
			{Name: "linear", Opset: 9, Attrs: Attrs{"mode": StringAttr("linear")}, In: []Arg{Rand(2, 3, 4, 5), Const(Floats([]float32{1, 1, 2, 1.5}, 4))}},
			{Name: "attribute", Opset: 7, Attrs: Attrs{"scales": scales(1, 1, 2, 2)}, In: []Arg{Rand(2, 3, 4, 5)}},
		},
	})
}
