package onnxio

import (
	"encoding/binary"

	"github.com/gogo/protobuf/proto"
)

// unmarshalShared parses msg, a well-formed message of kind k, into to, like its Unmarshal, but for the content of
// raw_data: that is not copied, tensors refer to msg. What they refer to must be read only.
//
// The generated parser copies every bytes field, so it is given a message in which the content of each raw_data is
// the number of a slice of msg.
func unmarshalShared(k kind, msg []byte, to proto.Unmarshaler) error {
	var held rawData
	outline, err := held.outline(k, msg)
	if err != nil {
		return err
	}
	if err := to.Unmarshal(outline); err != nil {
		return err
	}
	switch x := to.(type) {
	case *ModelProto:
		held.model(x)
	case *NodeProto:
		held.node(x)
	case *TensorProto:
		held.tensor(x)
	default:
		panic("onnxio: no such message holds tensors")
	}
	return nil
}

// rawData are the contents of raw_data fields by number.
type rawData [][]byte

// outline returns msg with numbers in the place of raw_data; msg itself where it has none.
func (h *rawData) outline(k kind, msg []byte) ([]byte, error) {
	var out []byte
	changed := false
	for pos := 0; pos < len(msg); {
		f, _, err := nextField(msg[pos:])
		if err != nil {
			return nil, err
		}
		payload := f.payload
		child, nested := children[k][f.num]
		switch {
		case f.wire != wireBytes:
		case k == tensorMessage && f.num == tensorRawData:
			payload = binary.AppendUvarint(nil, uint64(len(*h)))
			*h = append(*h, f.payload)
		case nested && child != leafMessage:
			if payload, err = h.outline(child, f.payload); err != nil {
				return nil, err
			}
		}
		switch {
		case f.wire == wireBytes && !sameSlice(payload, f.payload):
			if !changed {
				out, changed = append(out, msg[:pos]...), true
			}
			out = appendBytesField(out, f.num, payload)
		case changed:
			out = append(out, f.raw...)
		}
		pos += len(f.raw)
	}
	if !changed {
		return msg, nil
	}
	return out, nil
}

func (h rawData) tensor(t *TensorProto) {
	if t == nil || t.RawData == nil {
		return
	}
	if i, n := binary.Uvarint(t.RawData); n > 0 && i < uint64(len(h)) {
		t.RawData = h[i]
	}
}

func (h rawData) model(m *ModelProto) {
	h.graph(m.Graph)
	for _, t := range m.TrainingInfo {
		h.graph(t.Initialization)
		h.graph(t.Algorithm)
	}
	for _, f := range m.Functions {
		for _, n := range f.Node {
			h.node(n)
		}
		h.attributes(f.AttributeProto)
	}
}

func (h rawData) graph(g *GraphProto) {
	if g == nil {
		return
	}
	for _, n := range g.Node {
		h.node(n)
	}
	for _, t := range g.Initializer {
		h.tensor(t)
	}
	for _, s := range g.SparseInitializer {
		h.sparse(s)
	}
}

func (h rawData) node(n *NodeProto) { h.attributes(n.Attribute) }

func (h rawData) attributes(as []*AttributeProto) {
	for _, a := range as {
		h.tensor(a.T)
		h.graph(a.G)
		h.sparse(a.SparseTensor)
		for _, t := range a.Tensors {
			h.tensor(t)
		}
		for _, g := range a.Graphs {
			h.graph(g)
		}
		for _, s := range a.SparseTensors {
			h.sparse(s)
		}
	}
}

func (h rawData) sparse(s *SparseTensorProto) {
	if s != nil {
		h.tensor(s.Values)
		h.tensor(s.Indices)
	}
}
