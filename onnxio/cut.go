package onnxio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/gogo/protobuf/proto"
)

// Field numbers of TensorProto, NodeProto and AttributeProto that cuts deal with.
const (
	tensorDims    = 1
	nodeInput     = 1
	nodeAttribute = 5
	graphOutput   = 12
	graphInfo     = 13
)

// Clone returns a model with the same content that can be edited by itself.
func (m *Model) Clone() (*Model, error) {
	c := &Model{name: m.name, dir: m.dir, data: m.Bytes()}
	if err := c.parse(); err != nil {
		return nil, m.named(err)
	}
	if err := c.scanExternal(true); err != nil {
		return nil, m.named(err)
	}
	return c, nil
}

// CutTensor deletes slices of an initializer, or of the tensor of the Constant node
// with that output: gone[a], if not nil, says which positions of axis a go. Name, type
// and doc string stay; the elements that stay keep their bits, in raw_data, external
// ones external.
func (m *Model) CutTensor(name string, gone [][]bool) error {
	s, err := m.tensorSite(name)
	if err != nil {
		return err
	}
	fail := func(err error) error { return fmt.Errorf("%s: tensor %q: %w", m.name, name, err) }
	raw, err := rawOf(s.t, m)
	if err != nil {
		return fail(err)
	}
	shape, _, err := shapeOf(s.t.Dims)
	if err != nil {
		return fail(err)
	}
	bits := elemTypes[s.t.GetDataType()].bits
	if bits%8 != 0 {
		return fail(fmt.Errorf("elements of %d bits cannot be cut", bits))
	}
	if len(gone) != len(shape) {
		return fail(fmt.Errorf("a cut of %d axes, it has %d", len(gone), len(shape)))
	}
	kept := slices.Clone(shape)
	for a, g := range gone {
		if g != nil && len(g) != shape[a] {
			return fail(fmt.Errorf("a cut of %d positions of axis %d, it has %d", len(g), a, shape[a]))
		}
		for _, x := range g {
			if x {
				kept[a]--
			}
		}
	}
	if err := m.putTensor(s, kept, cutBytes(raw, shape, gone, bits/8)); err != nil {
		return fail(err)
	}
	return nil
}

// cutBytes keeps the elements of no position that goes.
func cutBytes(raw []byte, shape []int, gone [][]bool, size int) []byte {
	inner := size
	last := len(shape)
	for last > 0 && gone[last-1] == nil {
		last--
		inner *= shape[last]
	}
	var out []byte
	var walk func(a, at int)
	walk = func(a, at int) {
		if a == last {
			out = append(out, raw[at*inner:(at+1)*inner]...)
			return
		}
		for p := range shape[a] {
			if gone[a] == nil || !gone[a][p] {
				walk(a+1, at*shape[a]+p)
			}
		}
	}
	walk(0, 0)
	return out
}

// PutTensor replaces shape and elements of an initializer, or of the tensor of the
// Constant node with that output, by those of t, which must be of the same type and
// have raw_data. Name and doc string stay.
func (m *Model) PutTensor(name string, t *TensorProto) error {
	s, err := m.tensorSite(name)
	if err != nil {
		return err
	}
	if s.t.GetDataType() != t.GetDataType() {
		return fmt.Errorf("%s: tensor %q is of type %s, not %s", m.name, name, typeOf(s.t), typeOf(t))
	}
	shape, _, err := shapeOf(t.Dims)
	if err != nil {
		return fmt.Errorf("%s: tensor %q: %w", m.name, name, err)
	}
	raw, err := rawOf(t, nil)
	if err != nil {
		return fmt.Errorf("%s: tensor %q: %w", m.name, name, err)
	}
	if err := m.putTensor(s, shape, raw); err != nil {
		return fmt.Errorf("%s: tensor %q: %w", m.name, name, err)
	}
	return nil
}

// putTensor gives a tensor another shape and other elements.
func (m *Model) putTensor(s site, shape []int, raw []byte) error {
	return m.editSite(s, func(msg []byte) ([]byte, error) {
		all, err := fields(msg)
		if err != nil {
			return nil, err
		}
		out := make([]byte, 0, len(raw)+64)
		for _, d := range shape {
			out = binary.AppendUvarint(append(out, tensorDims<<3|wireVarint), uint64(d))
		}
		for _, f := range all {
			_, data := dataFields[f.num]
			if f.num != tensorDims && !data {
				out = append(out, f.raw...)
			}
		}
		return appendBytesField(out, tensorRawData, raw), nil
	})
}

// editSite replaces the encoded tensor at a site.
func (m *Model) editSite(s site, edit func(msg []byte) ([]byte, error)) error {
	outer := m.entries[m.find(s.num, s.k)].payload()
	msg := outer
	var attribute []byte
	var err error
	if s.num == graphNode {
		if attribute, err = nth(outer, nodeAttribute, s.attribute); err != nil {
			return err
		}
		if _, err = nth(attribute, 5, 1); err == nil {
			return errors.New("is split over several fields")
		}
		if msg, err = nth(attribute, 5, 0); err != nil {
			return err
		}
	}
	if msg, err = edit(msg); err != nil {
		return err
	}
	t := &TensorProto{}
	if err := unmarshalShared(tensorMessage, msg, t); err != nil {
		return err
	}
	payload := msg
	if s.num == graphNode {
		if attribute, err = replaceNth(attribute, 5, 0, msg); err != nil {
			return err
		}
		if payload, err = replaceNth(outer, nodeAttribute, s.attribute, attribute); err != nil {
			return err
		}
	}
	m.replace(s.num, s.k, payload)
	if s.num == graphInitializer { // let go of msg
		*t = TensorProto{}
		if err := unmarshalShared(tensorMessage, m.entries[m.find(s.num, s.k)].payload(), t); err != nil {
			return err
		}
	}
	*s.t = *t
	m.staged = m.staged || IsExternal(t)
	return nil
}

// editNode replaces the encoded node with index i.
func (m *Model) editNode(i int, edit func(n *NodeProto, msg []byte) ([]byte, error)) error {
	if err := m.checkNode(i); err != nil {
		return err
	}
	n := m.Proto.Graph.Node[i]
	msg, err := edit(n, m.entries[m.find(graphNode, i)].payload())
	if err != nil {
		return fmt.Errorf("%s: node %q: %w", m.name, n.GetName(), err)
	}
	next := &NodeProto{}
	if err := unmarshalShared(nodeMessage, msg, next); err != nil {
		return fmt.Errorf("%s: node %q: %w", m.name, n.GetName(), err)
	}
	m.replace(graphNode, i, msg)
	*n = *next
	return nil
}

// SetAttribute gives node i an attribute, in place of one of that name.
func (m *Model) SetAttribute(i int, a *AttributeProto) error {
	return m.editNode(i, func(n *NodeProto, msg []byte) ([]byte, error) {
		b, err := proto.Marshal(a)
		if err != nil {
			return nil, err
		}
		k := slices.IndexFunc(n.Attribute, func(x *AttributeProto) bool { return x.GetName() == a.GetName() })
		if k < 0 {
			return appendBytesField(slices.Clone(msg), nodeAttribute, b), nil
		}
		return replaceNth(msg, nodeAttribute, k, b)
	})
}

// DropAttribute removes an attribute of node i; one that is not there is no error.
func (m *Model) DropAttribute(i int, name string) error {
	return m.editNode(i, func(n *NodeProto, msg []byte) ([]byte, error) {
		all, err := fields(msg)
		if err != nil {
			return nil, err
		}
		var out []byte
		k := 0
		for _, f := range all {
			if f.num == nodeAttribute && f.wire == wireBytes {
				k++
				if n.Attribute[k-1].GetName() == name {
					continue
				}
			}
			out = append(out, f.raw...)
		}
		return out, nil
	})
}

// SetNodeInput makes input k of node i refer to a value; inputs up to k that the node
// lacks are added, without names.
func (m *Model) SetNodeInput(i, k int, name string) error {
	if err := m.checkNode(i); err != nil {
		return err
	}
	for len(m.Proto.Graph.Node[i].Input) <= k {
		if err := m.editNode(i, func(n *NodeProto, msg []byte) ([]byte, error) {
			all, err := fields(msg)
			if err != nil {
				return nil, err
			}
			var out []byte
			at := 0 // behind the last input
			for j, f := range all {
				if f.num == nodeInput {
					at = j + 1
				}
			}
			for _, f := range all[:at] {
				out = append(out, f.raw...)
			}
			out = appendBytesField(out, nodeInput, nil)
			for _, f := range all[at:] {
				out = append(out, f.raw...)
			}
			return out, nil
		}); err != nil {
			return err
		}
	}
	return m.ReplaceNodeInput(i, k, name)
}

// SetDim changes dimension axis of every declaration of a value, as graph input,
// output or value_info, where the declaration gives a size.
func (m *Model) SetDim(name string, axis int, size int64) error {
	g := m.Proto.Graph
	for _, part := range []struct {
		num   int
		infos []*ValueInfoProto
	}{{graphInput, g.Input}, {graphOutput, g.Output}, {graphInfo, g.ValueInfo}} {
		for k, v := range part.infos {
			if v.GetName() != name {
				continue
			}
			dims := v.GetType().GetTensorType().GetShape().GetDim()
			if axis >= len(dims) {
				continue
			}
			d, ok := dims[axis].GetValue().(*TensorShapeProto_Dimension_DimValue)
			if !ok || d.DimValue == size {
				continue
			}
			msg, err := withDim(m.entries[m.find(part.num, k)].payload(), axis, size)
			if err != nil {
				return fmt.Errorf("%s: value %q: %w", m.name, name, err)
			}
			m.replace(part.num, k, msg)
			d.DimValue = size
		}
	}
	return nil
}

// withDim returns an encoded ValueInfoProto with another size of one dimension.
func withDim(msg []byte, axis int, size int64) ([]byte, error) {
	path := []struct{ num, k int }{{2, 0}, {1, 0}, {2, 0}, {1, axis}} // type, tensor_type, shape, dim
	levels := [][]byte{msg}
	for _, p := range path {
		next, err := nth(levels[len(levels)-1], p.num, p.k)
		if err != nil {
			return nil, err
		}
		levels = append(levels, next)
	}
	all, err := fields(levels[len(levels)-1])
	if err != nil {
		return nil, err
	}
	dim := binary.AppendUvarint([]byte{1<<3 | wireVarint}, uint64(size))
	for _, f := range all {
		if f.num != 1 {
			dim = append(dim, f.raw...)
		}
	}
	for i := len(path) - 1; i >= 0; i-- {
		if dim, err = replaceNth(levels[i], path[i].num, path[i].k, dim); err != nil {
			return nil, err
		}
	}
	return dim, nil
}
