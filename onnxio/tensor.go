package onnxio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

// Short names of the element types.
const (
	Float          = int32(TensorProto_FLOAT)
	Uint8          = int32(TensorProto_UINT8)
	Int8           = int32(TensorProto_INT8)
	Uint16         = int32(TensorProto_UINT16)
	Int16          = int32(TensorProto_INT16)
	Int32          = int32(TensorProto_INT32)
	Int64          = int32(TensorProto_INT64)
	String         = int32(TensorProto_STRING)
	Bool           = int32(TensorProto_BOOL)
	Float16        = int32(TensorProto_FLOAT16)
	Double         = int32(TensorProto_DOUBLE)
	Uint32         = int32(TensorProto_UINT32)
	Uint64         = int32(TensorProto_UINT64)
	Complex64      = int32(TensorProto_COMPLEX64)
	Complex128     = int32(TensorProto_COMPLEX128)
	Bfloat16       = int32(TensorProto_BFLOAT16)
	Float8E4M3FN   = int32(TensorProto_FLOAT8E4M3FN)
	Float8E4M3FNUZ = int32(TensorProto_FLOAT8E4M3FNUZ)
	Float8E5M2     = int32(TensorProto_FLOAT8E5M2)
	Float8E5M2FNUZ = int32(TensorProto_FLOAT8E5M2FNUZ)
	Uint4          = int32(TensorProto_UINT4)
	Int4           = int32(TensorProto_INT4)
	Float4E2M1     = int32(TensorProto_FLOAT4E2M1)
	Float8E8M0     = int32(TensorProto_FLOAT8E8M0)
	Uint2          = int32(TensorProto_UINT2)
	Int2           = int32(TensorProto_INT2)
)

// Field numbers of TensorProto that hold elements.
const (
	tensorFloatData    = 4
	tensorInt32Data    = 5
	tensorStringData   = 6
	tensorInt64Data    = 7
	tensorRawData      = 9
	tensorDoubleData   = 10
	tensorUint64Data   = 11
	tensorExternalData = 13
	tensorLocation     = 14
)

// elemType is how the elements of a data type are stored.
type elemType struct {
	bits  int // width in raw_data; 0 for strings
	field int // the typed field for it
	unit  int // bytes of raw_data that one entry of the typed field stands for
}

var elemTypes = map[int32]elemType{
	Float: {32, tensorFloatData, 4}, Complex64: {64, tensorFloatData, 4},
	Double: {64, tensorDoubleData, 8}, Complex128: {128, tensorDoubleData, 8},
	Int64:  {64, tensorInt64Data, 8},
	Uint32: {32, tensorUint64Data, 4}, Uint64: {64, tensorUint64Data, 8},
	Int32: {32, tensorInt32Data, 4},
	Int16: {16, tensorInt32Data, 2}, Uint16: {16, tensorInt32Data, 2},
	Float16: {16, tensorInt32Data, 2}, Bfloat16: {16, tensorInt32Data, 2},
	Int8: {8, tensorInt32Data, 1}, Uint8: {8, tensorInt32Data, 1}, Bool: {8, tensorInt32Data, 1},
	Float8E4M3FN: {8, tensorInt32Data, 1}, Float8E4M3FNUZ: {8, tensorInt32Data, 1},
	Float8E5M2: {8, tensorInt32Data, 1}, Float8E5M2FNUZ: {8, tensorInt32Data, 1}, Float8E8M0: {8, tensorInt32Data, 1},
	Uint4: {4, tensorInt32Data, 1}, Int4: {4, tensorInt32Data, 1}, Float4E2M1: {4, tensorInt32Data, 1},
	Uint2: {2, tensorInt32Data, 1}, Int2: {2, tensorInt32Data, 1},
	String: {0, tensorStringData, 0},
}

// TypeName returns the lower-case name of an element type as ONNX writes it, for example "float" or "bfloat16".
func TypeName(dataType int32) string {
	if name, ok := TensorProto_DataType_name[dataType]; ok {
		return strings.ToLower(name)
	}
	return fmt.Sprintf("data type %d", dataType)
}

// Shape returns the dimensions of t and their product n (1 for a scalar). A negative dimension and a product that
// overflows are errors.
func Shape(t *TensorProto) (shape []int, n int, err error) {
	shape, n, err = shapeOf(t.Dims)
	if err != nil {
		return nil, 0, inTensor(t, err)
	}
	return shape, n, nil
}

func shapeOf(dims []int64) (shape []int, n int, err error) {
	shape = make([]int, len(dims))
	n = 1
	empty := false
	for i, d := range dims {
		if d < 0 {
			return nil, 0, fmt.Errorf("shape %s has a negative dimension", shapeString(dims))
		}
		if d > math.MaxInt {
			return nil, 0, fmt.Errorf("shape %s has more elements than can be counted", shapeString(dims))
		}
		shape[i] = int(d)
		empty = empty || d == 0
	}
	if empty {
		return shape, 0, nil
	}
	for _, d := range shape {
		if n > math.MaxInt/d {
			return nil, 0, fmt.Errorf("shape %s has more elements than can be counted", shapeString(dims))
		}
		n *= d
	}
	return shape, n, nil
}

func shapeString(dims []int64) string {
	s := make([]string, 0, 8)
	for i, d := range dims {
		if i == 8 {
			s = append(s, "...")
			break
		}
		s = append(s, fmt.Sprint(d))
	}
	return "[" + strings.Join(s, ",") + "]"
}

func inTensor(t *TensorProto, err error) error { return fmt.Errorf("tensor %q: %w", t.GetName(), err) }

// External gives access to the data of tensors that are stored outside the ONNX file; a *Model does.
type External interface {
	// ReadExternal returns the bytes of t, whose content takes want bytes.
	ReadExternal(t *TensorProto, want int) ([]byte, error)
}

// IsExternal reports whether the elements of t are stored outside the ONNX file.
func IsExternal(t *TensorProto) bool {
	return t.GetDataLocation() == TensorProto_EXTERNAL
}

// Raw returns the elements of t as raw_data would hold them, whatever the encoding: row-major, fixed width, little
// endian, types below 8 bits packed from the low bits up. It is a copy. ext may be nil where t is not external.
//
// The number of bytes is checked against shape and type before anything is allocated.
func Raw(t *TensorProto, ext External) ([]byte, error) {
	raw, err := rawOf(t, ext)
	if err != nil {
		return nil, inTensor(t, err)
	}
	if len(t.RawData) > 0 {
		raw = bytes.Clone(raw)
	}
	return raw, nil
}

// rawOf is Raw, but that it returns raw_data itself.
func rawOf(t *TensorProto, ext External) ([]byte, error) {
	return readRaw(t, ext, false)
}

// CheckData returns the error that Raw would, without reading the elements. Tensors of strings are checked too.
func CheckData(t *TensorProto, ext External) error {
	if t.GetDataType() == String {
		_, _, err := Strings(t)
		return err
	}
	if _, err := readRaw(t, ext, true); err != nil {
		return inTensor(t, err)
	}
	return nil
}

// readRaw checks the number of bytes, and returns them unless only that is asked for.
func readRaw(t *TensorProto, ext External, check bool) ([]byte, error) {
	et, n, err := elements(t)
	if err != nil {
		return nil, err
	}
	if et.bits == 0 {
		return nil, errors.New("string elements have no bytes of fixed width")
	}
	if n > math.MaxInt/et.bits {
		return nil, fmt.Errorf("shape %s has more elements than can be counted", shapeString(t.Dims))
	}
	want := (n*et.bits + 7) / 8
	if IsExternal(t) && len(t.RawData) == 0 {
		if n == 0 {
			return nil, nil
		}
		if ext == nil {
			return nil, errors.New("has external data, which is not available here")
		}
		if m, ok := ext.(*Model); ok && check {
			return nil, m.checkExternal(t, want)
		}
		return ext.ReadExternal(t, want)
	}
	have, err := storedIn(t)
	if err != nil {
		return nil, err
	}
	switch {
	case have == 0 && n == 0:
		return nil, nil
	case have == 0:
		return nil, fmt.Errorf("has no data, shape %s of %s needs %d bytes", shapeString(t.Dims), typeOf(t), want)
	case have == tensorRawData:
		if len(t.RawData) != want {
			return nil, fmt.Errorf("raw_data has %d bytes, shape %s of %s needs %d", len(t.RawData), shapeString(t.Dims),
				typeOf(t), want)
		}
		return t.RawData, nil
	case have != et.field:
		return nil, fmt.Errorf("has %s, %s needs %s or raw_data", dataFields[have], typeOf(t), dataFields[et.field])
	}
	if got, need := typedLen(t, have), want/et.unit; got != need {
		return nil, fmt.Errorf("%s has %d entries, shape %s of %s needs %d", dataFields[have], got, shapeString(t.Dims),
			typeOf(t), need)
	}
	if check {
		return nil, nil
	}
	return typedRaw(t, et, want)
}

func typeOf(t *TensorProto) string { return TypeName(t.GetDataType()) }

// elements returns the storage of t's type and the number of its elements.
func elements(t *TensorProto) (elemType, int, error) {
	et, ok := elemTypes[t.GetDataType()]
	if !ok {
		return et, 0, fmt.Errorf("element type %s is not known", typeOf(t))
	}
	if t.Segment != nil {
		return et, 0, errors.New("is stored in segments, which are not supported")
	}
	_, n, err := shapeOf(t.Dims)
	return et, n, err
}

var dataFields = map[int]string{
	tensorFloatData: "float_data", tensorInt32Data: "int32_data", tensorStringData: "string_data",
	tensorInt64Data: "int64_data", tensorRawData: "raw_data", tensorDoubleData: "double_data",
	tensorUint64Data: "uint64_data",
}

func typedLen(t *TensorProto, num int) int {
	switch num {
	case tensorFloatData:
		return len(t.FloatData)
	case tensorInt32Data:
		return len(t.Int32Data)
	case tensorStringData:
		return len(t.StringData)
	case tensorInt64Data:
		return len(t.Int64Data)
	case tensorRawData:
		return len(t.RawData)
	case tensorDoubleData:
		return len(t.DoubleData)
	case tensorUint64Data:
		return len(t.Uint64Data)
	}
	return 0
}

// storedIn returns the number of the one field that holds elements, 0 where none does.
func storedIn(t *TensorProto) (int, error) {
	found := 0
	for num := tensorFloatData; num <= tensorUint64Data; num++ {
		if typedLen(t, num) == 0 {
			continue
		}
		if found != 0 {
			return 0, fmt.Errorf("has both %s and %s", dataFields[found], dataFields[num])
		}
		found = num
	}
	return found, nil
}

// typedRaw converts a typed field of checked length.
func typedRaw(t *TensorProto, et elemType, want int) ([]byte, error) {
	raw := make([]byte, 0, want)
	switch et.field {
	case tensorFloatData:
		for _, v := range t.FloatData {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
	case tensorDoubleData:
		for _, v := range t.DoubleData {
			raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(v))
		}
	case tensorInt64Data:
		for _, v := range t.Int64Data {
			raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
		}
	case tensorUint64Data:
		for i, v := range t.Uint64Data {
			if et.unit == 4 && v > math.MaxUint32 {
				return nil, fmt.Errorf("uint64_data[%d] is %d, which %s does not hold", i, v, typeOf(t))
			}
			raw = appendUnit(raw, v, et.unit)
		}
	case tensorInt32Data:
		for i, v := range t.Int32Data {
			if width := 8 * et.unit; width < 32 && (int64(v) < -1<<(width-1) || int64(v) >= 1<<width) {
				return nil, fmt.Errorf("int32_data[%d] is %d, which %s does not hold", i, v, typeOf(t))
			}
			raw = appendUnit(raw, uint64(v), et.unit)
		}
	}
	return raw, nil
}

// appendUnit appends the low unit bytes of v.
func appendUnit(b []byte, v uint64, unit int) []byte {
	for ; unit > 0; unit-- {
		b, v = append(b, byte(v)), v>>8
	}
	return b
}
