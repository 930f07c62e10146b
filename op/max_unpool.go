package op

import (
	"fmt"
	"slices"
)

// MaxUnpool puts every element of x back where MaxPool found it: y = 0 but for
// y[index[i]] = x[i]. The indices (input 1) are row-major offsets in a tensor
// [N,C,D1,…] of length (L−1)·stride − pads + kernel per axis; y is that, or larger with
// output_shape (constant input 2). Where indices meet, the last element counts.
// https://onnx.ai/onnx/operators/onnx__MaxUnpool.html
func init() {
	at := func(v []int64, shape ...int) Arg { return Const(Ints(v, shape...)) }
	kernel := Attrs{"kernel_shape": IntsAttr(2, 2), "strides": IntsAttr(2, 2)}
	Register(Def{
		Name: "MaxUnpool", Since: 9,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			f := &maxUnpool{window: readWindow(r)}
			if f.window.kernel == nil {
				r.keep(fmt.Errorf("attribute %q is missing", "kernel_shape"))
			}
			return f, r.err
		},
		Reference: refMaxUnpool,
		Cases: []Case{
			{Attrs: kernel, In: []Arg{Rand(1, 2, 2, 2), at([]int64{5, 7, 13, 8, 16, 18, 31, 28}, 1, 2, 2, 2)}},
			{Name: "output shape", Attrs: kernel, In: []Arg{Rand(1, 1, 2, 2), at([]int64{5, 7, 13, 15}, 1, 1, 2, 2), Const(Vector(1, 1, 5, 6))}},
			{Name: "pads", Opset: 11, Attrs: Attrs{"kernel_shape": IntsAttr(3), "strides": IntsAttr(2), "pads": IntsAttr(1, 0)}, In: []Arg{Rand(2, 1, 3), at([]int64{0, 2, 5, 6, 9, 11}, 2, 1, 3)}},
			{Name: "twice", Attrs: kernel, In: []Arg{Rand(1, 1, 1, 2), at([]int64{3, 3}, 1, 1, 1, 2)}},
		},
	})
}

type maxUnpool struct {
	window window
	runs   pieces
}

// shapes returns the shape that the indices are for and that of y.
func (f *maxUnpool) shapes(in []*Tensor) (inner, outer []int, err error) {
	if err := wantInputs(in, 2, 3); err != nil {
		return nil, nil, err
	}
	x, k := in[0].Shape, f.window.kernel
	if !in[0].Type.IsFloat() || in[1].Type != Int64 {
		return nil, nil, fmt.Errorf("inputs are of types %s and %s, wants a float type and int64", in[0].Type, in[1].Type)
	}
	if err := wantShape(1, in[1], x); err != nil {
		return nil, nil, err
	}
	r := len(x) - 2
	if r < 1 || len(k) != r || f.window.strides != nil && len(f.window.strides) != r || f.window.pads != nil && len(f.window.pads) != 2*r {
		return nil, nil, fmt.Errorf("input has shape %s, window, strides or pads are for another number of axes", ShapeString(x))
	}
	inner = slices.Clone(x)
	for a := range k {
		stride, pad := 1, 0
		if f.window.strides != nil {
			stride = f.window.strides[a]
		}
		if f.window.pads != nil {
			pad = f.window.pads[a] + f.window.pads[r+a]
		}
		if x[2+a] > maxSize/stride {
			return nil, nil, fmt.Errorf("axis %d gets more than %d elements", 2+a, int64(maxSize))
		}
		inner[2+a] = (x[2+a]-1)*stride - pad + k[a]
	}
	outer = inner
	if hasInput(in, 2) {
		if outer, err = constInts(in, 2); err != nil {
			return nil, nil, err
		}
		if len(outer) != len(x) || !EqualShape(outer[:2], x[:2]) {
			return nil, nil, fmt.Errorf("output_shape is %s for input %s", ShapeString(outer), ShapeString(x))
		}
		for a := range outer {
			if outer[a] < inner[a] {
				return nil, nil, fmt.Errorf("output_shape is %s, wants at least %s", ShapeString(outer), ShapeString(inner))
			}
		}
	}
	if err := checkSize(inner); err != nil {
		return nil, nil, err
	}
	return inner, outer, checkSize(outer)
}

func (f *maxUnpool) Infer(in []*Tensor) ([]*Tensor, error) {
	_, outer, err := f.shapes(in)
	if err != nil {
		return nil, err
	}
	return []*Tensor{Info(in[0].Type, outer...)}, nil
}

// locate finds the place in y of every index.
func (f *maxUnpool) locate(in []*Tensor) error {
	inner, outer, err := f.shapes(in)
	if err != nil {
		return err
	}
	n, str := Size(inner), Strides(outer, RowMajor)
	f.runs.reset(len(in[1].I), 1)
	for i, v := range in[1].I {
		if v < 0 || v >= int64(n) {
			return fmt.Errorf("index %d, wants 0 to %d", v, n-1)
		}
		at, rest := 0, int(v)
		for a := len(inner) - 1; a >= 0; a-- {
			at += rest % inner[a] * str[a]
			rest /= inner[a]
		}
		f.runs.at[i] = at
	}
	return nil
}

func (f *maxUnpool) Forward(c *Context, in, out []*Tensor) error {
	if err := f.locate(in); err != nil {
		return err
	}
	clear(out[0].F)
	for i, at := range f.runs.at {
		out[0].F[at] = in[0].F[i]
	}
	return nil
}

func (f *maxUnpool) Reads() (in, out uint32) { return 1<<1 | 1<<2, 0 }

// Backward: an element gets the gradient at its place, unless a later one took it.
func (f *maxUnpool) Backward(c *Context, in, out, dout, din []*Tensor) error {
	if din[0] == nil {
		return nil
	}
	if err := f.locate(append([]*Tensor{din[0]}, in[1:]...)); err != nil {
		return err
	}
	last := map[int]int{}
	for i, at := range f.runs.at {
		last[at] = i
	}
	for i, at := range f.runs.at {
		if din[0].F[i] = 0; last[at] == i {
			din[0].F[i] = dout[0].F[at]
		}
	}
	return nil
}

func refMaxUnpool(n Node, in []*Array) []*Array {
	r := &reader{n: n}
	x := in[0]
	k := len(x.Shape) - 2
	at := func(name string, i, def int) int {
		if v := r.Ints(name); v != nil {
			return v[i]
		}
		return def
	}
	inner := slices.Clone(x.Shape)
	for a := range k {
		inner[2+a] = (x.Shape[2+a]-1)*at("strides", a, 1) - at("pads", a, 0) - at("pads", k+a, 0) + at("kernel_shape", a, 0)
	}
	outer := slices.Clone(inner)
	if len(in) > 2 {
		for a, d := range in[2].V {
			outer[a] = int(d)
		}
	}
	y := NewArray(outer...)
	for i, v := range x.V {
		k := 0
		Each(inner, func(idx []int) {
			if k == int(in[1].V[i]) {
				y.V[y.At(idx...)] = v
			}
			k++
		})
	}
	return []*Array{y}
}
