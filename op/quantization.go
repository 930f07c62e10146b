package op

import (
	"fmt"
	"math"
)

// quantization is what QuantizeLinear and DequantizeLinear share: scale and zero point
// (inputs 1 and 2, the latter 0 if omitted) for all of x, for every position of an axis
// [D], or for blocks of block_size positions along it, in the shape of x with that axis
// shortened.
type quantization struct{ axis, block int }

func newQuantization(r *reader) quantization {
	f := quantization{axis: r.Int("axis", 1), block: r.Int("block_size", 0)}
	if f.block < 0 || f.block > math.MaxInt32 {
		r.keep(fmt.Errorf("attribute %q is %d, wants at least 0", "block_size", f.block))
	}
	return f
}

// params checks scale and zero point and returns the strides with which they go along x,
// with the positions of the axis that share one.
func (f *quantization) params(in []*Tensor) (str []int, axis, share int, err error) {
	x, s := in[0].Shape, in[1].Shape
	str, share = make([]int, len(x)), 1
	if !in[1].Type.IsFloat() {
		return nil, 0, 0, fmt.Errorf("scale is of type %s, wants a float type", in[1].Type)
	}
	if hasInput(in, 2) {
		if err := wantShape(2, in[2], s); err != nil {
			return nil, 0, 0, err
		}
	}
	if Size(s) == 1 && (f.block == 0 || len(s) < len(x)) {
		return str, 0, 1, nil
	}
	if axis, err = wantAxis(f.axis, len(x)); err != nil {
		return nil, 0, 0, err
	}
	if f.block == 0 {
		if !EqualShape(s, x[axis:axis+1]) {
			return nil, 0, 0, fmt.Errorf("scale has shape %s, wants one element or [%d]", ShapeString(s), x[axis])
		}
		str[axis] = 1
		return str, axis, 1, nil
	}
	want := append([]int{}, x...)
	want[axis] = (x[axis] + f.block - 1) / f.block
	if !EqualShape(s, want) {
		return nil, 0, 0, fmt.Errorf("scale has shape %s, wants %s for blocks of %d", ShapeString(s), ShapeString(want), f.block)
	}
	return Strides(s, RowMajor), axis, f.block, nil
}

// each calls g with the number of every element of x and that of its scale.
func (f *quantization) each(in []*Tensor, g func(i, k int)) error {
	str, axis, share, err := f.params(in)
	if err != nil {
		return err
	}
	i := 0
	Each(in[0].Shape, func(idx []int) {
		k := 0
		for a, p := range idx {
			if a == axis {
				p /= share
			}
			k += p * str[a]
		}
		g(i, k)
		i++
	})
	return nil
}

// zeroPoint returns the zero point number k.
func zeroPoint(in []*Tensor, k int) int64 {
	if hasInput(in, 2) {
		return in[2].I[k]
	}
	return 0
}

// limits are the smallest and largest integers of the types that values are quantized
// to.
var limits = map[Type][2]float64{
	Uint8: {0, 255}, Int8: {-128, 127}, Uint16: {0, 65535}, Int16: {-32768, 32767},
}

// refQuantization returns per element of x its scale and zero point.
func refQuantization(n Node, in []*Array, g func(i int, scale, zero float64)) {
	r := &reader{n: n}
	x, s := in[0], in[1]
	axis := (r.Int("axis", 1) + len(x.Shape)) % len(x.Shape)
	block := r.Int("block_size", 0)
	i := 0
	Each(x.Shape, func(idx []int) {
		k := 0
		switch {
		case len(s.V) == 1:
		case block == 0:
			k = idx[axis]
		default:
			at := append([]int{}, idx...)
			at[axis] /= block
			k = s.At(at...)
		}
		z := 0.0
		if len(in) > 2 && in[2] != nil {
			z = in[2].V[k]
		}
		g(i, s.V[k], z)
		i++
	})
}
