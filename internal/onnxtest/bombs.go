package onnxtest

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/gogo/protobuf/proto"

	"github.com/onnxprune/onnxprune/onnxio"
)

// Bomb is a file that asks for far more than it is, or that contradicts itself.
type Bomb struct {
	Name string
	Data []byte
}

// Bombs returns hand-made hostile models, each one file.
func Bombs(t testing.TB) []Bomb {
	t.Helper()
	var all []Bomb
	add := func(name string, b *Builder) { all = append(all, Bomb{name, b.Bytes(t)}) }

	// Terabyte shapes in files of some hundred bytes.
	const tera = 1 << 40
	for _, x := range []struct {
		name string
		node func(b *Builder)
	}{
		{"constant_of_shape", func(b *Builder) { b.Ints("s", 1<<20, 1<<20); b.Node("ConstantOfShape", "y", []string{"s"}) }},
		{"expand", func(b *Builder) {
			b.Floats("one", []float32{1}, 1)
			b.Ints("s", tera)
			b.Node("Expand", "y", []string{"one", "s"})
		}},
		{"tile", func(b *Builder) { b.Ints("s", 1, tera); b.Node("Tile", "y", []string{"x", "s"}) }},
		{"range", func(b *Builder) {
			for name, v := range map[string]float32{"from": 0, "to": 1e12, "step": 1} {
				b.Floats(name, []float32{v})
			}
			b.Node("Range", "y", []string{"from", "to", "step"})
		}},
		{"pad", func(b *Builder) { b.Ints("p", 0, 0, 0, tera); b.Node("Pad", "y", []string{"x", "p"}) }},
		{"resize", func(b *Builder) { b.Ints("s", 1<<20, 1<<20); b.Node("Resize", "y", []string{"x", "", "", "s"}) }},
		{"reshape", func(b *Builder) { b.Ints("s", tera, -1); b.Node("Reshape", "y", []string{"x", "s"}) }},
		{"conv", func(b *Builder) {
			b.Floats("w", []float32{1}, 1, 1, 1, 1)
			b.Ints("s", 1, 1, 8, 1)
			r := b.Node("Reshape", "", []string{"x", "s"})
			b.Node("Conv", "y", []string{r, "w"}, "pads", []int64{1 << 40, 1 << 40, 1 << 40, 1 << 40})
		}},
		{"doubling", func(b *Builder) {
			b.Ints("k", 1, 1, 1, 1)
			last := "k"
			for range 60 {
				last = b.Node("Concat", "", []string{last, last}, "axis", 0)
			}
			b.Node("Gather", "y", []string{"x", last}, "axis", 1)
		}},
		{"one_hot", func(b *Builder) {
			b.Ints("i", 1, 2)
			b.Ints("d", tera)
			b.Floats("v", []float32{0, 1}, 2)
			b.Node("OneHot", "y", []string{"i", "d", "v"})
		}},
	} {
		b := New(17, 1)
		b.Input("x", 1, 8)
		x.node(b)
		b.Output("y", 1, 8)
		add("tera_"+x.name, b)
	}
	b := matmul(nil)
	b.Proto.Graph.Initializer[0].Dims = []int64{tera, tera}
	add("tera_overflow", b)
	b = matmul(nil)
	b.Proto.Graph.Initializer[0].Dims = []int64{8, tera}
	add("tera_initializer", b)
	b = matmul(nil)
	b.Proto.Graph.Initializer[0].Dims = []int64{0, tera}
	b.Proto.Graph.Initializer[0].RawData = nil
	add("tera_empty", b)
	b = matmul(nil)
	b.Proto.Graph.Input[0] = info("x", 1, []int64{1 << 39, 1 << 39})
	add("tera_input", b)

	// Sparse tensors.
	for _, x := range []struct {
		name  string
		dims  int64
		count int
	}{{"tera", tera, 1}, {"many", 4<<20 - 1, 2000}} {
		b := matmul(nil)
		for i := range x.count {
			s := &onnxio.SparseTensorProto{Values: onnxio.NewFloatTensor(fmt.Sprintf("s%d", i), []int{1}, []float32{1}),
				Indices: onnxio.NewInt64Tensor("", []int{1}, []int64{3}), Dims: []int64{x.dims}}
			b.Proto.Graph.SparseInitializer = append(b.Proto.Graph.SparseInitializer, s)
		}
		add("sparse_"+x.name, b)
	}

	// Functions that call each other, or themselves.
	b = matmul(nil)
	for i := range 41 {
		inner := []*onnxio.NodeProto{onnxio.NewNode("Relu", "", []string{"a"}, []string{"b"})}
		if i > 0 {
			inner = []*onnxio.NodeProto{called(i-1, "a", "m"), called(i-1, "m", "b")}
		}
		b.Proto.Functions = append(b.Proto.Functions, defined(i, inner...))
	}
	b.Proto.Graph.Node = append(b.Proto.Graph.Node, called(40, "y", "deep"))
	add("functions_doubling", b)
	b = matmul(nil)
	b.Proto.Functions = []*onnxio.FunctionProto{defined(0, called(0, "a", "b"))}
	b.Proto.Graph.Node = append(b.Proto.Graph.Node, called(0, "y", "deep"))
	add("functions_cycle", b)

	b = matmul(nil)
	chain := []*onnxio.NodeProto{}
	for k := range 4 {
		chain = append(chain, onnxio.NewNode("Relu", "", []string{string(rune('a' + 3*k))}, []string{string(rune('a' + 3*k + 3))}))
	}
	chain[3].Output[0] = "b"
	b.Proto.Functions = []*onnxio.FunctionProto{defined(0, chain...)}
	for i := range 5000 {
		b.Proto.Graph.Node = append(b.Proto.Graph.Node, called(0, "y", fmt.Sprint(i)))
	}
	add("functions_wide", b)

	// Cycles, duplicates, names.
	b = matmul(nil)
	b.Proto.Graph.Node = append(b.Proto.Graph.Node, onnxio.NewNode("Relu", "a", []string{"p"}, []string{"q"}), onnxio.NewNode("Relu", "b", []string{"q"}, []string{"p"}))
	add("cycle", b)
	b = matmul(nil)
	b.Proto.Graph.Node = append(b.Proto.Graph.Node, onnxio.NewNode("Relu", "a", []string{"p"}, []string{"p"}))
	add("self", b)
	b = matmul(nil)
	b.Proto.Graph.Initializer = append(b.Proto.Graph.Initializer, b.Proto.Graph.Initializer[0])
	add("duplicate_initializer", b)
	b = matmul(nil)
	b.Proto.Graph.Node = append(b.Proto.Graph.Node, b.Proto.Graph.Node...)
	add("duplicate_output", b)
	b = matmul(nil)
	b.Proto.Graph.Input = append(b.Proto.Graph.Input, b.Proto.Graph.Input[0])
	add("duplicate_input", b)
	for i, name := range []string{"../../etc/passwd", "/etc/passwd", "a\x00b", "\x1b[2J\x1b]0;title\a", "two\nlines", "\xff\xfe", strings.Repeat("long", 1<<16)} {
		b = matmul(nil)
		b.Proto.Graph.Initializer[0].Name = &name
		b.Proto.Graph.Node[0].Input[1], b.Proto.Graph.Node[0].Name = name, &name
		add(fmt.Sprintf("name_%d", i), b)
	}

	// Many small things.
	b = matmul(nil)
	for i := range 1_000_000 {
		b.Proto.Graph.Node = append(b.Proto.Graph.Node, &onnxio.NodeProto{OpType: proto.String("Relu"), Input: []string{"y"}, Output: []string{fmt.Sprint(i)}})
	}
	add("million_nodes", b)
	b = matmul(nil)
	for i := range 30_000 {
		b.Proto.Graph.Node = append(b.Proto.Graph.Node, &onnxio.NodeProto{OpType: proto.String("Relu"), Input: []string{"y"}, Output: []string{fmt.Sprint(i)}})
	}
	add("thirty_thousand_nodes", b)
	b = matmul(nil)
	for i := range 1_000_000 {
		b.Proto.Graph.Initializer = append(b.Proto.Graph.Initializer, &onnxio.TensorProto{Name: proto.String(fmt.Sprint(i)), DataType: proto.Int32(1), FloatData: []float32{1}})
	}
	add("million_initializers", b)
	b = matmul(nil)
	b.Proto.Graph.Node[0].Input = make([]string, 1_000_000)
	add("million_inputs", b)
	b = matmul(nil)
	b.Proto.Graph.Initializer[0].Dims = make([]int64, 1_000_000)
	add("million_dims", b)
	b = matmul(nil)
	small := onnxio.TensorProto_INT32
	b.Proto.Graph.Initializer = append(b.Proto.Graph.Initializer, &onnxio.TensorProto{Name: proto.String("i"), DataType: proto.Int32(int32(small)), Dims: []int64{4_000_000}, Int32Data: make([]int32, 4_000_000)})
	add("four_million_varints", b)

	// Deep nesting: of subgraphs, of types, of groups.
	for _, depth := range []int{20, 10000} {
		b = matmul(nil)
		g := &onnxio.GraphProto{Name: proto.String("g")}
		for range depth {
			kind, name := onnxio.AttributeProto_GRAPH, "then_branch"
			n := onnxio.NewNode("If", "if", []string{"y"}, []string{"z"})
			n.Attribute = []*onnxio.AttributeProto{{Name: &name, Type: &kind, G: g}}
			g = &onnxio.GraphProto{Name: proto.String("g"), Node: []*onnxio.NodeProto{n}}
		}
		b.Proto.Graph.Node = append(b.Proto.Graph.Node, g.Node...)
		add(fmt.Sprintf("nested_%d", depth), b)
	}
	data := matmul(nil).Bytes(t)
	all = append(all,
		Bomb{"groups", append(data, []byte(strings.Repeat("\xa3\x06", 1<<20))...)},
		Bomb{"empty", nil},
		Bomb{"zeros", make([]byte, 1<<20)},
		Bomb{"length", append(data[:len(data):len(data)], 0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)},
		// A Zstandard frame of 400 MB of zeros, in blocks of 128 KiB that repeat one byte, and the promise of an exabyte.
		Bomb{"zeros.zst", frame(3200)},
		Bomb{"promise.zst", binary.LittleEndian.AppendUint64([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0}, 1<<60)},
		Bomb{"window.zst", []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00}},
	)
	return all
}

// frame is a Zstandard frame of blocks of 128 KiB of zeros.
func frame(blocks int) []byte {
	out := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38} // a window of 128 KiB
	for i := range blocks {
		head := uint32(1<<17)<<3 | 1<<1
		if i == blocks-1 {
			head |= 1
		}
		out = append(out, byte(head), byte(head>>8), byte(head>>16), 0)
	}
	return out
}

// matmul is a small model, with external data where there are entries of external_data.
func matmul(external map[string]string) *Builder {
	b := New(17, 1)
	b.Input("x", 1, 8)
	b.Weight("w", 1, 8, 8)
	b.Node("MatMul", "y", []string{"x", "w"})
	b.Output("y", 1, 8)
	if external == nil {
		return b
	}
	t := b.Proto.Graph.Initializer[0]
	at := onnxio.TensorProto_EXTERNAL
	t.DataLocation, t.RawData = &at, nil
	for _, key := range []string{"location", "offset", "length"} {
		if v, ok := external[key]; ok {
			t.ExternalData = append(t.ExternalData, &onnxio.StringStringEntryProto{Key: &key, Value: &v})
		}
	}
	return b
}

// ExternalBomb is a model named bomb.onnx whose weight, of 256 bytes, is said to lie at a place in another file.
func ExternalBomb(t testing.TB, location, offset, length string) []byte {
	t.Helper()
	e := map[string]string{"location": location}
	if offset != "" {
		e["offset"] = offset
	}
	if length != "" {
		e["length"] = length
	}
	return matmul(e).Bytes(t)
}

// Damaged returns pieces of a real file: cut at several places, and with single bits turned, n of each.
func Damaged(name string, data []byte, n int) []Bomb {
	var all []Bomb
	for i := range n {
		cut := len(data) * (i + 1) / (n + 1)
		all = append(all, Bomb{fmt.Sprintf("%s_cut%d", name, i), data[:cut]})
		turned := append([]byte(nil), data...)
		// The bytes before the first weights say more than those in them.
		at := (i*2654435761 + i) % min(len(data), 4096<<(i%8))
		turned[at] ^= 1 << (i % 8)
		all = append(all, Bomb{fmt.Sprintf("%s_bit%d", name, i), turned})
	}
	return append(all, Bomb{name + "_head", data[:min(len(data), 4096)]})
}

// called is a call of function i of the domain "local", defined one of a to b.
func called(i int, from, to string) *onnxio.NodeProto {
	domain := "local"
	n := onnxio.NewNode(fmt.Sprintf("F%d", i), "", []string{from}, []string{to})
	n.Domain = &domain
	return n
}

func defined(i int, nodes ...*onnxio.NodeProto) *onnxio.FunctionProto {
	name, domain, version, own := fmt.Sprintf("F%d", i), "local", int64(17), int64(1)
	return &onnxio.FunctionProto{Name: &name, Domain: &domain, Input: []string{"a"}, Output: []string{"b"}, Node: nodes,
		OpsetImport: []*onnxio.OperatorSetIdProto{{Version: &version}, {Domain: &domain, Version: &own}}}
}
