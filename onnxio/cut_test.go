package onnxio

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Cutting keeps the bits of what stays, whatever the type and the encoding.
func TestCutTensor(t *testing.T) {
	var types []int32
	for dt, et := range elemTypes {
		if et.bits > 0 && et.bits%8 == 0 {
			types = append(types, int32(dt))
		}
	}
	slices.Sort(types)
	rapid.Check(t, func(rt *rapid.T) {
		d := drawTensor(rt, types)
		m, err := LoadBytes("m.onnx", modelWith(d.msg))
		must(rt, err)
		size := elemTypes[d.dt].bits / 8
		gone := make([][]bool, len(d.dims))
		for a, n := range d.dims {
			if rapid.Bool().Draw(rt, "cut") {
				gone[a] = rapid.SliceOfN(rapid.Bool(), int(n), int(n)).Draw(rt, "gone")
			}
		}
		must(rt, m.CutTensor("t", gone))
		var want []byte
		var kept []int64
		for a, n := range d.dims {
			k := n
			for _, g := range gone[a] {
				if g {
					k--
				}
			}
			kept = append(kept, k)
		}
		idx := make([]int, len(d.dims))
		for i := range len(d.raw) / size {
			rest, stays := i, true
			for a := len(idx) - 1; a >= 0; a-- {
				idx[a] = rest % int(d.dims[a])
				rest /= int(d.dims[a])
				stays = stays && (gone[a] == nil || !gone[a][idx[a]])
			}
			if stays {
				want = append(want, d.raw[i*size:(i+1)*size]...)
			}
		}
		again, err := LoadBytes("m.onnx", m.Bytes())
		must(rt, err)
		x := again.Tensor("t")
		if !slices.Equal(x.Dims, kept) || x.GetDataType() != d.dt {
			rt.Fatalf("dims %v of type %d, want %v of %d", x.Dims, x.GetDataType(), kept, d.dt)
		}
		got, err := rawOf(x, again)
		must(rt, err)
		if !bytes.Equal(got, want) {
			rt.Fatalf("elements % x, want % x", got, want)
		}
		if !sameMessage(again.Proto, m.Proto) {
			rt.Fatal("Proto and bytes differ")
		}
	})
}

// nodeModel has one node Split with an attribute and an output with a declared shape.
func nodeModel(t *testing.T) *Model {
	n := NewNode("Split", "s", []string{"x"}, []string{"a", "b"})
	n.Attribute = []*AttributeProto{intsAttribute("split", 1, 2), intsAttribute("other", 7)}
	doc := "kept"
	n.DocString = &doc
	data := smallModel(func(p *ModelProto) {
		p.Graph.Node = append([]*NodeProto{n}, p.Graph.Node...)
		p.Graph.ValueInfo = append(p.Graph.ValueInfo, NewTensorValueInfo("a", 1, []int64{4, 6}), NewTensorValueInfo("a", 1, []int64{4, 6}))
	})
	m, err := LoadBytes("m.onnx", data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func intsAttribute(name string, v ...int64) *AttributeProto {
	typ := AttributeProto_INTS
	return &AttributeProto{Name: &name, Type: &typ, Ints: v}
}

func TestEditNode(t *testing.T) {
	m := nodeModel(t)
	check(t, m.SetAttribute(0, intsAttribute("split", 3, 4)))
	check(t, m.SetAttribute(0, intsAttribute("new", 5)))
	check(t, m.DropAttribute(0, "other"))
	check(t, m.DropAttribute(0, "absent"))
	check(t, m.SetNodeInput(0, 2, "sizes"))
	check(t, m.SetNodeInput(0, 0, "y"))
	again := mustParse(t, m.Bytes())
	if !sameMessage(again.Proto, m.Proto) {
		t.Error("Proto and bytes differ")
	}
	n := again.Proto.Graph.Node[0]
	if !slices.Equal(n.Input, []string{"y", "", "sizes"}) || n.GetDocString() != "kept" {
		t.Errorf("inputs %q, doc string %q", n.Input, n.GetDocString())
	}
	var attrs []string
	for _, a := range n.Attribute {
		attrs = append(attrs, a.GetName())
	}
	if !slices.Equal(attrs, []string{"split", "new"}) || !slices.Equal(n.Attribute[0].Ints, []int64{3, 4}) {
		t.Errorf("attributes %q, split %v", attrs, n.Attribute[0].Ints)
	}
	if err := m.SetAttribute(99, intsAttribute("x", 1)); err == nil || !strings.Contains(err.Error(), "no node 99") {
		t.Errorf("error %v", err)
	}
}

func TestSetDim(t *testing.T) {
	m := nodeModel(t)
	before := len(m.Bytes())
	check(t, m.SetDim("a", 1, 5))
	check(t, m.SetDim("a", 7, 5))
	check(t, m.SetDim("nobody", 0, 5))
	again := mustParse(t, m.Bytes())
	if len(m.Bytes()) != before {
		t.Errorf("%d bytes became %d", before, len(m.Bytes()))
	}
	found := 0
	for _, v := range again.Proto.Graph.ValueInfo {
		if v.GetName() != "a" {
			continue
		}
		d := v.GetType().GetTensorType().GetShape().Dim
		if d[0].GetDimValue() != 4 || d[1].GetDimValue() != 5 {
			t.Errorf("declared %v", d)
		}
		found++
	}
	if found != 2 || !sameMessage(again.Proto, m.Proto) {
		t.Errorf("%d declarations, or Proto and bytes differ", found)
	}
}

func TestPutTensor(t *testing.T) {
	m := mustParse(t, smallModel(nil))
	check(t, m.AddInitializer(NewInt64Tensor("target", []int{3}, []int64{0, 8, -1})))
	check(t, m.PutTensor("target", NewInt64Tensor("", []int{2}, []int64{0, 5})))
	again := mustParse(t, m.Bytes())
	shape, v, err := again.Int64s(again.Initializer("target"))
	if err != nil || !slices.Equal(shape, []int{2}) || !slices.Equal(v, []int64{0, 5}) {
		t.Errorf("%v %v %v", shape, v, err)
	}
	if err := m.PutTensor("target", NewFloatTensor("", []int{1}, []float32{1})); err == nil || !strings.Contains(err.Error(), "is of type int64, not float") {
		t.Errorf("error %v", err)
	}
	if err := m.PutTensor("nobody", NewInt64Tensor("", []int{1}, []int64{1})); err == nil {
		t.Error("a tensor that is not there was replaced")
	}
}

// A clone is a model of its own.
func TestClone(t *testing.T) {
	m := mustParse(t, smallModel(nil))
	check(t, m.AddInitializer(NewInt64Tensor("k", []int{1}, []int64{1})))
	c, err := m.Clone()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(c.Bytes(), m.Bytes()) {
		t.Error("the clone has other bytes")
	}
	check(t, c.PutTensor("k", NewInt64Tensor("", []int{1}, []int64{2})))
	if _, v, _ := m.Int64s(m.Initializer("k")); v[0] != 1 {
		t.Error("an edit of the clone reaches the original")
	}
}
