package onnxgo

import (
	"errors"
	"fmt"
	"slices"

	"gorgonia.org/tensor"

	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

// fromTensor copies a tensor, row-major. Numbers are held in float32 or int64.
func fromTensor(t tensor.Tensor) (*op.Tensor, error) {
	if t == nil {
		return nil, errors.New("has no value")
	}
	if d, ok := t.(*tensor.Dense); ok && (d.RequiresIterator() || d.DataOrder().IsColMajor() || d.DataOrder().IsTransposed()) {
		plain, ok := d.Materialize().(*tensor.Dense)
		if !ok || plain.RequiresIterator() || plain.DataOrder().IsColMajor() {
			return nil, fmt.Errorf("is of order %v, wants a contiguous row-major tensor", d.DataOrder())
		}
		t = plain
	}
	x := &op.Tensor{Shape: slices.Clone([]int(t.Shape()))}
	switch v := t.Data().(type) {
	case []float32:
		x.Type, x.F = op.Float, slices.Clone(v)
	case float32:
		x.Type, x.F = op.Float, []float32{v}
	case []float64:
		x.Type, x.F = op.Double, convert[float32](v)
	case float64:
		x.Type, x.F = op.Double, []float32{float32(v)}
	case []int8:
		x.Type, x.I = op.Int8, convert[int64](v)
	case int8:
		x.Type, x.I = op.Int8, []int64{int64(v)}
	case []int16:
		x.Type, x.I = op.Int16, convert[int64](v)
	case int16:
		x.Type, x.I = op.Int16, []int64{int64(v)}
	case []int32:
		x.Type, x.I = op.Int32, convert[int64](v)
	case int32:
		x.Type, x.I = op.Int32, []int64{int64(v)}
	case []int64:
		x.Type, x.I = op.Int64, slices.Clone(v)
	case int64:
		x.Type, x.I = op.Int64, []int64{v}
	case []int:
		x.Type, x.I = op.Int64, convert[int64](v)
	case int:
		x.Type, x.I = op.Int64, []int64{int64(v)}
	case []uint8:
		x.Type, x.I = op.Uint8, convert[int64](v)
	case uint8:
		x.Type, x.I = op.Uint8, []int64{int64(v)}
	case []uint16:
		x.Type, x.I = op.Uint16, convert[int64](v)
	case uint16:
		x.Type, x.I = op.Uint16, []int64{int64(v)}
	case []uint32:
		x.Type, x.I = op.Uint32, convert[int64](v)
	case uint32:
		x.Type, x.I = op.Uint32, []int64{int64(v)}
	case []uint64:
		x.Type, x.I = op.Uint64, convert[int64](v)
	case uint64:
		x.Type, x.I = op.Uint64, []int64{int64(v)}
	case []bool:
		x.Type, x.I = op.Bool, make([]int64, len(v))
		for i, yes := range v {
			if yes {
				x.I[i] = 1
			}
		}
	case bool:
		x.Type, x.I = op.Bool, []int64{0}
		if v {
			x.I[0] = 1
		}
	default:
		return nil, fmt.Errorf("is of type %v, wants numbers or bools", t.Dtype())
	}
	if x.Size() != max(len(x.F), len(x.I)) {
		return nil, fmt.Errorf("has %d elements, shape %s wants %d", max(len(x.F), len(x.I)), op.ShapeString(x.Shape), x.Size())
	}
	return x, nil
}

type number interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~int | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

func convert[To, From number](v []From) []To {
	r := make([]To, len(v))
	for i, x := range v {
		r[i] = To(x)
	}
	return r
}

// toTensor copies a row-major tensor in the Go type of its elements.
func toTensor(x *op.Tensor) (tensor.Tensor, error) {
	switch x.Type {
	case op.Float:
		return dense(slices.Clone(x.F), x.Shape), nil
	case op.Double:
		return dense(convert[float64](x.F), x.Shape), nil
	case op.Int8:
		return dense(convert[int8](x.I), x.Shape), nil
	case op.Int16:
		return dense(convert[int16](x.I), x.Shape), nil
	case op.Int32:
		return dense(convert[int32](x.I), x.Shape), nil
	case op.Int64:
		return dense(slices.Clone(x.I), x.Shape), nil
	case op.Uint8:
		return dense(convert[uint8](x.I), x.Shape), nil
	case op.Uint16:
		return dense(convert[uint16](x.I), x.Shape), nil
	case op.Uint32:
		return dense(convert[uint32](x.I), x.Shape), nil
	case op.Uint64:
		return dense(convert[uint64](x.I), x.Shape), nil
	case op.Bool:
		v := make([]bool, len(x.I))
		for i, b := range x.I {
			v[i] = b != 0
		}
		return dense(v, x.Shape), nil
	}
	return nil, fmt.Errorf("is of type %s, which no tensor holds", x.Type)
}

func dense[T any](v []T, shape []int) tensor.Tensor {
	if len(shape) == 0 {
		return tensor.New(tensor.FromScalar(v[0]))
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(v))
}

// toProto returns x as an ONNX tensor.
func toProto(name string, x *op.Tensor) (*onnxio.TensorProto, error) {
	if x.Type.IsFloat() {
		return onnxio.NewTensor(int32(x.Type), name, x.Shape, x.F)
	}
	t := &onnxio.TensorProto{DataType: new(int32(x.Type)), Name: new(name)}
	for _, d := range x.Shape {
		t.Dims = append(t.Dims, int64(d))
	}
	for _, v := range x.I {
		switch x.Type {
		case op.Int64:
			t.Int64Data = append(t.Int64Data, v)
		case op.Uint32, op.Uint64:
			t.Uint64Data = append(t.Uint64Data, uint64(v))
		default:
			t.Int32Data = append(t.Int32Data, int32(v))
		}
	}
	return t, nil
}
