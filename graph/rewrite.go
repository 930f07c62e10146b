package graph

import (
	little "encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

// Apply makes the changes of a plan in a file, which must have the nodes of the file
// that the graph was read from: slices of initializers and constants are deleted,
// attributes and constant inputs adapted, declared shapes shortened. Nothing else
// changes.
func (p *Plan) Apply(m *onnxio.Model) error {
	g := p.gs.graph
	for _, v := range g.Values {
		if err := p.cutValue(m, v); err != nil {
			return err
		}
	}
	// Nodes are changed first and inserted never, so that their numbers stay.
	for _, n := range g.Nodes {
		change, ok := p.changes[n]
		if !ok {
			continue
		}
		if err := p.changeNode(m, n, change); err != nil {
			return err
		}
	}
	return nil
}

// cutValue shortens the elements and declarations of a value.
func (p *Plan) cutValue(m *onnxio.Model, v *Value) error {
	t := p.gs.Shapes.Of[v.Index]
	if t == nil {
		return nil
	}
	gone := make([][]bool, t.Rank())
	any := false
	for a := range gone {
		gone[a] = p.Gone(v, a)
		any = any || gone[a] != nil
	}
	if !any {
		return nil
	}
	for a, d := range p.shape(v, t.Shape) {
		if gone[a] == nil {
			continue
		}
		if err := m.SetDim(v.Name, a, int64(d)); err != nil {
			return err
		}
	}
	if !v.source() {
		return nil
	}
	if v.Mask != nil {
		if err := m.CutTensor(v.Mask.Name, gone); err != nil {
			return err
		}
	}
	return m.CutTensor(v.Name, gone)
}

// changeNode gives a node its attributes and constants.
func (p *Plan) changeNode(m *onnxio.Model, n *Node, change op.Change) error {
	for _, name := range slices.Sorted(maps.Keys(change.Attrs)) {
		if err := m.SetAttribute(n.proto, attributeProto(name, change.Attrs[name])); err != nil {
			return err
		}
	}
	for _, name := range change.Drop {
		if err := m.DropAttribute(n.proto, name); err != nil {
			return err
		}
	}
	for _, i := range slices.Sorted(maps.Keys(change.Inputs)) {
		var v *Value
		if i < len(n.In) {
			v = n.In[i]
		}
		t := intTensor(change.Inputs[i])
		if v != nil && v.source() && len(v.Uses) == 1 && !p.gs.graph.isOutput(v) && m.Tensor(v.Name) != nil {
			if err := m.PutTensor(v.Name, t); err != nil {
				return err
			}
			continue
		}
		name := n.Title() + ".cut"
		for k := 2; p.gs.graph.byName[name] != nil || m.Initializer(name) != nil; k++ {
			name = fmt.Sprintf("%s.cut%d", n.Title(), k)
		}
		t.Name = &name
		if err := m.AddInitializer(t); err != nil {
			return err
		}
		if err := m.SetNodeInput(n.proto, i, name); err != nil {
			return err
		}
	}
	return nil
}

// intTensor encodes a constant of type int32 or int64.
func intTensor(t *op.Tensor) *onnxio.TensorProto {
	x := onnxio.NewInt64Tensor("", t.Shape, t.I)
	if t.Type == op.Int32 {
		typ := int32(op.Int32)
		x.DataType, x.RawData = &typ, nil
		for _, v := range t.I {
			x.RawData = little.LittleEndian.AppendUint32(x.RawData, uint32(int32(v)))
		}
	}
	return x
}

func attributeProto(name string, a op.Attr) *onnxio.AttributeProto {
	x := &onnxio.AttributeProto{Name: &name}
	typ := onnxio.AttributeProto_INT
	if a.Kind == op.KindInts {
		typ = onnxio.AttributeProto_INTS
		x.Ints = a.Ints
	} else {
		x.I = &a.I
	}
	x.Type = &typ
	return x
}
