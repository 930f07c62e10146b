package op

import "fmt"

// GatherElements: y[i…, k, j…] = x[i…, index[i…, k, j…], j…], the index at one axis
// replaced by the value of index (input 1), which y has the shape of. Negative
// values count from the end. The gradient adds the elements up.
// https://onnx.ai/onnx/operators/onnx__GatherElements.html
func init() {
	axis := func(a int) Attrs { return Attrs{"axis": IntAttr(a)} }
	Register(Def{
		Name: "GatherElements", Since: 11, Params: []int{0},
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			o := &gatherElements{axis: r.Int("axis", 0)}
			return o, r.err
		},
		Reference: func(n Node, in []*Array) []*Array {
			x, index := in[0], in[1]
			a := (int(n.Attrs["axis"].I) + len(x.Shape)) % len(x.Shape)
			y := NewArray(index.Shape...)
			Each(y.Shape, func(idx []int) {
				from := append([]int{}, idx...)
				from[a] = refIndex(index.V[index.At(idx...)], x.Shape[a])
				y.V[y.At(idx...)] = x.V[x.At(from...)]
			})
			return []*Array{y}
		},
		Cases: []Case{
			{In: []Arg{Rand(3, 4), Const(Ints([]int64{0, -1, 2, 0, 1, 1, -3, 0}, 2, 4))}},
			{Name: "last", Attrs: axis(-1), In: []Arg{Rand(2, 3, 4), Const(Ints([]int64{0, 3, 1, 1, 2, -1}, 1, 3, 2))}},
			{Name: "int64", Opset: 13, In: []Arg{Const(Vector(5, 6, 7)), Const(Vector(2, 0, 0, 1))}},
		},
	})
}

type gatherElements struct {
	axis int
	runs pieces
}

func (o *gatherElements) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 2, 2); err != nil {
		return nil, err
	}
	x, index := in[0], in[1]
	if err := wantIndex(1, index); err != nil {
		return nil, err
	}
	if err := wantElements(x, index, o.axis); err != nil {
		return nil, err
	}
	if index.IsConst() {
		if err := o.locate(x, index); err != nil {
			return nil, err
		}
	}
	return []*Tensor{Info(x.Type, index.Shape...)}, nil
}

// wantElements refuses an index tensor that does not lie inside x on all axes but
// one.
func wantElements(x, index *Tensor, axis int) error {
	a, err := wantAxis(axis, x.Rank())
	if err != nil {
		return err
	}
	if index.Rank() != x.Rank() {
		return fmt.Errorf("index %s has rank %d, input %s has rank %d", ShapeString(index.Shape), index.Rank(), ShapeString(x.Shape), x.Rank())
	}
	for i, d := range index.Shape {
		if i != a && d > x.Shape[i] {
			return fmt.Errorf("index %s is longer than input %s on axis %d", ShapeString(index.Shape), ShapeString(x.Shape), i)
		}
	}
	return nil
}

func (o *gatherElements) locate(x, index *Tensor) error {
	a, err := wantAxis(o.axis, x.Rank())
	if err != nil {
		return err
	}
	return o.runs.elements(x.Shape, a, index)
}

func (o *gatherElements) Forward(c *Context, in, out []*Tensor) error {
	if err := o.locate(in[0], in[1]); err != nil {
		return err
	}
	o.runs.gather(out[0], in[0])
	return nil
}

func (o *gatherElements) Reads() (in, out uint32) { return 1 << 1, 0 }

// Accumulates marks the operator as an [Accumulator].
func (o *gatherElements) Accumulates() {}

func (o *gatherElements) Backward(c *Context, in, out, dout, din []*Tensor) error {
	if din[0] == nil {
		return nil
	}
	if err := o.locate(din[0], in[1]); err != nil {
		return err
	}
	clearGrad(din[0])
	o.runs.scatterAdd(din[0].F, dout[0].F)
	return nil
}
