package data

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
)

// Element is a type that shards may hold.
type Element interface {
	uint8 | int32 | int64 | float32 | float64
}

func dtypeOf[T Element]() DType {
	switch any(*new(T)).(type) {
	case int32:
		return Int32
	case int64:
		return Int64
	case float32:
		return Float32
	case float64:
		return Float64
	}
	return Uint8
}

// Writer writes one stream of a dataset, name-00000.npy, name-00001.npy and so on,
// in C order. A shard appears under its name only when it is complete.
type Writer[T Element] struct {
	dir, name string
	shape     []int
	elems     int // elements of one row
	perShard  int // rows of a full shard

	shard   int
	pending int // elements in the open shard
	file    *os.File
	buf     *bufio.Writer
	scratch []byte
}

// NewWriter begins the stream name in the existing directory dir. Rows have the
// given shape; every shard but the last has rowsPerShard of them.
func NewWriter[T Element](dir, name string, shape []int, rowsPerShard int) (*Writer[T], error) {
	if rowsPerShard < 1 {
		return nil, fmt.Errorf("%s: rows per shard %d, want at least 1", name, rowsPerShard)
	}
	elems := 1
	for _, d := range shape {
		if d < 1 {
			return nil, fmt.Errorf("%s: row shape %v, want dimensions of at least 1", name, shape)
		}
		elems *= d
	}
	return &Writer[T]{dir: dir, name: name, shape: append([]int(nil), shape...), elems: elems, perShard: rowsPerShard}, nil
}

// Write appends whole rows: len(rows) is a multiple of the row's elements.
func (w *Writer[T]) Write(rows []T) error {
	if len(rows)%w.elems != 0 {
		return fmt.Errorf("%s: %d elements are no whole rows of %v", w.name, len(rows), w.shape)
	}
	for len(rows) > 0 {
		if w.file == nil {
			if err := w.open(); err != nil {
				return err
			}
		}
		n := min(len(rows), w.perShard*w.elems-w.pending)
		w.scratch = appendElements(w.scratch[:0], rows[:n])
		if _, err := w.buf.Write(w.scratch); err != nil {
			return err
		}
		w.pending += n
		rows = rows[n:]
		if w.pending == w.perShard*w.elems {
			if err := w.finish(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close completes the last shard.
func (w *Writer[T]) Close() error {
	if w.file == nil {
		return nil
	}
	return w.finish()
}

// Abort removes the unfinished shard; complete ones stay.
func (w *Writer[T]) Abort() {
	if w.file != nil {
		w.file.Close()
		os.Remove(w.file.Name())
		w.file = nil
	}
}

func (w *Writer[T]) header() ([]byte, error) {
	shape := append([]int{w.pending / w.elems}, w.shape...)
	return formatHeader(Header{DType: dtypeOf[T](), Shape: shape})
}

func (w *Writer[T]) open() error {
	head, err := w.header()
	if err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	if w.file, err = os.CreateTemp(w.dir, "."+w.name+"-*.tmp"); err != nil {
		return err
	}
	w.pending = 0
	w.buf = bufio.NewWriterSize(w.file, 1<<16)
	_, err = w.buf.Write(head)
	return err
}

func (w *Writer[T]) finish() error {
	f := w.file
	head, err := w.header()
	if err == nil {
		err = w.buf.Flush()
	}
	if err == nil {
		_, err = f.WriteAt(head, 0)
	}
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		w.Abort()
		return err
	}
	w.file = nil
	name := filepath.Join(w.dir, shardName(w.name, w.shard))
	if err := errors.Join(f.Close(), os.Rename(f.Name(), name)); err != nil {
		os.Remove(f.Name())
		return err
	}
	w.shard++
	w.pending = 0
	return nil
}

func shardName(stream string, i int) string { return fmt.Sprintf("%s-%05d.npy", stream, i) }

func appendElements[T Element](b []byte, rows []T) []byte {
	le := binary.LittleEndian
	switch v := any(rows).(type) {
	case []uint8:
		return append(b, v...)
	case []int32:
		for _, x := range v {
			b = le.AppendUint32(b, uint32(x))
		}
	case []int64:
		for _, x := range v {
			b = le.AppendUint64(b, uint64(x))
		}
	case []float32:
		for _, x := range v {
			b = le.AppendUint32(b, math.Float32bits(x))
		}
	case []float64:
		for _, x := range v {
			b = le.AppendUint64(b, math.Float64bits(x))
		}
	}
	return b
}
