package onnxio

import (
	"errors"
	"fmt"
	"math"

	"github.com/gogo/protobuf/proto"
)

// Bounds on the dense size of a sparse tensor, in bytes: denseFactor times its stored size, and denseFree.
const (
	denseFactor = 64
	denseFree   = 16 << 20
)

// Dense returns the dense tensor, with raw_data, that s stands for. indices are int64, [NNZ] linear or [NNZ, rank],
// ascending and without duplicates.
//
// The dense tensor may take at most 64 times the stored bytes of values and indices plus 16 MiB; types of less than
// 8 bits and strings are not supported.
func Dense(s *SparseTensorProto, ext External) (*TensorProto, error) {
	p, err := openSparse(s, ext)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, p.n*p.size)
	for i, at := range p.linear {
		copy(raw[at*p.size:], p.values[i*p.size:(i+1)*p.size])
	}
	return &TensorProto{Name: s.Values.Name, DataType: proto.Int32(s.Values.GetDataType()), Dims: s.Dims, RawData: raw}, nil
}

// CheckSparse returns the error that Dense would, without making the dense tensor.
func CheckSparse(s *SparseTensorProto, ext External) error {
	_, err := openSparse(s, ext)
	return err
}

// CheckDense verifies that the sparse initializers of the model, made dense, are together no larger than Dense allows
// for a tensor that is stored in as many bytes as the file has.
func (m *Model) CheckDense() error {
	total := 0.0
	for _, s := range m.Proto.Graph.SparseInitializer {
		size := float64(elemTypes[s.GetValues().GetDataType()].bits) / 8
		for _, d := range s.Dims {
			size *= float64(d)
		}
		total += size
		for _, t := range []*TensorProto{s.Values, s.Indices} {
			if t != nil && IsExternal(t) && CheckData(t, m) == nil {
				total -= denseFactor * float64(storedOutside(t))
			}
		}
	}
	if most := denseFactor*float64(len(m.data)) + denseFree; total > most {
		return fmt.Errorf("%s: the sparse initializers stand for %.0f bytes, too many for a file of %d", m.name, total, len(m.data))
	}
	return nil
}

// storedOutside is the number of bytes that an external tensor says it has.
func storedOutside(t *TensorProto) int64 {
	r, err := regionOf(t)
	if err != nil {
		return 0
	}
	return max(0, r.length)
}

// sparseParts are the checked contents of a sparse tensor.
type sparseParts struct {
	n, size int // elements of the dense tensor, and bytes of each
	values  []byte
	linear  []int // where in the dense tensor the values are, ascending
}

func openSparse(s *SparseTensorProto, ext External) (sparseParts, error) {
	p, err := partsOf(s, ext)
	if err != nil {
		return p, fmt.Errorf("sparse tensor %q: %w", s.GetValues().GetName(), err)
	}
	return p, nil
}

func partsOf(s *SparseTensorProto, ext External) (p sparseParts, err error) {
	if s.Values == nil || s.Indices == nil && len(s.Values.Dims) > 0 && s.Values.Dims[0] != 0 {
		return p, errors.New("values and indices are both needed")
	}
	var shape []int
	if shape, p.n, err = shapeOf(s.Dims); err != nil {
		return p, err
	}
	bits := elemTypes[s.Values.GetDataType()].bits
	if bits < 8 {
		return p, fmt.Errorf("element type %s is not supported", typeOf(s.Values))
	}
	if p.values, err = rawOf(s.Values, ext); err != nil {
		return p, fmt.Errorf("values: %w", err)
	}
	p.size = bits / 8
	nnz := len(p.values) / p.size
	var indices []int64
	if s.Indices != nil {
		if _, indices, err = Int64s(s.Indices, ext); err != nil {
			return p, fmt.Errorf("indices: %w", err)
		}
	}
	if stored := len(p.values) + 8*len(indices); !densifies(p.n, p.size, stored) {
		return p, fmt.Errorf("shape %s of %s is too large for %d bytes of values and indices", shapeString(s.Dims),
			typeOf(s.Values), stored)
	}
	if p.linear, err = linearIndices(s, indices, nnz, shape); err != nil {
		return p, err
	}
	last := -1
	for i, at := range p.linear {
		if at <= last {
			return p, fmt.Errorf("index %d is %d after %d, indices must ascend", i, at, last)
		}
		if at >= p.n {
			return p, fmt.Errorf("index %d is %d, shape %s has %d elements", i, at, shapeString(s.Dims), p.n)
		}
		last = at
	}
	return p, nil
}

// densifies reports whether a dense tensor of n elements is within bounds where that many bytes are stored.
func densifies(n, size, stored int) bool {
	return n <= math.MaxInt/size && n*size <= denseFactor*stored+denseFree
}

// linearIndices returns one index into the dense elements per value, negative or too large ones as they are.
func linearIndices(s *SparseTensorProto, indices []int64, nnz int, shape []int) ([]int, error) {
	dims := s.Indices.GetDims()
	linear := make([]int, nnz)
	switch {
	case nnz == 0 && len(indices) == 0:
	case len(dims) == 1 && len(indices) == nnz:
		for i, at := range indices {
			linear[i] = int(at)
		}
	case len(dims) == 2 && dims[0] == int64(nnz) && dims[1] == int64(len(shape)):
		for i := range linear {
			for j, d := range shape {
				c := indices[i*len(shape)+j]
				if c < 0 || c >= int64(d) {
					return nil, fmt.Errorf("index %d has coordinate %d in dimension %d of %d", i, c, j, d)
				}
				linear[i] = linear[i]*d + int(c)
			}
		}
	default:
		return nil, fmt.Errorf("indices have shape %s, %d values of rank %d need [%d] or [%d,%d]", shapeString(dims), nnz,
			len(shape), nnz, nnz, len(shape))
	}
	return linear, nil
}
