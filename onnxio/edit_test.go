package onnxio

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/gogo/protobuf/proto"
	"pgregory.net/rapid"
)

// Random edits keep Proto and bytes in step, and undoing them restores the bytes.
func TestEditsKeepProtoAndBytes(t *testing.T) {
	base := smallModel(nil)
	rapid.Check(t, func(rt *rapid.T) {
		data := base
		if rapid.Bool().Draw(rt, "split") {
			data = splitGraph(base)
		}
		m, err := LoadBytes("m.onnx", data)
		if err != nil {
			rt.Fatal(err)
		}
		var undo []func() error
		for i := range rapid.IntRange(1, 6).Draw(rt, "edits") {
			name := string(rune('A' + i))
			nodes := len(m.Proto.Graph.Node)
			switch rapid.IntRange(0, 2).Draw(rt, "edit") {
			case 0:
				at := rapid.IntRange(0, nodes).Draw(rt, "at")
				must(rt, m.InsertNode(at, NewNode("Mul", name, []string{"x", "y"}, []string{name})))
				undo = append(undo, func() error { return m.RemoveNode(at) })
			case 1:
				must(rt, m.AddInitializer(NewInt64Tensor(name, []int{1}, []int64{int64(i)})))
				undo = append(undo, func() error { return m.RemoveInitializer(name) })
			case 2:
				at := rapid.IntRange(0, nodes-1).Draw(rt, "node")
				n := m.Proto.Graph.Node[at]
				if len(n.Input) == 0 {
					continue
				}
				k := rapid.IntRange(0, len(n.Input)-1).Draw(rt, "input")
				old := n.Input[k]
				must(rt, m.ReplaceNodeInput(at, k, strings.Repeat(name, 200)))
				undo = append(undo, func() error { return m.ReplaceNodeInput(at, k, old) })
			}
			again, err := LoadBytes("m.onnx", slices.Clone(m.Bytes()))
			must(rt, err)
			if !sameMessage(again.Proto, m.Proto) {
				rt.Fatal("Proto and bytes differ")
			}
		}
		for _, u := range slices.Backward(undo) {
			must(rt, u())
		}
		if !bytes.Equal(m.Bytes(), data) {
			rt.Fatal("bytes differ after undoing")
		}
	})
}

func must(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// sameMessage compares bits: [proto.Equal] says that a message with NaN differs from itself.
func sameMessage(a, b *ModelProto) bool {
	x, errX := a.Marshal()
	y, errY := b.Marshal()
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// TestMaskKeepsNaN: signalling NaNs stay, in floats of their own fields too.
func TestMaskKeepsNaN(t *testing.T) {
	raw := []byte{0, 0, 0x81, 0x7f, 0, 0, 0x80, 0x3f}
	tensor, err := typedTensor(Float, []int64{2}, raw).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	m, err := LoadBytes("m.onnx", modelWith(tensor))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.MaskTensor("t", []bool{true, false}); err != nil {
		t.Fatal(err)
	}
	again, err := LoadBytes("m.onnx", m.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Raw(again.Initializer("t"), nil); err != nil || !bytes.Equal(got, []byte{0, 0, 0x81, 0x7f, 0, 0, 0, 0}) {
		t.Errorf("masked to % x, %v", got, err)
	}
	if !sameMessage(again.Proto, m.Proto) {
		t.Error("Proto and bytes differ")
	}
}

// splitGraph writes the graph as two fields, which protobuf merges.
func splitGraph(data []byte) []byte {
	all, _ := fields(data)
	var out []byte
	for _, f := range all {
		if f.num != 7 {
			out = append(out, f.raw...)
			continue
		}
		entries, _ := fields(f.payload)
		var a, b []byte
		for i, e := range entries {
			if i < 2 {
				a = append(a, e.raw...)
			} else {
				b = append(b, e.raw...)
			}
		}
		out = appendBytesField(appendBytesField(out, 7, a), 7, b)
	}
	return out
}

func TestEditErrors(t *testing.T) {
	m := mustParse(t, smallModel(func(p *ModelProto) {
		p.Graph.Node = append(p.Graph.Node, &NodeProto{OpType: proto.String("Constant"), Output: []string{"ints"},
			Attribute: []*AttributeProto{{Name: proto.String("value_ints"), Ints: []int64{1}}}})
		p.Graph.Initializer = append(p.Graph.Initializer, NewInt64Tensor("i", []int{1}, []int64{7}))
		half, _ := NewTensor(Float16, "h", []int{1}, []float32{1})
		p.Graph.Initializer = append(p.Graph.Initializer, half)
	}))
	want := bytes.Clone(m.Bytes())
	for _, c := range []struct {
		err  error
		want string
	}{
		{m.InsertNode(6, NewNode("Mul", "", nil, nil)), "m.onnx: no place 6 for a node among 4"},
		{m.RemoveNode(-1), "m.onnx: no node -1, the graph has 4"},
		{m.ReplaceNodeInput(1, 2, "q"), `m.onnx: node "mm": no input 2, it has 2`},
		{m.AddInitializer(NewFloatTensor("w", nil, []float32{1})), `m.onnx: initializer "w" exists already`},
		{m.AddInitializer(NewFloatTensor("", nil, []float32{1})), `m.onnx: an initializer needs a name`},
		{m.RemoveInitializer("q"), `m.onnx: no initializer "q"`},
		{m.SetTensor("q", nil), `m.onnx: no initializer or constant "q"`},
		{m.SetTensor("w", nil), `m.onnx: tensor "w": 0 values, shape [2,2] needs 4`},
		{m.SetTensor("i", []float32{1}), `m.onnx: tensor "i": element type is int64, float, double, float16 or bfloat16 is needed`},
		{m.SetTensor("h", []float32{70000}), `m.onnx: tensor "h": element 0 is 70000, beyond the range of float16`},
		{m.SetTensor("ints", []float32{1}), `m.onnx: constant "ints" does not hold a dense tensor`},
		{m.MaskTensor("w", []bool{true}), `m.onnx: tensor "w": a mask of 1 elements, shape [2,2] needs 4`},
	} {
		if c.err == nil || c.err.Error() != c.want {
			t.Errorf("error %v\nwant  %s", c.err, c.want)
		}
	}
	if !bytes.Equal(m.Bytes(), want) {
		t.Error("a refused edit changed the model")
	}
}

func TestSetConstant(t *testing.T) {
	m := mustParse(t, smallModel(nil))
	check(t, m.SetTensor("c_out", []float32{0, 2, 7}))
	again := mustParse(t, m.Bytes())
	_, v, err := again.Float32s(again.Tensor("c_out"))
	check(t, err)
	if !slices.Equal(v, []float32{0, 2, 7}) {
		t.Errorf("values %v", v)
	}
	check(t, m.SetTensor("c_out", []float32{1, 2, 3}))
	if !bytes.Equal(m.Bytes(), smallModel(nil)) {
		t.Error("setting the old values back does not restore the bytes")
	}
}

func TestAddInitializerBeforeIR4(t *testing.T) {
	m := mustParse(t, smallModel(func(p *ModelProto) { p.IrVersion = proto.Int64(3) }))
	before := bytes.Clone(m.Bytes())
	check(t, m.AddInitializer(NewFloatTensor("mask", []int{2}, []float32{1, 0})))
	again := mustParse(t, m.Bytes())
	if in := again.Proto.Graph.Input; len(in) != 2 || in[1].GetName() != "mask" || !sameMessage(again.Proto, m.Proto) {
		t.Errorf("inputs %v", in)
	}
	check(t, m.RemoveInitializer("mask"))
	if !bytes.Equal(m.Bytes(), before) {
		t.Error("removing it does not restore the bytes")
	}
}

func TestRemarshal(t *testing.T) {
	m := mustParse(t, smallModel(nil))
	m.Proto.Graph.Input[0].Name = proto.String("renamed")
	check(t, m.Remarshal())
	check(t, m.RemoveNode(0))
	again := mustParse(t, m.Bytes())
	if !sameMessage(again.Proto, m.Proto) || again.Proto.Graph.Input[0].GetName() != "renamed" {
		t.Error("Proto and bytes differ")
	}
	if !bytes.Equal(again.Proto.Graph.XXX_unrecognized, []byte{0xfa, 0x07, 2, 'h', 'i'}) {
		t.Error("unknown fields are lost")
	}
}
