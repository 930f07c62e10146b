//go:build cgo

package ortjudge

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

// typeName returns the ONNX name of the type in lower case.
func typeName(info ort.InputOutputInfo) string {
	if info.OrtValueType != ort.ONNXTypeTensor {
		return strings.ToLower(strings.TrimPrefix(info.OrtValueType.String(), "ONNX_TYPE_"))
	}
	return strings.ToLower(strings.TrimPrefix(info.DataType.String(), "ONNX_TENSOR_ELEMENT_DATA_TYPE_"))
}

func isHalf(t ort.TensorElementDataType) bool {
	return t == ort.TensorElementDataTypeFloat16 || t == ort.TensorElementDataTypeBFloat16
}

// newInput converts x to the element type that the model declares.
func newInput(info ort.InputOutputInfo, x Tensor) (ort.Value, error) {
	if info.OrtValueType != ort.ONNXTypeTensor {
		return nil, fmt.Errorf("type %s is not supported", typeName(info))
	}
	if err := x.check(); err != nil {
		return nil, err
	}
	empty := elements(x.Shape) == 0
	held, wanted := "float", "int"
	switch {
	case x.I != nil:
		held = "int"
	case x.B != nil:
		held = "bool"
	}
	switch info.DataType {
	case ort.TensorElementDataTypeFloat, ort.TensorElementDataTypeDouble,
		ort.TensorElementDataTypeFloat16, ort.TensorElementDataTypeBFloat16:
		wanted = "float"
	case ort.TensorElementDataTypeBool:
		wanted = "bool"
	}
	if held != wanted && !empty {
		return nil, fmt.Errorf("tensor holds %s elements, the model wants %s", held, typeName(info))
	}
	switch info.DataType {
	case ort.TensorElementDataTypeFloat:
		return newValue(x.Shape, x.F)
	case ort.TensorElementDataTypeDouble:
		return newValue(x.Shape, convert[float64](x.F))
	case ort.TensorElementDataTypeFloat16:
		return newHalf(x, info.DataType, float16Bits)
	case ort.TensorElementDataTypeBFloat16:
		return newHalf(x, info.DataType, bfloat16Bits)
	case ort.TensorElementDataTypeInt64:
		return newValue(x.Shape, x.I)
	case ort.TensorElementDataTypeInt32:
		return newValue(x.Shape, convert[int32](x.I))
	case ort.TensorElementDataTypeInt16:
		return newValue(x.Shape, convert[int16](x.I))
	case ort.TensorElementDataTypeInt8:
		return newValue(x.Shape, convert[int8](x.I))
	case ort.TensorElementDataTypeUint64:
		return newValue(x.Shape, convert[uint64](x.I))
	case ort.TensorElementDataTypeUint32:
		return newValue(x.Shape, convert[uint32](x.I))
	case ort.TensorElementDataTypeUint16:
		return newValue(x.Shape, convert[uint16](x.I))
	case ort.TensorElementDataTypeUint8:
		return newValue(x.Shape, convert[uint8](x.I))
	case ort.TensorElementDataTypeBool:
		return newValue(x.Shape, x.B)
	}
	return nil, fmt.Errorf("type %s is not supported", typeName(info))
}

// newOutput allocates a value of the type and dimensions of info, all of which
// must be known.
func newOutput(info ort.InputOutputInfo) (ort.Value, error) {
	shape := []int64(info.Dimensions)
	for _, d := range shape {
		if d < 0 {
			return nil, fmt.Errorf("dimensions %v must be known before the run", shape)
		}
	}
	n := elements(shape)
	info.OrtValueType = ort.ONNXTypeTensor
	x := Tensor{Shape: shape}
	switch info.DataType {
	case ort.TensorElementDataTypeFloat, ort.TensorElementDataTypeDouble,
		ort.TensorElementDataTypeFloat16, ort.TensorElementDataTypeBFloat16:
		x.F = make([]float32, n)
	case ort.TensorElementDataTypeBool:
		x.B = make([]bool, n)
	default:
		x.I = make([]int64, n)
	}
	return newInput(info, x)
}

// newValue wraps data, which ONNX Runtime then reads and writes in place.
func newValue[T ort.TensorData](shape []int64, data []T) (ort.Value, error) {
	if len(shape) == 0 {
		v, err := ort.NewScalar(data[0])
		if err != nil {
			return nil, err
		}
		return v, nil
	}
	v, err := ort.NewTensor(slices.Clone(shape), data)
	if err != nil {
		return nil, err
	}
	return v, nil
}

func newHalf(x Tensor, t ort.TensorElementDataType, bits func(float32) uint16) (ort.Value, error) {
	var data []byte
	for _, f := range x.F {
		data = binary.NativeEndian.AppendUint16(data, bits(f))
	}
	v, err := ort.NewCustomDataTensor(slices.Clone(x.Shape), data, t)
	if err != nil {
		return nil, err
	}
	return v, nil
}

// readOutput copies the elements of v.
func readOutput(v ort.Value) (Tensor, error) {
	x := Tensor{Shape: slices.Clone([]int64(v.GetShape()))}
	if d, ok := data[float32](v); ok {
		x.F = d
	} else if d, ok := data[float64](v); ok {
		x.F = convert[float32](d)
	} else if d, ok := data[int64](v); ok {
		x.I = d
	} else if d, ok := data[int32](v); ok {
		x.I = convert[int64](d)
	} else if d, ok := data[int16](v); ok {
		x.I = convert[int64](d)
	} else if d, ok := data[int8](v); ok {
		x.I = convert[int64](d)
	} else if d, ok := data[uint64](v); ok {
		x.I = convert[int64](d)
	} else if d, ok := data[uint32](v); ok {
		x.I = convert[int64](d)
	} else if d, ok := data[uint16](v); ok {
		x.I = convert[int64](d)
	} else if d, ok := data[uint8](v); ok {
		x.I = convert[int64](d)
	} else if d, ok := data[bool](v); ok {
		x.B = d
	} else if c, ok := v.(*ort.CustomDataTensor); ok && isHalf(ort.TensorElementDataType(c.DataType())) {
		value := float16Value
		if ort.TensorElementDataType(c.DataType()) == ort.TensorElementDataTypeBFloat16 {
			value = bfloat16Value
		}
		bytes := c.GetData()
		for i := 0; i < len(bytes); i += 2 {
			x.F = append(x.F, value(binary.NativeEndian.Uint16(bytes[i:])))
		}
	} else {
		return Tensor{}, fmt.Errorf("type %T is not supported", v)
	}
	return x, nil
}

// data returns a copy of the elements of v when they are of type T.
func data[T ort.TensorData](v ort.Value) ([]T, bool) {
	switch v := v.(type) {
	case *ort.Tensor[T]:
		return slices.Clone(v.GetData()), true
	case *ort.Scalar[T]:
		return []T{v.GetData()}, true
	}
	return nil, false
}

type number interface {
	ort.FloatData | ort.IntData
}

func convert[To, From number](list []From) []To {
	out := make([]To, len(list))
	for i, v := range list {
		out[i] = To(v)
	}
	return out
}
