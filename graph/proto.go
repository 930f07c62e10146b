package graph

import (
	"errors"
	"fmt"
	"strings"

	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

// decode reads the elements of a tensor: floats as float32, integers and
// booleans as int64. Strings and types without a number format here keep only
// their shape. Errors do not name the file.
func decode(m *onnxio.Model, t *onnxio.TensorProto) (*op.Tensor, error) {
	x, err := elements(m, t)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), m.Name()+": "))
	}
	return x, nil
}

func elements(m *onnxio.Model, t *onnxio.TensorProto) (*op.Tensor, error) {
	typ := op.Type(t.GetDataType())
	switch {
	case typ.IsFloat():
		shape, v, err := m.Float32s(t)
		if err != nil {
			return nil, err
		}
		return &op.Tensor{Type: typ, Shape: shape, F: v}, nil
	case typ == op.Bool:
		shape, v, err := m.Bools(t)
		if err != nil {
			return nil, err
		}
		x := &op.Tensor{Type: typ, Shape: shape, I: make([]int64, len(v))}
		for i, b := range v {
			if b {
				x.I[i] = 1
			}
		}
		return x, nil
	case whole(typ):
		shape, v, err := m.Int64s(t)
		if err != nil {
			return nil, err
		}
		return &op.Tensor{Type: typ, Shape: shape, I: v}, nil
	}
	shape, _, err := onnxio.Shape(t)
	if err != nil {
		return nil, err
	}
	return &op.Tensor{Type: typ, Shape: shape}, nil
}

func whole(typ op.Type) bool {
	return typ >= op.Uint8 && typ <= op.Int64 || typ == op.Uint32 || typ == op.Uint64
}

// attributes reads the attributes of a node. Attributes inside subgraphs are
// not read; a node with subgraphs is marked.
func attributes(m *onnxio.Model, n *onnxio.NodeProto) (op.Attrs, bool, error) {
	attrs := op.Attrs{}
	sub := false
	for _, a := range n.Attribute {
		name := a.GetName()
		if _, twice := attrs[name]; twice {
			return nil, false, fmt.Errorf("attribute %q is given twice", name)
		}
		x := op.Attr{Kind: op.KindOther}
		switch a.GetType() {
		case onnxio.AttributeProto_FLOAT:
			x = op.Attr{Kind: op.KindFloat, F: a.GetF()}
		case onnxio.AttributeProto_INT:
			x = op.Attr{Kind: op.KindInt, I: a.GetI()}
		case onnxio.AttributeProto_STRING:
			x = op.Attr{Kind: op.KindString, S: string(a.S)}
		case onnxio.AttributeProto_FLOATS:
			x = op.Attr{Kind: op.KindFloats, Floats: a.Floats}
		case onnxio.AttributeProto_INTS:
			x = op.Attr{Kind: op.KindInts, Ints: a.Ints}
		case onnxio.AttributeProto_STRINGS:
			x.Kind = op.KindStrings
			for _, s := range a.Strings {
				x.Strings = append(x.Strings, string(s))
			}
		case onnxio.AttributeProto_TENSOR:
			if a.GetT() == nil {
				return nil, false, fmt.Errorf("attribute %q: is of type TENSOR and holds none", name)
			}
			t, err := decode(m, a.GetT())
			if err != nil {
				return nil, false, fmt.Errorf("attribute %q: %w", name, err)
			}
			x = op.Attr{Kind: op.KindTensor, T: t}
		case onnxio.AttributeProto_GRAPH, onnxio.AttributeProto_GRAPHS:
			x.Kind = op.KindGraph
			sub = true
		}
		attrs[name] = x
	}
	return attrs, sub, nil
}

// captured lists the names that the subgraphs of a node read.
func captured(n *onnxio.NodeProto) []string {
	var names []string
	var walk func(g *onnxio.GraphProto)
	walk = func(g *onnxio.GraphProto) {
		for _, n := range g.GetNode() {
			names = append(names, n.Input...)
			for _, a := range n.Attribute {
				walk(a.GetG())
				for _, s := range a.Graphs {
					walk(s)
				}
			}
		}
		for _, o := range g.GetOutput() {
			names = append(names, o.GetName())
		}
	}
	for _, a := range n.Attribute {
		walk(a.GetG())
		for _, s := range a.Graphs {
			walk(s)
		}
	}
	return names
}

// decodeSparse reads a sparse tensor as a dense one.
func decodeSparse(m *onnxio.Model, s *onnxio.SparseTensorProto) (*op.Tensor, error) {
	t, err := onnxio.Dense(s, m)
	if err != nil {
		return nil, err
	}
	return decode(m, t)
}
