package data

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
)

// shard is one open NPY file whose first axis is the rows.
type shard struct {
	name     string // file name inside the dataset's directory
	head     Header
	rows     int
	rowElems int
	mapped   []byte   // the whole file, or nil
	file     *os.File // where it could not be mapped
	inMemory bool     // mapped is no mapping
}

// maxRowElems bounds the elements of one row, so that offsets within a batch fit.
const maxRowElems = math.MaxInt32

func openShard(dir, name string) (*shard, error) {
	path := filepath.Join(dir, name)
	// Opening a pipe would wait for its other end.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s := &shard{name: name}
	if err := s.load(f); err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

func (s *shard) load(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if s.head, err = ReadHeader(f, info.Size()); err != nil {
		return err
	}
	if len(s.head.Shape) == 0 {
		return fmt.Errorf("a scalar, want an array whose first axis is the rows")
	}
	s.rows, s.rowElems = s.head.Shape[0], 1
	for _, d := range s.head.Shape[1:] {
		if d < 1 || d > maxRowElems/s.rowElems {
			return fmt.Errorf("shape %v, want rows of 1 to %d elements", s.head.Shape, maxRowElems)
		}
		s.rowElems *= d
	}
	s.file = f
	if info.Size() > s.head.Offset {
		if m, err := mapFile(f, info.Size()); err == nil {
			s.mapped, s.file = m, nil
			return f.Close()
		}
	}
	return nil
}

func (s *shard) close() error {
	if s.file != nil {
		return s.file.Close()
	}
	m := s.mapped
	s.mapped = nil
	if s.inMemory {
		return nil
	}
	return unmapFile(m)
}

func (s *shard) rowShape() []int { return s.head.Shape[1:] }

func (s *shard) rowBytes() int { return s.rowElems * s.head.DType.Size() }

// row returns the raw bytes of row i in C order: a view of the mapped file, or scratch,
// which holds rowBytes bytes.
func (s *shard) row(i int, scratch []byte) ([]byte, error) {
	n := s.rowBytes()
	scratch = scratch[:n]
	if s.head.Fortran && len(s.head.Shape) > 1 {
		return scratch, s.gather(i, scratch)
	}
	at := s.head.Offset + int64(i)*int64(n)
	if s.mapped != nil {
		return s.mapped[at : at+int64(n)], nil
	}
	return scratch, s.readAt(scratch, at)
}

func (s *shard) readAt(b []byte, at int64) error {
	if s.mapped != nil {
		copy(b, s.mapped[at:])
		return nil
	}
	_, err := s.file.ReadAt(b, at)
	if err == io.EOF {
		return fmt.Errorf("%w since it was opened", ErrTruncated)
	}
	return err
}

// gather collects row i of a Fortran-order array: element (i, j₁, …, jₖ) is at
// i + N·(j₁ + d₁·(j₂ + …)).
func (s *shard) gather(i int, dst []byte) error {
	size := s.head.DType.Size()
	dims := s.rowShape()
	index := make([]int, len(dims))
	stride := make([]int, len(dims))
	step := s.rows
	for k, d := range dims {
		stride[k] = step
		step *= d
	}
	at := i
	for e := 0; e < len(dst); e += size {
		if err := s.readAt(dst[e:e+size], s.head.Offset+int64(at)*int64(size)); err != nil {
			return err
		}
		for k := len(dims) - 1; k >= 0; k-- {
			index[k]++
			at += stride[k]
			if index[k] < dims[k] {
				break
			}
			at -= index[k] * stride[k]
			index[k] = 0
		}
	}
	return nil
}

// catchFault runs read and turns the fault of a mapped file that became shorter, or
// whose disk failed, into an error. No other panic is caught.
func catchFault(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		if fault, ok := r.(interface{ Addr() uintptr }); !ok || fault == nil {
			panic(r)
		}
		err = fmt.Errorf("reading failed: the file became shorter or its disk fails")
	}()
	return read()
}
