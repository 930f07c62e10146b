package onnxio

import (
	"fmt"
	"slices"

	"github.com/gogo/protobuf/proto"
)

// Inlined says what [Model.Inline] did: how many calls became nodes, of how many functions, and by how many bytes the model grew.
type Inlined struct {
	Calls, Functions int
	Grown            int64
}

// Inline puts the nodes of functions that the file itself defines where the graph calls them, as the ONNX specification of FunctionProto
// has it: formal inputs and outputs become those of the call, all other names of the function get the call's name before
// them, attributes refer to those of the call or to the function's defaults. Functions that call others are opened as well;
// those that are called from within If, Loop or Scan of the graph, or that import another version of an operator set than the model, stay.
//
// An error names a function that calls itself, or calls that would make much more of the file than it is.
func (m *Model) Inline() (Inlined, error) {
	if len(m.Proto.Functions) == 0 {
		return Inlined{}, nil
	}
	in := &inliner{m: m, functions: map[functionKey]*FunctionProto{}, used: map[string]bool{}, opened: map[functionKey]bool{}, room: inlineRoom + inlineFactor*m.Size()}
	for _, f := range m.Proto.Functions {
		in.functions[keyOf(f.GetDomain(), f.GetName(), f.GetOverload())] = f
	}
	in.names(m.Proto.Graph)
	nodes, err := in.open(m.Proto.Graph.Node, nil)
	if err != nil {
		return Inlined{}, fmt.Errorf("%s: %w", m.name, err)
	}
	if in.calls == 0 {
		return Inlined{}, nil
	}
	before := m.Size()
	m.Proto.Graph.Node = nodes
	m.Proto.Functions = in.needed(nodes)
	err = m.Remarshal()
	return Inlined{Calls: in.calls, Functions: len(in.opened), Grown: m.Size() - before}, err
}

// The nodes that calls expand to may have inlineRoom bytes and inlineFactor times those of the file.
const (
	inlineRoom   = 1 << 20
	inlineFactor = 2
)

type functionKey struct{ domain, name, overload string }

func keyOf(domain, name, overload string) functionKey {
	if isDefaultDomain(domain) {
		domain = ""
	}
	return functionKey{domain, name, overload}
}

func (k functionKey) String() string { return fmt.Sprintf("function %q", k.domain+"."+k.name) }

type inliner struct {
	m         *Model
	functions map[functionKey]*FunctionProto
	used      map[string]bool // names of values, in subgraphs too
	opened    map[functionKey]bool
	calls     int
	room      int64
}

// names notes all names of values in a graph.
func (in *inliner) names(g *GraphProto) {
	for _, t := range g.GetInitializer() {
		in.used[t.GetName()] = true
	}
	for _, t := range g.GetSparseInitializer() {
		in.used[t.GetValues().GetName()] = true
	}
	for _, v := range g.GetInput() {
		in.used[v.GetName()] = true
	}
	for _, n := range g.GetNode() {
		for _, name := range n.Output {
			in.used[name] = true
		}
		for _, s := range subgraphs(n) {
			in.names(s)
		}
	}
}

func subgraphs(n *NodeProto) []*GraphProto {
	var all []*GraphProto
	for _, a := range n.Attribute {
		if a.G != nil {
			all = append(all, a.G)
		}
		all = append(all, a.Graphs...)
	}
	return all
}

// open returns nodes with the calls among them opened; within are the functions being opened.
func (in *inliner) open(nodes []*NodeProto, within []functionKey) ([]*NodeProto, error) {
	var out []*NodeProto
	for _, n := range nodes {
		key := keyOf(n.GetDomain(), n.GetOpType(), n.GetOverload())
		f := in.functions[key]
		if f == nil || !in.imports(f) {
			out = append(out, n)
			continue
		}
		if slices.Contains(within, key) {
			return nil, fmt.Errorf("%s calls itself", key)
		}
		body, err := in.body(n, f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		if body, err = in.open(body, append(slices.Clip(within), key)); err != nil {
			return nil, err
		}
		in.calls++
		in.opened[key] = true
		out = append(out, body...)
	}
	return out, nil
}

// imports reports whether f's operator sets are those of the model, to which it adds those that are missing.
func (in *inliner) imports(f *FunctionProto) bool {
	for _, o := range f.OpsetImport {
		if v := in.m.Opset(o.GetDomain()); v != 0 && v != o.GetVersion() {
			return false
		}
	}
	for _, o := range f.OpsetImport {
		if in.m.Opset(o.GetDomain()) == 0 {
			in.m.Proto.OpsetImport = append(in.m.Proto.OpsetImport, o)
		}
	}
	return true
}

// body copies the nodes of f for a call.
func (in *inliner) body(call *NodeProto, f *FunctionProto) ([]*NodeProto, error) {
	if len(call.Input) > len(f.Input) || len(call.Output) > len(f.Output) {
		return nil, fmt.Errorf("a call has %d inputs and %d outputs, the function %d and %d", len(call.Input), len(call.Output), len(f.Input), len(f.Output))
	}
	c := &inlinedCall{in: in, names: map[string]string{}, attributes: map[string]*AttributeProto{}}
	title := call.GetName()
	if title == "" && len(call.Output) > 0 {
		title = call.Output[0]
	}
	c.prefix = title + "/"
	for k := 2; in.used[c.prefix]; k++ {
		c.prefix = fmt.Sprintf("%s.%d/", title, k)
	}
	in.used[c.prefix] = true // a second call of that name gets another one
	for _, a := range f.AttributeProto {
		c.attributes[a.GetName()] = a
	}
	for _, a := range call.Attribute {
		c.attributes[a.GetName()] = a
	}
	for i, name := range f.Input {
		c.names[name] = ""
		if i < len(call.Input) {
			c.names[name] = call.Input[i]
		}
	}
	// An output that is an input, or an output already, is handed on by a node.
	var handed [][2]string
	for i, name := range f.Output {
		if i >= len(call.Output) || call.Output[i] == "" {
			continue
		}
		if from, taken := c.names[name]; taken {
			handed = append(handed, [2]string{from, call.Output[i]})
			continue
		}
		c.names[name] = call.Output[i]
	}
	var out []*NodeProto
	for _, n := range f.Node {
		n = c.node(n)
		if in.room -= int64(n.Size()); in.room < 0 {
			return nil, fmt.Errorf("calls of functions would make more than %d bytes of a file of %d", inlineRoom+inlineFactor*in.m.Size(), in.m.Size())
		}
		out = append(out, n)
	}
	for i, h := range handed {
		out = append(out, NewNode("Identity", fmt.Sprintf("%sIdentity_%d", c.prefix, i), []string{h[0]}, []string{h[1]}))
	}
	return out, nil
}

// inlinedCall renames what a function's nodes say for one call.
type inlinedCall struct {
	in         *inliner
	prefix     string
	names      map[string]string // of values
	attributes map[string]*AttributeProto
}

// value is the name that a value of the function has outside.
func (c *inlinedCall) value(name string) string {
	if name == "" {
		return ""
	}
	to, ok := c.names[name]
	if !ok {
		to = c.prefix + name
		for k := 2; c.in.used[to]; k++ {
			to = fmt.Sprintf("%s%s.%d", c.prefix, name, k)
		}
		c.in.used[to] = true
		c.names[name] = to
	}
	return to
}

func (c *inlinedCall) node(n *NodeProto) *NodeProto {
	n = proto.Clone(n).(*NodeProto)
	for i, name := range n.Input {
		n.Input[i] = c.value(name)
	}
	for i, name := range n.Output {
		n.Output[i] = c.value(name)
	}
	name := c.prefix + n.GetName()
	if n.GetName() == "" {
		name = c.prefix + n.GetOpType()
	}
	n.Name = &name
	var attributes []*AttributeProto
	for _, a := range n.Attribute {
		if ref := a.GetRefAttrName(); ref != "" {
			given := c.attributes[ref]
			if given == nil {
				continue // neither the call nor the function says: the operator's own default
			}
			own := a.Name
			a = proto.Clone(given).(*AttributeProto)
			a.Name = own
		} else {
			c.graph(a.G)
			for _, g := range a.Graphs {
				c.graph(g)
			}
		}
		attributes = append(attributes, a)
	}
	n.Attribute = attributes
	return n
}

// graph renames within a subgraph, whose own values are the function's as well.
func (c *inlinedCall) graph(g *GraphProto) {
	if g == nil {
		return
	}
	for _, t := range g.Initializer {
		name := c.value(t.GetName())
		t.Name = &name
	}
	for _, s := range g.SparseInitializer {
		if s.Values != nil {
			name := c.value(s.Values.GetName())
			s.Values.Name = &name
		}
	}
	for i, n := range g.Node {
		g.Node[i] = c.node(n)
	}
	for _, list := range [][]*ValueInfoProto{g.Input, g.Output, g.ValueInfo} {
		for _, v := range list {
			name := c.value(v.GetName())
			v.Name = &name
		}
	}
}

// needed lists the functions that nodes still call, in the order of the file.
func (in *inliner) needed(nodes []*NodeProto) []*FunctionProto {
	called := map[functionKey]bool{}
	var mark func(nodes []*NodeProto)
	mark = func(nodes []*NodeProto) {
		for _, n := range nodes {
			key := keyOf(n.GetDomain(), n.GetOpType(), n.GetOverload())
			if f := in.functions[key]; f != nil && !called[key] {
				called[key] = true
				mark(f.Node)
			}
			for _, g := range subgraphs(n) {
				mark(g.Node)
			}
		}
	}
	mark(nodes)
	var out []*FunctionProto
	for _, f := range in.m.Proto.Functions {
		if called[keyOf(f.GetDomain(), f.GetName(), f.GetOverload())] {
			out = append(out, f)
		}
	}
	return out
}
