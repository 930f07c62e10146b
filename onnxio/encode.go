package onnxio

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/gogo/protobuf/proto"
)

// NewTensor makes a tensor of type Float, Double, Float16 or Bfloat16 with raw_data, values rounded to nearest even.
// The number of values must be the product of shape; a finite value that the type cannot hold is an error.
func NewTensor(dataType int32, name string, shape []int, values []float32) (*TensorProto, error) {
	t := newTensor(dataType, name, shape)
	if n := product(shape); n != len(values) {
		return nil, inTensor(t, fmt.Errorf("%d values, shape %s needs %d", len(values), shapeString(t.Dims), n))
	}
	put, err := putter(dataType)
	if err != nil {
		return nil, inTensor(t, err)
	}
	t.RawData = make([]byte, len(values)*elemTypes[dataType].bits/8)
	for i, v := range values {
		if err := put(t.RawData, i, v); err != nil {
			return nil, inTensor(t, err)
		}
	}
	return t, nil
}

// NewFloatTensor makes a tensor of type Float; it panics unless the number of values is the product of shape.
func NewFloatTensor(name string, shape []int, values []float32) *TensorProto {
	t, err := NewTensor(Float, name, shape, values)
	if err != nil {
		panic("onnxio: " + err.Error())
	}
	return t
}

// NewInt64Tensor makes a tensor of type Int64; it panics unless the number of values is the product of shape.
func NewInt64Tensor(name string, shape []int, values []int64) *TensorProto {
	t := newTensor(Int64, name, shape)
	if n := product(shape); n != len(values) {
		panic(fmt.Sprintf("onnxio: tensor %q: %d values, shape %v needs %d", name, len(values), shape, n))
	}
	for _, v := range values {
		t.RawData = binary.LittleEndian.AppendUint64(t.RawData, uint64(v))
	}
	return t
}

func newTensor(dataType int32, name string, shape []int) *TensorProto {
	t := &TensorProto{DataType: proto.Int32(dataType), Name: proto.String(name), RawData: []byte{}}
	for _, d := range shape {
		t.Dims = append(t.Dims, int64(d))
	}
	return t
}

// putter returns the function that writes v as element i of packed elements.
func putter(dataType int32) (func(raw []byte, i int, v float32) error, error) {
	switch dataType {
	case Float:
		return func(raw []byte, i int, v float32) error {
			binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(v))
			return nil
		}, nil
	case Double:
		return func(raw []byte, i int, v float32) error {
			binary.LittleEndian.PutUint64(raw[8*i:], math.Float64bits(float64(v)))
			return nil
		}, nil
	case Float16, Bfloat16:
		s := smallFloats[dataType]
		return func(raw []byte, i int, v float32) error {
			bits, ok := s.encode(v)
			if !ok {
				return fmt.Errorf("element %d is %g, beyond the range of %s", i, v, TypeName(dataType))
			}
			binary.LittleEndian.PutUint16(raw[2*i:], uint16(bits))
			return nil
		}, nil
	}
	return nil, fmt.Errorf("element type is %s, float, double, float16 or bfloat16 is needed", TypeName(dataType))
}

// NewNode makes a node of the default operator set without attributes.
func NewNode(opType, name string, inputs, outputs []string) *NodeProto {
	return &NodeProto{OpType: proto.String(opType), Name: proto.String(name), Input: inputs, Output: outputs}
}

// NewTensorValueInfo describes a value that is a tensor with the given dimensions.
func NewTensorValueInfo(name string, dataType int32, dims []int64) *ValueInfoProto {
	shape := &TensorShapeProto{}
	for _, d := range dims {
		shape.Dim = append(shape.Dim, &TensorShapeProto_Dimension{
			Value: &TensorShapeProto_Dimension_DimValue{DimValue: d},
		})
	}
	return &ValueInfoProto{Name: proto.String(name), Type: &TypeProto{Value: &TypeProto_TensorType{
		TensorType: &TypeProto_Tensor{ElemType: proto.Int32(dataType), Shape: shape},
	}}}
}
