package onnxio

import (
	"fmt"
	"slices"

	"github.com/gogo/protobuf/proto"
)

// find returns the position in entries of the k-th field num, -1 where there are fewer.
func (m *Model) find(num, k int) int {
	for i, e := range m.entries {
		if e.num == num {
			if k == 0 {
				return i
			}
			k--
		}
	}
	return -1
}

// insert adds a message as the k-th field num of the graph, 0 ≤ k ≤ their number.
func (m *Model) insert(num, k int, msg proto.Marshaler) error {
	b, err := msg.Marshal()
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	at := m.find(num, k)
	if at < 0 && k > 0 {
		at = m.find(num, k-1) + 1
	}
	if at < 0 {
		at = len(m.entries)
	}
	e := entry{num: num, raw: appendBytesField(nil, num, b)}
	switch {
	case at < len(m.entries) && (at == 0 || m.entries[at].num == num):
		e.part = m.entries[at].part
	case at > 0:
		e.part = m.entries[at-1].part
	default:
		e.part = slices.IndexFunc(m.parts, func(p part) bool { return p.graph })
	}
	m.entries = slices.Insert(m.entries, at, e)
	m.changed = true
	return nil
}

// replace puts other content into the k-th field num.
func (m *Model) replace(num, k int, payload []byte) {
	m.entries[m.find(num, k)].raw = appendBytesField(nil, num, payload)
	m.changed = true
}

func (m *Model) remove(num, k int) {
	at := m.find(num, k)
	m.entries = slices.Delete(m.entries, at, at+1)
	m.changed = true
}

// InsertNode puts n before the node with index before; before equal to the number of nodes appends.
func (m *Model) InsertNode(before int, n *NodeProto) error {
	g := m.Proto.Graph
	if before < 0 || before > len(g.Node) {
		return fmt.Errorf("%s: no place %d for a node among %d", m.name, before, len(g.Node))
	}
	if err := m.insert(graphNode, before, n); err != nil {
		return err
	}
	g.Node = slices.Insert(g.Node, before, n)
	return nil
}

// RemoveNode removes the node with index i.
func (m *Model) RemoveNode(i int) error {
	if err := m.checkNode(i); err != nil {
		return err
	}
	m.remove(graphNode, i)
	m.Proto.Graph.Node = slices.Delete(m.Proto.Graph.Node, i, i+1)
	return nil
}

// ReplaceNodeInput makes input k of node i refer to another value.
func (m *Model) ReplaceNodeInput(i, k int, name string) error {
	if err := m.checkNode(i); err != nil {
		return err
	}
	n := m.Proto.Graph.Node[i]
	if k < 0 || k >= len(n.Input) {
		return fmt.Errorf("%s: node %q: no input %d, it has %d", m.name, n.GetName(), k, len(n.Input))
	}
	payload, err := replaceNth(m.entries[m.find(graphNode, i)].payload(), 1, k, []byte(name))
	if err != nil {
		return fmt.Errorf("%s: node %q: %w", m.name, n.GetName(), err)
	}
	if n.Input[k] == name {
		return nil
	}
	m.replace(graphNode, i, payload)
	n.Input[k] = name
	return nil
}

func (m *Model) checkNode(i int) error {
	if n := len(m.Proto.Graph.Node); i < 0 || i >= n {
		return fmt.Errorf("%s: no node %d, the graph has %d", m.name, i, n)
	}
	return nil
}

// AddInitializer appends t to the initializers of the graph; its name must be new. Before IR version 4 an initializer
// has to be a graph input as well, so one is added there.
func (m *Model) AddInitializer(t *TensorProto) error {
	g := m.Proto.Graph
	if t.GetName() == "" {
		return fmt.Errorf("%s: an initializer needs a name", m.name)
	}
	if m.initializer(t.GetName()) >= 0 {
		return fmt.Errorf("%s: initializer %q exists already", m.name, t.GetName())
	}
	if err := m.insert(graphInitializer, len(g.Initializer), t); err != nil {
		return err
	}
	g.Initializer = append(g.Initializer, t)
	m.external = m.external || IsExternal(t)
	if m.Proto.GetIrVersion() >= 4 {
		return nil
	}
	v := NewTensorValueInfo(t.GetName(), t.GetDataType(), t.Dims)
	if err := m.insert(graphInput, len(g.Input), v); err != nil {
		return err
	}
	g.Input = append(g.Input, v)
	return nil
}

// RemoveInitializer removes the initializer of that name, and the graph input of the same name if there is one.
func (m *Model) RemoveInitializer(name string) error {
	g := m.Proto.Graph
	i := m.initializer(name)
	if i < 0 {
		return fmt.Errorf("%s: no initializer %q", m.name, name)
	}
	m.remove(graphInitializer, i)
	g.Initializer = slices.Delete(g.Initializer, i, i+1)
	for j, v := range g.Input {
		if v.GetName() == name {
			m.remove(graphInput, j)
			g.Input = slices.Delete(g.Input, j, j+1)
			break
		}
	}
	return nil
}

// Initializer returns the dense initializer of that name, nil where there is none.
func (m *Model) Initializer(name string) *TensorProto {
	if i := m.initializer(name); i >= 0 {
		return m.Proto.Graph.Initializer[i]
	}
	return nil
}

func (m *Model) initializer(name string) int {
	return slices.IndexFunc(m.Proto.Graph.Initializer, func(t *TensorProto) bool { return t.GetName() == name })
}
