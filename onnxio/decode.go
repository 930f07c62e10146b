package onnxio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Float32s decodes a tensor of any floating-point type; float64 elements are rounded. ext may be nil where t is not
// external. Errors name the tensor.
func Float32s(t *TensorProto, ext External) (shape []int, values []float32, err error) {
	shape, raw, err := open(t, ext)
	if err != nil {
		return nil, nil, err
	}
	at, err := float32At(t.GetDataType())
	if err != nil {
		return nil, nil, inTensor(t, err)
	}
	values = make([]float32, product(shape))
	for i := range values {
		values[i] = at(raw, i)
	}
	return shape, values, nil
}

// Float64s decodes a tensor of any floating-point type, exactly.
func Float64s(t *TensorProto, ext External) (shape []int, values []float64, err error) {
	shape, raw, err := open(t, ext)
	if err != nil {
		return nil, nil, err
	}
	at, err := float32At(t.GetDataType())
	if err != nil {
		return nil, nil, inTensor(t, err)
	}
	values = make([]float64, product(shape))
	for i := range values {
		if t.GetDataType() == Double {
			values[i] = math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:]))
		} else {
			values[i] = float64(at(raw, i))
		}
	}
	return shape, values, nil
}

// Int64s decodes a tensor of any integer type. A uint64 element beyond the range of int64 is an error.
func Int64s(t *TensorProto, ext External) (shape []int, values []int64, err error) {
	shape, raw, err := open(t, ext)
	if err != nil {
		return nil, nil, err
	}
	bits := elemTypes[t.GetDataType()].bits
	var signed bool
	switch t.GetDataType() {
	case Int8, Int16, Int32, Int64, Int4, Int2:
		signed = true
	case Uint8, Uint16, Uint32, Uint64, Uint4, Uint2:
	default:
		return nil, nil, inTensor(t, fmt.Errorf("element type is %s, integers are needed", typeOf(t)))
	}
	values = make([]int64, product(shape))
	for i := range values {
		v := bitsAt(raw, i, bits)
		if signed {
			values[i] = int64(v<<(64-bits)) >> (64 - bits)
			continue
		}
		if v > math.MaxInt64 {
			return nil, nil, inTensor(t, fmt.Errorf("element %d is %d, at most %d is supported", i, v, math.MaxInt64))
		}
		values[i] = int64(v)
	}
	return shape, values, nil
}

// Bools decodes a tensor of booleans; any byte but 0 is true.
func Bools(t *TensorProto, ext External) (shape []int, values []bool, err error) {
	shape, raw, err := open(t, ext)
	if err != nil {
		return nil, nil, err
	}
	if t.GetDataType() != Bool {
		return nil, nil, inTensor(t, fmt.Errorf("element type is %s, bool is needed", typeOf(t)))
	}
	values = make([]bool, len(raw))
	for i, b := range raw {
		values[i] = b != 0
	}
	return shape, values, nil
}

// Strings decodes a tensor of strings, which are never external.
func Strings(t *TensorProto) (shape []int, values []string, err error) {
	if t.GetDataType() != String {
		return nil, nil, inTensor(t, fmt.Errorf("element type is %s, string is needed", typeOf(t)))
	}
	_, n, err := elements(t)
	if err != nil {
		return nil, nil, inTensor(t, err)
	}
	have, err := storedIn(t)
	switch {
	case err != nil:
	case IsExternal(t):
		err = errors.New("string elements cannot be external")
	case have != 0 && have != tensorStringData:
		err = fmt.Errorf("has %s, string needs string_data", dataFields[have])
	case len(t.StringData) != n:
		err = fmt.Errorf("string_data has %d entries, shape %s needs %d", len(t.StringData), shapeString(t.Dims), n)
	}
	if err != nil {
		return nil, nil, inTensor(t, err)
	}
	shape, _, _ = shapeOf(t.Dims)
	values = make([]string, n)
	for i, s := range t.StringData {
		values[i] = string(s)
	}
	return shape, values, nil
}

// open returns the checked shape and content of a numeric tensor.
func open(t *TensorProto, ext External) (shape []int, raw []byte, err error) {
	if raw, err = rawOf(t, ext); err != nil {
		return nil, nil, inTensor(t, err)
	}
	shape, _, err = shapeOf(t.Dims)
	return shape, raw, err
}

// product of a checked shape.
func product(shape []int) int {
	n := 1
	for _, d := range shape {
		if d == 0 {
			return 0
		}
	}
	for _, d := range shape {
		n *= d
	}
	return n
}

// bitsAt returns element i of packed elements of 2, 4, 8, 16, 32 or 64 bits.
func bitsAt(raw []byte, i, bits int) uint64 {
	switch bits {
	case 8:
		return uint64(raw[i])
	case 16:
		return uint64(binary.LittleEndian.Uint16(raw[2*i:]))
	case 32:
		return uint64(binary.LittleEndian.Uint32(raw[4*i:]))
	case 64:
		return binary.LittleEndian.Uint64(raw[8*i:])
	}
	per := 8 / bits
	return uint64(raw[i/per]>>(i%per*bits)) & (1<<bits - 1)
}

// float32At returns the function that reads element i of packed elements of a floating-point type.
func float32At(dataType int32) (func(raw []byte, i int) float32, error) {
	switch dataType {
	case Float:
		return func(raw []byte, i int) float32 {
			return math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}, nil
	case Double:
		return func(raw []byte, i int) float32 {
			return float32(math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:])))
		}, nil
	case Float8E8M0:
		return func(raw []byte, i int) float32 { return decodeE8M0(uint32(raw[i])) }, nil
	}
	s, ok := smallFloats[dataType]
	if !ok {
		return nil, fmt.Errorf("element type is %s, floating point is needed", TypeName(dataType))
	}
	bits := elemTypes[dataType].bits
	return func(raw []byte, i int) float32 { return s.decode(uint32(bitsAt(raw, i, bits))) }, nil
}

// Float32s decodes a tensor of the model like the function Float32s, reading external data where needed; errors start
// with the model's name.
func (m *Model) Float32s(t *TensorProto) (shape []int, values []float32, err error) {
	shape, values, err = Float32s(t, m)
	return shape, values, m.named(err)
}

// Float64s decodes a tensor of the model like the function Float64s.
func (m *Model) Float64s(t *TensorProto) (shape []int, values []float64, err error) {
	shape, values, err = Float64s(t, m)
	return shape, values, m.named(err)
}

// Int64s decodes a tensor of the model like the function Int64s.
func (m *Model) Int64s(t *TensorProto) (shape []int, values []int64, err error) {
	shape, values, err = Int64s(t, m)
	return shape, values, m.named(err)
}

// Bools decodes a tensor of the model like the function Bools.
func (m *Model) Bools(t *TensorProto) (shape []int, values []bool, err error) {
	shape, values, err = Bools(t, m)
	return shape, values, m.named(err)
}

// Strings decodes a tensor of the model like the function Strings.
func (m *Model) Strings(t *TensorProto) (shape []int, values []string, err error) {
	shape, values, err = Strings(t)
	return shape, values, m.named(err)
}

func (m *Model) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", m.name, err)
}
