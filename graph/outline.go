package graph

import (
	"strings"

	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

// outlineLimit is the number of elements up to which an outline has those of an initializer: enough for everything
// that shapes are computed from.
const outlineLimit = 1 << 12

// Outline reads the graph of a model like [New], but for the elements of large initializers, masks excepted: of these
// it has type and shape only (Value.Init.F and I are nil), so that it takes little more memory than the file itself.
// Their sizes are checked against the data all the same. Shapes, roles, weights and counts are those of New; what reads
// elements, as running the model does, is not possible.
func Outline(m *onnxio.Model, name string) (*Graph, error) {
	return read(m, name, outlined, outlinedSparse)
}

func outlined(m *onnxio.Model, t *onnxio.TensorProto) (*op.Tensor, error) {
	shape, n, err := onnxio.Shape(t)
	if typ := op.Type(t.GetDataType()); err != nil || n <= outlineLimit || strings.HasSuffix(t.GetName(), MaskSuffix) ||
		!typ.IsFloat() && !whole(typ) && typ != op.Bool { // of other types New reads nothing but the shape either
		return decode(m, t)
	}
	if err := onnxio.CheckData(t, m); err != nil {
		return nil, err
	}
	return &op.Tensor{Type: op.Type(t.GetDataType()), Shape: shape}, nil
}

func outlinedSparse(m *onnxio.Model, s *onnxio.SparseTensorProto) (*op.Tensor, error) {
	shape, n, err := onnxio.Shape(&onnxio.TensorProto{Name: s.GetValues().Name, Dims: s.Dims})
	if err != nil || n <= outlineLimit {
		return decodeSparse(m, s)
	}
	if err := onnxio.CheckSparse(s, m); err != nil {
		return nil, err
	}
	return &op.Tensor{Type: op.Type(s.GetValues().GetDataType()), Shape: shape}, nil
}
