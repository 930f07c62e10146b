package onnxio

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
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

// FuzzExternal puts any location, offset and length into a model beside a small data file: whatever comes of it, no
// byte outside the directory is read, and all readers agree.
func FuzzExternal(f *testing.F) {
	for _, x := range [][3]string{{"data", "0", "256"}, {"../secret", "", ""}, {"/etc/passwd", "", ""}, {"sub/../data", "", ""}, {"link", "0", "256"},
		{"data", "-1", "9223372036854775807"}, {"m.onnx", "0", "256"}, {"data", "9223372036854775807", "1"}} {
		f.Add(x[0], x[1], x[2])
	}
	dir := f.TempDir()
	inner := filepath.Join(dir, "inner")
	check(f, os.MkdirAll(filepath.Join(inner, "sub"), 0o777))
	check(f, os.WriteFile(filepath.Join(dir, "secret"), bytes.Repeat([]byte{0xaa}, 512), 0o666))
	check(f, os.WriteFile(filepath.Join(inner, "data"), make([]byte, 512), 0o666))
	check(f, os.Symlink("../secret", filepath.Join(inner, "link")))
	path := filepath.Join(inner, "m.onnx")
	f.Fuzz(func(t *testing.T, location, offset, length string) {
		at := TensorProto_EXTERNAL
		p := &TensorProto{Name: proto.String("t"), DataType: proto.Int32(Float), Dims: []int64{8, 8}, DataLocation: &at,
			ExternalData: []*StringStringEntryProto{entryOf("location", location), entryOf("offset", offset), entryOf("length", length)}}
		b, err := p.Marshal()
		check(t, err)
		check(t, os.WriteFile(path, modelWith(b), 0o666))
		m, err := Load(path)
		if err != nil {
			return
		}
		raw, err := Raw(m.Initializer("t"), m)
		if (CheckData(m.Initializer("t"), m) == nil) != (err == nil) {
			t.Fatalf("read with %v, checked with another result", err)
		}
		e, opened := m.Elements("t")
		if (opened == nil) != (err == nil) {
			t.Fatalf("read with %v, opened with %v", err, opened)
		}
		if err != nil {
			return
		}
		defer e.Close()
		got := make([]byte, 256)
		if check(t, e.Read(got, 0)); !bytes.Equal(raw, got) || bytes.Contains(raw, []byte{0xaa}) {
			t.Fatalf("read %x and %x", raw, got)
		}
		out := filepath.Join(t.TempDir(), "out.onnx")
		w, err := m.Rewrite(out, []*Elements{e})
		check(t, err)
		check(t, w.Put(e, make([]byte, 256), 0))
		check(t, w.Commit())
		back, err := Load(out)
		check(t, err)
		if raw, err := Raw(back.Initializer("t"), back); err != nil || !bytes.Equal(raw, make([]byte, 256)) {
			t.Fatalf("written: %x, %v", raw, err)
		}
	})
}

// FuzzSparse decodes sparse tensors: what is dense has the values in their places and is no larger than allowed.
func FuzzSparse(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8}, []byte{1, 3}, int64(4), int64(2), false)
	f.Add([]byte{1, 2, 3, 4}, []byte{1, 0}, int64(1<<40), int64(2), true)
	f.Fuzz(func(t *testing.T, values, indices []byte, rows, columns int64, pairs bool) {
		n := len(values) / 4
		s := &SparseTensorProto{Dims: []int64{rows, columns},
			Values:  &TensorProto{Name: proto.String("s"), DataType: proto.Int32(Float), Dims: []int64{int64(n)}, RawData: values[:4*n]},
			Indices: &TensorProto{DataType: proto.Int32(Int64), Dims: []int64{int64(len(indices))}}}
		for _, b := range indices {
			s.Indices.Int64Data = append(s.Indices.Int64Data, int64(int8(b)))
		}
		if pairs {
			s.Indices.Dims = []int64{int64(len(indices) / 2), 2}
		}
		d, err := Dense(s, nil)
		if (CheckSparse(s, nil) == nil) != (err == nil) {
			t.Fatalf("decoded with %v, checked with another result", err)
		}
		if err != nil {
			return
		}
		if stored := 4*n + 8*len(indices); len(d.RawData) > denseFactor*stored+denseFree {
			t.Fatalf("%d bytes from %d", len(d.RawData), stored)
		}
		nonzero := 0
		for _, b := range d.RawData {
			if b != 0 {
				nonzero++
			}
		}
		for _, b := range values[:4*n] {
			if b != 0 {
				nonzero--
			}
		}
		if nonzero != 0 {
			t.Fatalf("%d bytes other than zero more than there were", nonzero)
		}
	})
}

// FuzzZstd decompresses any bytes: no more than is allowed, and with the same result when compressed again.
func FuzzZstd(f *testing.F) {
	m, err := LoadBytes("m.onnx", smallModel(nil))
	check(f, err)
	var b bytes.Buffer
	check(f, m.encode("m.onnx.zst")(&b))
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:b.Len()-5])
	f.Add(append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0}, 0, 0, 0, 0, 0, 0, 0, 0x10))
	f.Fuzz(func(t *testing.T, data []byte) {
		data = append(bytes.Clone(zstdMagic), data[min(4, len(data)):]...)
		out, err := decompressed(data)
		if err != nil {
			return
		}
		if len(out) > zstdFactor*len(data)+zstdFree {
			t.Fatalf("%d bytes from %d", len(out), len(data))
		}
	})
}
