package onnxio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// site is where a tensor that can be edited by name lies in the graph.
type site struct {
	t         *TensorProto
	num, k    int // the k-th initializer or node of the graph
	attribute int // for a Constant node, the index of its attribute value
}

// tensorSite finds the initializer of that name, or the Constant node with that output.
func (m *Model) tensorSite(name string) (site, error) {
	g := m.Proto.Graph
	if i := m.initializer(name); i >= 0 {
		return site{t: g.Initializer[i], num: graphInitializer, k: i}, nil
	}
	for i, n := range g.Node {
		if n.GetOpType() != "Constant" || !isDefaultDomain(n.GetDomain()) || len(n.Output) != 1 || n.Output[0] != name {
			continue
		}
		for j, a := range n.Attribute {
			if a.GetName() == "value" && a.T != nil {
				return site{t: a.T, num: graphNode, k: i, attribute: j}, nil
			}
		}
		return site{}, fmt.Errorf("%s: constant %q does not hold a dense tensor", m.name, name)
	}
	for _, s := range g.SparseInitializer {
		if s.GetValues().GetName() == name {
			return site{}, fmt.Errorf("%s: initializer %q is sparse and cannot be changed in place", m.name, name)
		}
	}
	return site{}, fmt.Errorf("%s: no initializer or constant %q", m.name, name)
}

// Tensor returns the dense initializer of that name, or the tensor of the Constant node with that output; nil where
// there is neither.
func (m *Model) Tensor(name string) *TensorProto {
	s, err := m.tensorSite(name)
	if err != nil {
		return nil
	}
	return s.t
}

// SetTensor replaces the elements of an initializer, or of the tensor of the Constant node with that output. Type and
// encoding stay: raw_data stays raw_data, external stays external. values are in row-major order, as many as there are
// elements, rounded to nearest even; an element whose float32 value does not change keeps its bits, so that setting
// what Float32s returned changes nothing, and zero is stored as exact zero. A sparse initializer becomes a dense one.
//
// Types: float, double, float16, bfloat16. A finite value beyond the type's range is an error and changes nothing.
func (m *Model) SetTensor(name string, values []float32) error {
	return m.editTensor(name, func(t *TensorProto, n int, raw []byte) error {
		if n != len(values) {
			return fmt.Errorf("%d values, shape %s needs %d", len(values), shapeString(t.Dims), n)
		}
		put, err := putter(t.GetDataType())
		if err != nil {
			return err
		}
		at, err := float32At(t.GetDataType())
		if err != nil {
			return err
		}
		for i, v := range values {
			if math.Float32bits(at(raw, i)) == math.Float32bits(v) {
				continue
			}
			if err := put(raw, i, v); err != nil {
				return err
			}
		}
		return nil
	})
}

// MaskTensor sets the elements of an initializer, or of the tensor of a Constant node, to zero where mask is false,
// and leaves every bit of the others. mask is in row-major order. Any numeric type but complex. A sparse initializer
// becomes a dense one.
func (m *Model) MaskTensor(name string, mask []bool) error {
	return m.editTensor(name, func(t *TensorProto, n int, raw []byte) error {
		if n != len(mask) {
			return fmt.Errorf("a mask of %d elements, shape %s needs %d", len(mask), shapeString(t.Dims), n)
		}
		bits := elemTypes[t.GetDataType()].bits
		switch t.GetDataType() {
		case Complex64, Complex128, Float8E8M0:
			return fmt.Errorf("element type %s cannot be masked", typeOf(t))
		}
		for i, keep := range mask {
			switch {
			case keep:
			case bits < 8:
				per := 8 / bits
				raw[i/per] &^= byte(1<<bits-1) << (i % per * bits)
			default:
				clear(raw[i*bits/8 : (i+1)*bits/8])
			}
		}
		return nil
	})
}

// editTensor applies edit to the raw elements of the named tensor and stores the result in the tensor's encoding.
func (m *Model) editTensor(name string, edit func(t *TensorProto, n int, raw []byte) error) error {
	if err := m.densify(name); err != nil {
		return err
	}
	s, err := m.tensorSite(name)
	if err != nil {
		return err
	}
	fail := func(err error) error { return fmt.Errorf("%s: tensor %q: %w", m.name, name, err) }
	old, err := rawOf(s.t, m)
	if err != nil {
		return fail(err)
	}
	_, n, err := shapeOf(s.t.Dims)
	if err != nil {
		return fail(err)
	}
	raw := bytes.Clone(old)
	if err := edit(s.t, n, raw); err != nil {
		return fail(err)
	}
	if bytes.Equal(old, raw) {
		return nil
	}
	if err := m.storeTensor(s, old, raw); err != nil {
		return fail(err)
	}
	return nil
}

func (m *Model) storeTensor(s site, old, raw []byte) error {
	return m.editSite(s, func(msg []byte) ([]byte, error) { return withElements(msg, s.t, old, raw) })
}

// withElements returns the encoded tensor msg with its elements changed from old to raw. External tensors get the new
// elements as raw_data, which Save moves out again.
func withElements(msg []byte, t *TensorProto, old, raw []byte) ([]byte, error) {
	all, err := fields(msg)
	if err != nil {
		return nil, err
	}
	num, err := storedIn(t)
	if err != nil {
		return nil, err
	}
	if num == 0 {
		num = tensorRawData
	}
	fixed := 0
	switch num {
	case tensorFloatData:
		fixed = 4
	case tensorDoubleData:
		fixed = 8
	}
	et := elemTypes[t.GetDataType()]
	out := make([]byte, 0, len(msg)+len(raw)/8)
	pos, first := 0, true
	for _, f := range all {
		switch {
		case f.num != num:
			out = append(out, f.raw...)
		case fixed > 0:
			out = append(out, f.raw[:len(f.raw)-len(f.payload)]...)
			out = append(out, raw[pos:pos+len(f.payload)]...)
			pos += len(f.payload)
		case first && num == tensorRawData:
			out = appendBytesField(out, num, raw)
		case first:
			values, err := allVarints(all, num)
			if err != nil {
				return nil, err
			}
			out = appendVarints(out, num, f.wire == wireBytes, changedUnits(values, et.unit, old, raw))
		}
		first = first && f.num != num
	}
	if first {
		out = appendBytesField(out, num, raw)
	}
	return out, nil
}

func allVarints(all []field, num int) (values []uint64, err error) {
	for _, f := range all {
		if f.num == num {
			if values, err = varints(f, values); err != nil {
				return nil, err
			}
		}
	}
	return values, nil
}

// changedUnits replaces the entries whose bytes differ between old and raw.
func changedUnits(values []uint64, unit int, old, raw []byte) []uint64 {
	for i := range values {
		was, is := old[i*unit:(i+1)*unit], raw[i*unit:(i+1)*unit]
		if bytes.Equal(was, is) {
			continue
		}
		values[i] = 0
		for j := unit - 1; j >= 0; j-- {
			values[i] = values[i]<<8 | uint64(is[j])
		}
	}
	return values
}

func appendVarints(b []byte, num int, packed bool, values []uint64) []byte {
	if !packed {
		for _, v := range values {
			b = binary.AppendUvarint(b, uint64(num)<<3|wireVarint)
			b = binary.AppendUvarint(b, v)
		}
		return b
	}
	var payload []byte
	for _, v := range values {
		payload = binary.AppendUvarint(payload, v)
	}
	return appendBytesField(b, num, payload)
}
