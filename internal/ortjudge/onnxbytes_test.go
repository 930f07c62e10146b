package ortjudge

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// The element types of TensorProto.DataType that the tests use.
const (
	onnxFloat   = 1
	onnxUint8   = 2
	onnxInt32   = 6
	onnxInt64   = 7
	onnxBool    = 9
	onnxFloat16 = 10
	onnxDouble  = 11
	onnxBF16    = 16
)

// varint appends the protobuf field as a variable-length integer.
func varint(b []byte, field int, v int64) []byte {
	b = binary.AppendUvarint(b, uint64(field<<3))
	return binary.AppendUvarint(b, uint64(v))
}

// bytes appends the protobuf field as a length-delimited value.
func bytes[T ~[]byte | ~string](b []byte, field int, v T) []byte {
	b = binary.AppendUvarint(b, uint64(field<<3|2))
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// node encodes a NodeProto.
func node(op string, inputs, outputs []string, attributes ...[]byte) []byte {
	var b []byte
	for _, name := range inputs {
		b = bytes(b, 1, name)
	}
	for _, name := range outputs {
		b = bytes(b, 2, name)
	}
	b = bytes(b, 4, op)
	for _, a := range attributes {
		b = bytes(b, 5, a)
	}
	return b
}

// intAttribute encodes an AttributeProto of type INT.
func intAttribute(name string, v int64) []byte {
	return varint(varint(bytes(nil, 1, name), 3, v), 20, 2)
}

// tensorAttribute encodes an AttributeProto of type TENSOR.
func tensorAttribute(name string, tensor []byte) []byte {
	return varint(bytes(bytes(nil, 1, name), 5, tensor), 20, 4)
}

// floatTensor encodes a TensorProto of type FLOAT.
func floatTensor(name string, shape []int64, data ...float32) []byte {
	var b, raw []byte
	for _, d := range shape {
		b = varint(b, 1, d)
	}
	b = varint(b, 2, onnxFloat)
	for _, f := range data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
	}
	return bytes(bytes(b, 8, name), 9, raw)
}

// value encodes a ValueInfoProto; a dimension of -1 becomes the symbol "N".
func value(name string, elemType int64, dims ...int64) []byte {
	var shape []byte
	for _, d := range dims {
		dim := varint(nil, 1, d)
		if d < 0 {
			dim = bytes(nil, 2, "N")
		}
		shape = bytes(shape, 1, dim)
	}
	tensorType := bytes(varint(nil, 1, elemType), 2, shape)
	return bytes(bytes(nil, 1, name), 2, bytes(nil, 1, tensorType))
}

// testGraph lists the encoded parts of a GraphProto.
type testGraph struct {
	nodes, initializers, inputs, outputs [][]byte
}

// write stores the graph as a model of IR version 8 and opset 13.
func (g testGraph) write(t *testing.T) string {
	t.Helper()
	b := bytes(nil, 2, "g")
	for _, n := range g.nodes {
		b = bytes(b, 1, n)
	}
	for _, n := range g.initializers {
		b = bytes(b, 5, n)
	}
	for _, n := range g.inputs {
		b = bytes(b, 11, n)
	}
	for _, n := range g.outputs {
		b = bytes(b, 12, n)
	}
	model := bytes(varint(nil, 1, 8), 7, b)
	model = bytes(model, 8, varint(nil, 2, 13))
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, model, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}
