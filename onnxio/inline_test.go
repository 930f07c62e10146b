package onnxio_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/internal/onnxtest"
	"github.com/onnxprune/onnxprune/onnxio"
)

// call is a node of the domain of functions.
func call(op, name string, in, out []string, attributes ...*onnxio.AttributeProto) *onnxio.NodeProto {
	n := onnxio.NewNode(op, name, in, out)
	domain := "local"
	n.Domain, n.Attribute = &domain, attributes
	return n
}

// function defines one with the given attributes and nodes.
func function(name string, in, out, attributes []string, nodes ...*onnxio.NodeProto) *onnxio.FunctionProto {
	domain, version, own, one := "local", int64(17), "local", int64(1)
	return &onnxio.FunctionProto{Name: &name, Domain: &domain, Input: in, Output: out, Attribute: attributes, Node: nodes,
		OpsetImport: []*onnxio.OperatorSetIdProto{{Version: &version}, {Domain: &own, Version: &one}}}
}

func number(name string, v float32) *onnxio.AttributeProto {
	typ := onnxio.AttributeProto_FLOAT
	return &onnxio.AttributeProto{Name: &name, Type: &typ, F: &v}
}

func reference(name, to string) *onnxio.AttributeProto {
	typ := onnxio.AttributeProto_FLOAT
	return &onnxio.AttributeProto{Name: &name, Type: &typ, RefAttrName: &to}
}

// within is an attribute with a graph.
func within(name string, g *onnxio.GraphProto) *onnxio.AttributeProto {
	typ := onnxio.AttributeProto_GRAPH
	return &onnxio.AttributeProto{Name: &name, Type: &typ, G: g}
}

func listed(nodes []*onnxio.NodeProto) string {
	var all []string
	for _, n := range nodes {
		text := fmt.Sprintf("%s: %s(%s)", n.GetName(), n.GetOpType(), strings.Join(n.Input, ","))
		for _, a := range n.Attribute {
			if a.G != nil {
				text += " {" + listed(a.G.Node) + "}"
			} else {
				text += fmt.Sprintf(" %s=%g", a.GetName(), a.GetF())
			}
		}
		all = append(all, text+" → "+strings.Join(n.Output, ","))
	}
	return strings.Join(all, "; ")
}

// TestInline: the nodes that calls become.
func TestInline(t *testing.T) {
	leaky := onnxio.NewNode("LeakyRelu", "act", []string{"x"}, []string{"y"})
	leaky.Attribute = []*onnxio.AttributeProto{reference("alpha", "slope")}
	act := function("Act", []string{"x"}, []string{"y"}, []string{"slope"}, leaky)
	twice := function("Twice", []string{"x"}, []string{"y", "first"}, nil,
		call("Act", "one", []string{"x"}, []string{"first"}, number("slope", .5)), call("Act", "", []string{"first"}, []string{"y"}))
	gemm := function("Dense", []string{"x", "w", "b"}, []string{"y"}, nil, onnxio.NewNode("Gemm", "", []string{"x", "w", "b"}, []string{"y"}))
	same := function("Same", []string{"x"}, []string{"x", "y", "y2"}, nil, onnxio.NewNode("Relu", "", []string{"x"}, []string{"y"}))
	same.Output[2] = "y"
	standard := function("Standard", []string{"x"}, []string{"y"}, nil, leaky)
	standard.AttributeProto = []*onnxio.AttributeProto{number("slope", .125)}
	old := function("Old", []string{"x"}, []string{"y"}, nil, onnxio.NewNode("Relu", "", []string{"x"}, []string{"y"}))
	version := int64(9)
	old.OpsetImport[0].Version = &version
	inner := &onnxio.GraphProto{Node: []*onnxio.NodeProto{onnxio.NewNode("Add", "", []string{"h", "x"}, []string{"t"})},
		Output: []*onnxio.ValueInfoProto{onnxio.NewTensorValueInfo("t", onnxio.Float, nil)}}
	choice := onnxio.NewNode("If", "", []string{"c"}, []string{"y"})
	choice.Attribute = []*onnxio.AttributeProto{within("then_branch", inner), within("else_branch", inner)}
	chosen := function("Chosen", []string{"x", "c"}, []string{"y"}, nil, onnxio.NewNode("Relu", "", []string{"x"}, []string{"h"}), choice)
	all := []*onnxio.FunctionProto{act, twice, gemm, same, standard, old, chosen}
	for _, c := range []struct {
		name        string
		nodes       []*onnxio.NodeProto
		want        string
		left        string // functions that stay
		calls, open int
	}{
		{"attribute", []*onnxio.NodeProto{call("Act", "a", []string{"x"}, []string{"z"}, number("slope", .25))}, "a/act: LeakyRelu(x) alpha=0.25 → z", "", 1, 1},
		{"no attribute", []*onnxio.NodeProto{call("Act", "a", []string{"x"}, []string{"z"})}, "a/act: LeakyRelu(x) → z", "", 1, 1},
		{"default", []*onnxio.NodeProto{call("Standard", "", []string{"x"}, []string{"z"})}, "z/act: LeakyRelu(x) alpha=0.125 → z", "", 1, 1},
		{"given in place of the default", []*onnxio.NodeProto{call("Standard", "", []string{"x"}, []string{"z"}, number("slope", .5))}, "z/act: LeakyRelu(x) alpha=0.5 → z", "", 1, 1},
		{"nested, an output not wanted", []*onnxio.NodeProto{call("Twice", "t", []string{"x"}, []string{"z"})},
			"t/one/act: LeakyRelu(x) alpha=0.5 → t/first; t/Act/act: LeakyRelu(t/first) → z", "", 3, 2},
		{"twice of one name", []*onnxio.NodeProto{call("Twice", "t", []string{"x"}, []string{"a", ""}), call("Twice", "t", []string{"a"}, []string{"z", "b"})},
			"t/one/act: LeakyRelu(x) alpha=0.5 → t/first; t/Act/act: LeakyRelu(t/first) → a; t.2/one/act: LeakyRelu(a) alpha=0.5 → b; t.2/Act/act: LeakyRelu(b) → z", "", 6, 2},
		{"name in use", []*onnxio.NodeProto{onnxio.NewNode("Relu", "", []string{"x"}, []string{"t/first"}), call("Twice", "t", []string{"t/first"}, []string{"z"})},
			": Relu(x) → t/first; t/one/act: LeakyRelu(t/first) alpha=0.5 → t/first.2; t/Act/act: LeakyRelu(t/first.2) → z", "", 3, 2},
		{"inputs that are missing", []*onnxio.NodeProto{call("Dense", "a", []string{"x", "w"}, []string{"b"}), call("Dense", "c", []string{"b", "w", ""}, []string{"z"})},
			"a/Gemm: Gemm(x,w,) → b; c/Gemm: Gemm(b,w,) → z", "", 2, 1},
		{"outputs handed on", []*onnxio.NodeProto{call("Same", "s", []string{"x"}, []string{"a", "b", "z"})},
			"s/Relu: Relu(x) → b; s/Identity_0: Identity(x) → a; s/Identity_1: Identity(b) → z", "", 1, 1},
		{"subgraph", []*onnxio.NodeProto{call("Chosen", "i", []string{"x", "x"}, []string{"z"})},
			"i/Relu: Relu(x) → i/h; i/If: If(x) {i/Add: Add(i/h,x) → i/t} {i/Add: Add(i/h,x) → i/t} → z", "", 1, 1},
		{"another version", []*onnxio.NodeProto{call("Old", "o", []string{"x"}, []string{"a"}), call("Act", "b", []string{"a"}, []string{"z"})},
			"o: Old(x) → a; b/act: LeakyRelu(a) → z", "Old", 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := onnxtest.New(17, 1)
			b.Input("x", 2, 2)
			b.Output("z", 2, 2)
			domain, one := "local", int64(1)
			b.Proto.OpsetImport = append(b.Proto.OpsetImport, &onnxio.OperatorSetIdProto{Domain: &domain, Version: &one})
			b.Proto.Graph.Node, b.Proto.Functions = c.nodes, all
			m := b.Model(t)
			got, err := m.Inline()
			if err != nil {
				t.Fatal(err)
			}
			if text := listed(m.Proto.Graph.Node); text != c.want {
				t.Errorf("nodes are\n%s\nwant\n%s", text, c.want)
			}
			if got.Calls != c.calls || got.Functions != c.open {
				t.Errorf("%d calls of %d functions, want %d of %d", got.Calls, got.Functions, c.calls, c.open)
			}
			var left []string
			for _, f := range m.Proto.Functions {
				left = append(left, f.GetName())
			}
			if text := strings.Join(left, " "); text != c.left {
				t.Errorf("functions %q stay, want %q", text, c.left)
			}
			before := m.Bytes()
			if again, err := m.Inline(); err != nil || again.Calls != 0 || !bytes.Equal(m.Bytes(), before) {
				t.Errorf("a second time opens %d calls, error %v", again.Calls, err)
			}
		})
	}
}

// TestInlineRefuses: files that are not to be opened.
func TestInlineRefuses(t *testing.T) {
	loop := function("Loop1", []string{"x"}, []string{"y"}, nil, call("Loop2", "", []string{"x"}, []string{"y"}))
	back := function("Loop2", []string{"x"}, []string{"y"}, nil, call("Loop1", "", []string{"x"}, []string{"y"}))
	doubling := []*onnxio.FunctionProto{function("F0", []string{"x"}, []string{"y"}, nil, onnxio.NewNode("Relu", "", []string{"x"}, []string{"y"}))}
	for i := range 60 {
		inner := fmt.Sprint("F", i)
		doubling = append(doubling, function(fmt.Sprint("F", i+1), []string{"x"}, []string{"y"}, nil,
			call(inner, "", []string{"x"}, []string{"h"}), call(inner, "", []string{"h"}, []string{"y"})))
	}
	for _, c := range []struct {
		name      string
		call      *onnxio.NodeProto
		functions []*onnxio.FunctionProto
		want      string
	}{
		{"cycle", call("Loop1", "", []string{"x"}, []string{"z"}), []*onnxio.FunctionProto{loop, back}, `test.onnx: function "local.Loop1" calls itself`},
		{"bomb", call("F60", "", []string{"x"}, []string{"z"}), doubling, "calls of functions would make more than"},
		{"inputs", call("F0", "", []string{"x", "x"}, []string{"z"}), doubling[:1], `function "local.F0": a call has 2 inputs and 1 outputs, the function 1 and 1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := onnxtest.New(17, 1)
			b.Input("x", 2, 2)
			b.Output("z", 2, 2)
			b.Proto.Graph.Node, b.Proto.Functions = []*onnxio.NodeProto{c.call}, slices.Clone(c.functions)
			m := b.Model(t)
			before := m.Bytes()
			if _, err := m.Inline(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q in it", err, c.want)
			}
			if !bytes.Equal(m.Bytes(), before) {
				t.Error("the model has changed")
			}
		})
	}
}
