package op

import "fmt"

// constant is y = the value of its one attribute; it has no inputs.
// https://onnx.ai/onnx/operators/onnx__Constant.html
type constant struct{ value *Tensor }

func init() {
	ref := func(shape []int, v ...float64) *Array { return &Array{Shape: shape, V: v} }
	Register(Def{
		Name: "Constant", Since: 1,
		New: newConstant,
		Reference: func(n Node, in []*Array) []*Array {
			for name, a := range n.Attrs {
				switch name {
				case "value_int":
					return []*Array{ref([]int{}, float64(a.I))}
				case "value_float":
					return []*Array{ref([]int{}, float64(a.F))}
				case "value_ints":
					return []*Array{ref([]int{2}, float64(a.Ints[0]), float64(a.Ints[1]))}
				case "value_floats":
					return []*Array{ref([]int{2}, float64(a.Floats[0]), float64(a.Floats[1]))}
				}
			}
			return []*Array{ref([]int{2, 1}, 2.5, -1)}
		},
		Cases: []Case{
			{Opset: 7, Attrs: Attrs{"value": {Kind: KindTensor, T: Floats([]float32{2.5, -1}, 2, 1)}}},
			{Name: "int", Attrs: Attrs{"value_int": IntAttr(-7)}},
			{Name: "float", Attrs: Attrs{"value_float": FloatAttr(0.5)}},
			{Name: "ints", Attrs: Attrs{"value_ints": IntsAttr(3, -4)}},
			{Name: "floats", Attrs: Attrs{"value_floats": {Kind: KindFloats, Floats: []float32{1, 2}}}},
		},
	})
}

func newConstant(n Node) (Op, error) {
	kinds := []struct {
		name string
		kind AttrKind
	}{
		{"value", KindTensor}, {"value_int", KindInt}, {"value_ints", KindInts},
		{"value_float", KindFloat}, {"value_floats", KindFloats},
	}
	var o *constant
	for _, k := range kinds {
		a, ok, err := n.attr(k.name, k.kind)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if o != nil {
			return nil, fmt.Errorf("attribute %q is a second value, wants one", k.name)
		}
		o = &constant{}
		switch k.kind {
		case KindTensor:
			o.value = a.T
		case KindInt:
			o.value = Ints([]int64{a.I})
		case KindInts:
			o.value = Ints(append([]int64{}, a.Ints...), len(a.Ints))
		case KindFloat:
			o.value = Scalar(a.F)
		case KindFloats:
			o.value = Floats(append([]float32{}, a.Floats...), len(a.Floats))
		}
	}
	for _, name := range []string{"value_string", "value_strings", "sparse_value"} {
		if _, ok := n.Attrs[name]; ok {
			return nil, fmt.Errorf("attribute %q is not supported", name)
		}
	}
	if o == nil {
		return nil, fmt.Errorf("has no value attribute")
	}
	if !o.value.IsConst() || len(o.value.F)+len(o.value.I) != o.value.Size() {
		return nil, fmt.Errorf("attribute %q has no elements of a supported type", "value")
	}
	return o, nil
}

func (o *constant) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 0, 0); err != nil {
		return nil, err
	}
	return []*Tensor{Info(o.value.Type, o.value.Shape...)}, nil
}

func (o *constant) Forward(c *Context, in, out []*Tensor) error {
	copy(out[0].F, o.value.F)
	copy(out[0].I, o.value.I)
	return nil
}
