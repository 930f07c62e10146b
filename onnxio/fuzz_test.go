package onnxio

import (
	"encoding/binary"
	"testing"

	"github.com/gogo/protobuf/proto"
)

func FuzzTensor(f *testing.F) {
	for _, dt := range numericTypes {
		size := (3*elemTypes[dt].bits + 7) / 8
		b, _ := typedTensor(dt, []int64{3}, make([]byte, size)).Marshal()
		f.Add(b)
	}
	f.Add(binary.AppendUvarint([]byte{0x08}, 1<<40))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := &TensorProto{}
		if p.Unmarshal(b) != nil {
			return
		}
		decodeAll(p)
		Dense(&SparseTensorProto{Values: p, Indices: p, Dims: p.Dims}, nil)
		raw, err := Raw(p, nil)
		if err != nil {
			return
		}
		if shape, n, _ := Shape(p); len(raw)*8 < n*elemTypes[p.GetDataType()].bits {
			t.Fatalf("%d bytes for shape %v of %s", len(raw), shape, typeOf(p))
		}
		p.Name = proto.String("t")
		clean, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if IsExternal(p) {
			return
		}
		m, err := LoadBytes("m.onnx", modelWith(clean))
		if err != nil {
			return // stricter than the generated parser, which takes overlong tags
		}
		_, n, _ := Shape(p)
		if m.MaskTensor("t", make([]bool, n)) != nil {
			return
		}
		masked, err := Raw(m.Initializer("t"), nil)
		if err != nil || len(masked) != len(raw) {
			t.Fatalf("%d bytes after masking, %v", len(masked), err)
		}
	})
}

func decodeAll(p *TensorProto) {
	Float32s(p, nil)
	Float64s(p, nil)
	Int64s(p, nil)
	Bools(p, nil)
	Strings(p)
}

func FuzzLoad(f *testing.F) {
	f.Add(smallModel(nil))
	f.Add(nested(3))
	f.Add(splitGraph(smallModel(nil)))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := LoadBytes("m.onnx", data)
		if err != nil {
			return
		}
		m.changed = true
		again, err := LoadBytes("m.onnx", m.Bytes())
		if err != nil || len(again.entries) != len(m.entries) {
			t.Fatalf("put together from entries: %v", err)
		}
		for _, p := range m.Proto.Graph.Initializer {
			decodeAll(p)
		}
		for _, s := range m.Proto.Graph.SparseInitializer {
			Dense(s, nil)
		}
		names := len(m.Proto.Graph.Initializer)
		if err := m.AddInitializer(NewFloatTensor("added by the fuzz test", nil, []float32{1})); err != nil {
			return
		}
		again, err = LoadBytes("m.onnx", m.Bytes())
		if err != nil || len(again.Proto.Graph.Initializer) != names+1 {
			t.Fatalf("after adding an initializer: %v", err)
		}
	})
}
