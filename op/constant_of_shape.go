package op

import "fmt"

// constantOfShape is a tensor of the shape given by constant input 0 with every
// element equal to the attribute value (float 0 without it).
// https://onnx.ai/onnx/operators/onnx__ConstantOfShape.html
type constantOfShape struct{ value *Tensor }

func init() {
	Register(Def{
		Name: "ConstantOfShape", Since: 9,
		New: func(n Node) (Op, error) {
			a, ok, err := n.attr("value", KindTensor)
			if err != nil {
				return nil, err
			}
			if !ok {
				return &constantOfShape{Floats([]float32{0}, 1)}, nil
			}
			if !a.T.IsConst() || len(a.T.F)+len(a.T.I) != 1 {
				return nil, fmt.Errorf("attribute %q does not have one element of a supported type", "value")
			}
			return &constantOfShape{a.T}, nil
		},
		Reference: func(n Node, in []*Array) []*Array {
			var shape []int
			for _, d := range in[0].V {
				shape = append(shape, int(d))
			}
			y := NewArray(shape...)
			if a, ok := n.Attrs["value"]; ok {
				for i := range y.V {
					if y.V[i] = 0; a.T.F != nil {
						y.V[i] = float64(a.T.F[0])
					} else {
						y.V[i] = float64(a.T.I[0])
					}
				}
			}
			return []*Array{y}
		},
		Cases: []Case{
			{In: []Arg{Const(Vector(2, 3, 5))}},
			{Name: "float", Attrs: Attrs{"value": {Kind: KindTensor, T: Floats([]float32{1.5}, 1)}}, In: []Arg{Const(Vector(3))}},
			{Name: "int64", Attrs: Attrs{"value": {Kind: KindTensor, T: Vector(-1)}}, In: []Arg{Const(Vector(2, 2))}},
			{Name: "scalar", In: []Arg{Const(Ints([]int64{}, 0))}},
			{Name: "empty", In: []Arg{Const(Vector(3, 0))}},
		},
	})
}

func (o *constantOfShape) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 1, 1); err != nil {
		return nil, err
	}
	shape, err := constInts(in, 0)
	if err != nil {
		return nil, err
	}
	if err := checkSize(shape); err != nil {
		return nil, err
	}
	return []*Tensor{Info(o.value.Type, shape...)}, nil
}

// Couplings lets all positions go by themselves.
func (o *constantOfShape) Couplings(in, out []*Tensor) []Coupling {
	var all []Coupling
	for a, n := range out[0].Shape {
		all = append(all, Coupling{Sides: []Side{Whole(HiddenAxis(a+1, n)), Whole(Axis(^0, a))}})
	}
	return all
}

// Zeros holds for the value zero.
func (o *constantOfShape) Zeros([]bool) bool { return o.value.F != nil && o.value.F[0] == 0 }

// Cut makes the shape smaller.
func (o *constantOfShape) Cut(c *Cut) (Change, error) {
	return Change{Inputs: map[int]*Tensor{0: intsLike(c.In[0], c.Shape(^0))}}, nil
}

func (o *constantOfShape) Forward(c *Context, in, out []*Tensor) error {
	for i := range out[0].F {
		out[0].F[i] = o.value.F[0]
	}
	for i := range out[0].I {
		out[0].I[i] = o.value.I[0]
	}
	return nil
}
