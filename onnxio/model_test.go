package onnxio

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gogo/protobuf/proto"
	"github.com/gogo/protobuf/protoc-gen-gogo/descriptor"
)

// smallModel has two initializers, a Constant, a Conv-like node, unknown fields and a metadata entry.
func smallModel(edit func(*ModelProto)) []byte {
	constant := NewNode("Constant", "c", nil, []string{"c_out"})
	constant.Attribute = []*AttributeProto{
		{Name: proto.String("note"), I: proto.Int64(1)},
		{Name: proto.String("value"), T: NewFloatTensor("", []int{3}, []float32{1, 2, 3})},
	}
	m := &ModelProto{
		IrVersion:    proto.Int64(8),
		OpsetImport:  []*OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(13)}},
		ProducerName: proto.String("test"),
		Graph: &GraphProto{
			Name: proto.String("g"),
			Node: []*NodeProto{
				constant,
				NewNode("MatMul", "mm", []string{"x", "w"}, []string{"y"}),
				NewNode("Add", "add", []string{"y", "b"}, []string{"z"}),
			},
			Initializer: []*TensorProto{
				NewFloatTensor("w", []int{2, 2}, []float32{1, -2, 3, 4}),
				NewFloatTensor("b", []int{2}, []float32{5, 6}),
			},
			Input:            []*ValueInfoProto{NewTensorValueInfo("x", Float, []int64{1, 2})},
			Output:           []*ValueInfoProto{NewTensorValueInfo("z", Float, []int64{1, 2})},
			XXX_unrecognized: []byte{0xfa, 0x07, 2, 'h', 'i'},
		},
		XXX_unrecognized: []byte{0xf8, 0x3f, 7},
	}
	if edit != nil {
		edit(m)
	}
	b, err := m.Marshal()
	if err != nil {
		panic(err)
	}
	return b
}

func TestLoadErrors(t *testing.T) {
	good := smallModel(nil)
	version := func(ir, opset int64) []byte {
		return smallModel(func(m *ModelProto) {
			m.IrVersion = proto.Int64(ir)
			m.OpsetImport[0].Version = proto.Int64(opset)
		})
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":     {nil, "not an ONNX model: the file is empty"},
		"text":      {[]byte("hello, this is text\n"), "not an ONNX model"},
		"png":       {[]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x01\x00"), "not an ONNX model"},
		"lfs":       {[]byte("version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer\nhint: "},
		"truncated": {good[:len(good)-30], "truncated or not an ONNX model: field 7 needs"},
		"no graph":  {smallModel(func(m *ModelProto) { m.Graph = nil }), "it has no graph"},
		"group":     {[]byte{0x0b, 0x13, 0x0c}, "truncated"},
		"wire type": {append([]byte{0x0d, 1, 2, 3, 4}, good...), "wrong wireType"},
		"no ir":     {smallModel(func(m *ModelProto) { m.IrVersion = nil }), "has no ir_version"},
		"no opset":  {smallModel(func(m *ModelProto) { m.OpsetImport = nil }), "has no opset_import"},
		"ir":        {version(14, 13), "ir version 14, supported are 1 to 13"},
		"opset":     {version(8, 999), "opset version 999, supported are 1 to 28"},
		"both":      {version(99, 29), "ir version 99, supported are 1 to 13; opset version 29, supported are 1 to 28"},
		"ai.onnx": {smallModel(func(m *ModelProto) {
			m.OpsetImport[0] = &OperatorSetIdProto{Domain: proto.String("ai.onnx"), Version: proto.Int64(29)}
		}), "opset version 29"},
		"external and raw": {smallModel(func(m *ModelProto) {
			m.Graph.Initializer[0].DataLocation = TensorProto_EXTERNAL.Enum()
		}), `tensor "w": has raw_data and external data as well`},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "m.onnx")
			check(t, os.WriteFile(path, c.data, 0o666))
			m, err := Load(path)
			if m != nil || err == nil {
				t.Fatal("no error")
			}
			if !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want %q", err, c.want)
			}
		})
	}
}

func TestLoadPathErrors(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir:                                ": is a directory, not an ONNX file",
		filepath.Join(dir, "missing.onnx"): ": no such file or directory",
		"/dev/null":                        ": is not a regular file",
	} {
		if _, err := Load(path); err == nil || err.Error() != path+want {
			t.Errorf("%s: error %v, want %s", path, err, want)
		}
	}
}

// nested returns a model whose graph holds a chain of n graphs in attributes.
func nested(n int) []byte {
	g := appendBytesField(nil, 2, []byte("g"))
	var sizes []int
	size := len(g)
	for range n {
		for range 3 {
			sizes = append(sizes, size)
			size += 1 + varintLen(size)
		}
	}
	// built from the outside in, so that it takes time linear in n
	b := []byte{0x08, 8, 0x42, 2, 0x10, 13}
	b = append(b, 7<<3|wireBytes)
	b = appendVarint(b, size)
	for i := len(sizes) - 1; i >= 0; i-- {
		num := []int{6, 5, 1}[i%3]
		b = append(b, byte(num<<3|wireBytes))
		b = appendVarint(b, sizes[i])
	}
	return append(b, g...)
}

func varintLen(n int) int { return len(appendVarint(nil, n)) }

func appendVarint(b []byte, n int) []byte { return binary.AppendUvarint(b, uint64(n)) }

func TestNestingIsBounded(t *testing.T) {
	if _, err := LoadBytes("m.onnx", nested(30)); err != nil {
		t.Errorf("30 nested graphs: %v", err)
	}
	for _, n := range []int{40, 1000, 1_000_000} {
		if _, err := LoadBytes("m.onnx", nested(n)); err == nil || !strings.Contains(err.Error(), "nested deeper than 100") {
			t.Errorf("%d nested graphs: error %v", n, err)
		}
	}
	groups := append(smallModel(nil), bytes.Repeat([]byte{0xfb, 0x07}, 1_000_000)...)
	if _, err := LoadBytes("m.onnx", groups); err == nil {
		t.Error("a million open groups: no error")
	}
}

func TestMessageFloodIsRefused(t *testing.T) {
	flood := appendBytesField(smallModel(nil), 7, bytes.Repeat([]byte{0x0a, 0}, 2_000_000))
	if _, err := LoadBytes("m.onnx", flood); err == nil || !strings.Contains(err.Error(), "asks for too much memory") {
		t.Errorf("error %v", err)
	}
}

// The table of nested messages agrees with onnx.proto.
func TestChildrenMatchSchema(t *testing.T) {
	zipped, _ := (&ModelProto{}).Descriptor()
	r, err := gzip.NewReader(bytes.NewReader(zipped))
	check(t, err)
	b, err := io.ReadAll(r)
	check(t, err)
	file := &descriptor.FileDescriptorProto{}
	check(t, proto.Unmarshal(b, file))
	messages := map[string]*descriptor.DescriptorProto{}
	var collect func(prefix string, all []*descriptor.DescriptorProto)
	collect = func(prefix string, all []*descriptor.DescriptorProto) {
		for _, m := range all {
			messages[prefix+m.GetName()] = m
			collect(prefix+m.GetName()+".", m.NestedType)
		}
	}
	collect(".onnx.", file.MessageType)
	seen := map[string]kind{}
	var compare func(name string, k kind)
	compare = func(name string, k kind) {
		if seen[name] == k {
			return
		}
		seen[name] = k
		found := 0
		for _, f := range messages[name].Field {
			if f.GetType() != descriptor.FieldDescriptorProto_TYPE_MESSAGE {
				continue
			}
			found++
			child, ok := children[k][int(f.GetNumber())]
			if !ok {
				t.Errorf("%s: field %d is missing", name, f.GetNumber())
				continue
			}
			compare(f.GetTypeName(), child)
		}
		if found != len(children[k]) {
			t.Errorf("%s: %d fields in the table, %d in the schema", name, len(children[k]), found)
		}
	}
	compare(".onnx.ModelProto", modelMessage)
	if len(seen) < len(messages)-1 {
		t.Errorf("reached %d of %d messages", len(seen), len(messages))
	}
}

func TestOpset(t *testing.T) {
	m := mustParse(t, smallModel(func(m *ModelProto) {
		m.OpsetImport = append(m.OpsetImport, &OperatorSetIdProto{Domain: proto.String("my"), Version: proto.Int64(100)})
	}))
	if m.Opset("") != 13 || m.Opset("ai.onnx") != 13 || m.Opset("my") != 100 || m.Opset("other") != 0 {
		t.Errorf("%d %d %d %d", m.Opset(""), m.Opset("ai.onnx"), m.Opset("my"), m.Opset("other"))
	}
}
