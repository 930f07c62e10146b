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
	t, err := dense(s, ext)
	if err != nil {
		return nil, fmt.Errorf("sparse tensor %q: %w", s.GetValues().GetName(), err)
	}
	return t, nil
}

func dense(s *SparseTensorProto, ext External) (*TensorProto, error) {
	if s.Values == nil || s.Indices == nil && len(s.Values.Dims) > 0 && s.Values.Dims[0] != 0 {
		return nil, errors.New("values and indices are both needed")
	}
	shape, n, err := shapeOf(s.Dims)
	if err != nil {
		return nil, err
	}
	bits := elemTypes[s.Values.GetDataType()].bits
	if bits < 8 {
		return nil, fmt.Errorf("element type %s is not supported", typeOf(s.Values))
	}
	values, err := rawOf(s.Values, ext)
	if err != nil {
		return nil, fmt.Errorf("values: %w", err)
	}
	size := bits / 8
	nnz := len(values) / size
	var indices []int64
	if s.Indices != nil {
		if _, indices, err = Int64s(s.Indices, ext); err != nil {
			return nil, fmt.Errorf("indices: %w", err)
		}
	}
	stored := len(values) + 8*len(indices)
	if n > math.MaxInt/size || n*size > denseFactor*stored+denseFree {
		return nil, fmt.Errorf("shape %s of %s is too large for %d bytes of values and indices", shapeString(s.Dims),
			typeOf(s.Values), stored)
	}
	linear, err := linearIndices(s, indices, nnz, shape)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, n*size)
	last := -1
	for i, at := range linear {
		if at <= last {
			return nil, fmt.Errorf("index %d is %d after %d, indices must ascend", i, at, last)
		}
		if at >= n {
			return nil, fmt.Errorf("index %d is %d, shape %s has %d elements", i, at, shapeString(s.Dims), n)
		}
		copy(raw[at*size:], values[i*size:(i+1)*size])
		last = at
	}
	return &TensorProto{Name: s.Values.Name, DataType: proto.Int32(s.Values.GetDataType()), Dims: s.Dims, RawData: raw}, nil
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
