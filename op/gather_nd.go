package op

import "fmt"

// GatherND: y[b…, i…] = x[b…, index[b…, i…, 0], …, index[b…, i…, q−1], …]: every tuple
// along the last axis of index (input 1) names a slice of x; the first batch_dims
// axes b of both go together. The gradient adds the slices up.
// https://onnx.ai/onnx/operators/onnx__GatherND.html
func init() {
	Register(Def{
		Name: "GatherND", Since: 11, Params: []int{0},
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			o := &gatherND{batch: r.Int("batch_dims", 0)}
			if o.batch < 0 {
				r.keep(fmt.Errorf("attribute %q is %d, wants at least 0", "batch_dims", o.batch))
			}
			return o, r.err
		},
		Reference: refGatherND,
		Cases: []Case{
			{In: []Arg{Rand(3, 4), Const(Ints([]int64{0, 1, -1, 3}, 2, 2))}},
			{Name: "slices", In: []Arg{Rand(3, 2, 4), Const(Ints([]int64{0, 2, -1, 2}, 2, 2, 1))}},
			{Name: "batch", Opset: 12, Attrs: Attrs{"batch_dims": IntAttr(1)}, In: []Arg{Rand(2, 3, 4), Const(Ints([]int64{1, 2, 0, -2}, 2, 2, 1))}},
			{Name: "int64", Opset: 13, In: []Arg{Const(Ints([]int64{1, 2, 3, 4}, 2, 2)), Const(Ints([]int64{1}, 1))}},
		},
	})
}

type gatherND struct {
	batch int
	runs  pieces
}

func (o *gatherND) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 2, 2); err != nil {
		return nil, err
	}
	x, index := in[0], in[1]
	if err := wantIndex(1, index); err != nil {
		return nil, err
	}
	if err := wantTuples(x.Shape, index.Shape, o.batch); err != nil {
		return nil, err
	}
	if index.IsConst() {
		if err := o.locate(x, index); err != nil {
			return nil, err
		}
	}
	r := index.Rank()
	shape := append(append([]int{}, index.Shape[:r-1]...), x.Shape[o.batch+index.Shape[r-1]:]...)
	return []*Tensor{Info(x.Type, shape...)}, checkSize(shape)
}

// wantTuples refuses an index whose tuples name no slices of x.
func wantTuples(x, index []int, batch int) error {
	r := len(index)
	if r == 0 || batch >= r || batch > len(x) || !EqualShape(x[:batch], index[:batch]) {
		return fmt.Errorf("index %s and input %s do not share %d batch axes before the tuples", ShapeString(index), ShapeString(x), batch)
	}
	if q := index[r-1]; q < 1 || q > len(x)-batch {
		return fmt.Errorf("index %s has tuples of %d, wants 1 to %d for input %s", ShapeString(index), q, len(x)-batch, ShapeString(x))
	}
	return nil
}

func (o *gatherND) locate(x, index *Tensor) error {
	return o.runs.slices(x.Shape, index.Shape, index.I, o.batch)
}

func (o *gatherND) Forward(c *Context, in, out []*Tensor) error {
	if err := o.locate(in[0], in[1]); err != nil {
		return err
	}
	o.runs.gather(out[0], in[0])
	return nil
}

func (o *gatherND) Reads() (in, out uint32) { return 1 << 1, 0 }

// Accumulates marks the operator as an [Accumulator].
func (o *gatherND) Accumulates() {}

func (o *gatherND) Backward(c *Context, in, out, dout, din []*Tensor) error {
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

// refTuple returns the index in x that tuple t of index names, with batch axes.
func refTuple(x, index *Array, t []int, batch int) []int {
	at := append([]int{}, t[:batch]...)
	for j := range index.Shape[len(index.Shape)-1] {
		v := index.V[index.At(append(append([]int{}, t...), j)...)]
		at = append(at, refIndex(v, x.Shape[batch+j]))
	}
	return at
}

func refGatherND(n Node, in []*Array) []*Array {
	x, index, batch := in[0], in[1], int(n.Attrs["batch_dims"].I)
	r := len(index.Shape)
	tuples := index.Shape[:r-1]
	tail := x.Shape[batch+index.Shape[r-1]:]
	y := NewArray(append(append([]int{}, tuples...), tail...)...)
	Each(y.Shape, func(idx []int) {
		from := append(refTuple(x, index, idx[:r-1], batch), idx[r-1:]...)
		y.V[y.At(idx...)] = x.V[x.At(from...)]
	})
	return []*Array{y}
}
