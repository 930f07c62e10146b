package onnxio

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/gogo/protobuf/proto"
)

// sparseIR is the first version of the intermediate representation with sparse initializers.
const sparseIR = 6

const graphSparse = 15

// Sparsify stores an initializer as a sparse one where that takes fewer bytes: the elements with a bit that is not
// zero, and their linear INT64 indices, ascending. It reports whether it did. The IR version becomes 6 where it is
// lower. Not made sparse are tensors of Constant nodes, scalars, initializers that are graph inputs too, types of less
// than 8 bits, and what Dense would refuse to read.
func (m *Model) Sparsify(name string) (bool, error) {
	k := m.initializer(name)
	if k < 0 {
		return false, nil
	}
	t := m.Proto.Graph.Initializer[k]
	for _, v := range m.Proto.Graph.Input {
		if v.GetName() == name {
			return false, nil
		}
	}
	s, err := m.sparse(t)
	if err != nil || s == nil {
		return false, m.named(err)
	}
	// What is written is what is read.
	raw, err := rawOf(t, m)
	if err != nil {
		return false, m.named(inTensor(t, err))
	}
	if d, err := Dense(s, nil); err != nil || !bytes.Equal(d.RawData, raw) {
		return false, fmt.Errorf("%s: tensor %q: its sparse form does not hold the same elements: %v", m.name, name, err)
	}
	external := IsExternal(t)
	m.remove(graphInitializer, k)
	m.Proto.Graph.Initializer = append(m.Proto.Graph.Initializer[:k:k], m.Proto.Graph.Initializer[k+1:]...)
	if err := m.insert(graphSparse, len(m.Proto.Graph.SparseInitializer), s); err != nil {
		return false, err
	}
	m.Proto.Graph.SparseInitializer = append(m.Proto.Graph.SparseInitializer, s)
	m.raiseIR(sparseIR)
	if external {
		// Its elements must not stay in the data file, if there still is one.
		if err := m.scanExternal(true); err != nil {
			return false, m.named(err)
		}
		m.staged = m.external
	}
	return true, nil
}

// sparse returns the sparse form of t where it is smaller, else nil.
func (m *Model) sparse(t *TensorProto) (*SparseTensorProto, error) {
	et, n, err := elements(t)
	if err != nil || et.bits < 8 || len(t.Dims) == 0 || n == 0 {
		return nil, nil
	}
	raw, err := rawOf(t, m)
	if err != nil {
		return nil, inTensor(t, err)
	}
	size := et.bits / 8
	zero := make([]byte, size)
	var values, indices []byte
	most := len(raw) - len(raw)/256 - 64 // with the names and lengths around
	for i := range n {
		e := raw[i*size : (i+1)*size]
		if bytes.Equal(e, zero) {
			continue
		}
		if len(values)+len(indices)+size+8 > most {
			return nil, nil
		}
		values = append(values, e...)
		indices = binary.LittleEndian.AppendUint64(indices, uint64(i))
	}
	if !densifies(n, size, len(values)+len(indices)) {
		return nil, nil
	}
	nnz := []int64{int64(len(values) / size)}
	return &SparseTensorProto{Dims: t.Dims,
		Values:  &TensorProto{Name: t.Name, DocString: t.DocString, DataType: t.DataType, Dims: nnz, RawData: values},
		Indices: &TensorProto{DataType: proto.Int32(Int64), Dims: nnz, RawData: indices}}, nil
}

// raiseIR gives the model a version of the intermediate representation of at least v.
func (m *Model) raiseIR(v int64) {
	if m.Proto.GetIrVersion() >= v {
		return
	}
	m.Proto.IrVersion = &v
	raw := binary.AppendUvarint([]byte{1<<3 | wireVarint}, uint64(v))
	for i := len(m.parts) - 1; i >= 0; i-- { // of several the last counts
		if f, _, err := nextField(m.parts[i].raw); err == nil && f.num == 1 {
			m.parts[i].raw, m.changed = raw, true
			return
		}
	}
}

// densify makes a dense initializer of the sparse one of that name, if there is one.
func (m *Model) densify(name string) error {
	for k, s := range m.Proto.Graph.SparseInitializer {
		if s.GetValues().GetName() != name {
			continue
		}
		t, err := Dense(s, m)
		if err != nil {
			return m.named(err)
		}
		m.remove(graphSparse, k)
		m.Proto.Graph.SparseInitializer = append(m.Proto.Graph.SparseInitializer[:k:k], m.Proto.Graph.SparseInitializer[k+1:]...)
		return m.AddInitializer(t)
	}
	return nil
}
