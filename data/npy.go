package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// DType is the element type of an NPY array. Multi-byte types are little-endian.
type DType uint8

// The element types that shards may hold.
const (
	Uint8 DType = iota
	Int32
	Int64
	Float32
	Float64
)

var dtypes = [...]struct {
	descr, name string
	size        int
}{
	Uint8:   {"|u1", "uint8", 1},
	Int32:   {"<i4", "int32", 4},
	Int64:   {"<i8", "int64", 8},
	Float32: {"<f4", "float32", 4},
	Float64: {"<f8", "float64", 8},
}

// Size is the number of bytes of one element.
func (t DType) Size() int { return dtypes[t].size }

// String is the ONNX and NumPy name of the type, for example "float32".
func (t DType) String() string { return dtypes[t].name }

func parseDType(descr string) (DType, error) {
	for i, d := range dtypes {
		if d.descr == descr || (descr == "<u1" || descr == "u1") && d.size == 1 {
			return DType(i), nil
		}
	}
	return 0, fmt.Errorf("dtype %q is not supported, want one of |u1 <i4 <i8 <f4 <f8", descr)
}

// Header is the description at the head of an NPY file.
type Header struct {
	DType   DType
	Fortran bool  // first index varies fastest
	Shape   []int // [rows, …]; empty for a scalar
	Offset  int64 // bytes before the first element
}

// maxHeader bounds the dictionary's text; NumPy itself refuses more than 10,000
// characters, and 65,535 is all that version 1.0 can say.
const maxHeader = 1 << 16

// ErrTruncated marks a file that is shorter than its header says.
var ErrTruncated = errors.New("file is truncated")

// ReadHeader reads the NPY header (versions 1.0, 2.0 and 3.0) of a file of size
// bytes and checks that the elements it announces are there: size = Offset +
// elements · DType.Size(). A shorter file gives an error that wraps ErrTruncated, a
// longer one an error too. It allocates at most 64 KiB.
func ReadHeader(r io.ReaderAt, size int64) (Header, error) {
	var pre [12]byte
	if size < 10 {
		return Header{}, fmt.Errorf("%w: %d bytes, an NPY header needs at least 10", ErrTruncated, size)
	}
	n := 10
	if _, err := r.ReadAt(pre[:10], 0); err != nil && err != io.EOF {
		return Header{}, err
	}
	if string(pre[:6]) != "\x93NUMPY" {
		return Header{}, fmt.Errorf("not an NPY file: it starts with %q, want \"\\x93NUMPY\"", pre[:6])
	}
	length := int64(binary.LittleEndian.Uint16(pre[8:]))
	switch major, minor := pre[6], pre[7]; {
	case minor != 0 || major < 1 || major > 3:
		return Header{}, fmt.Errorf("NPY version %d.%d is not known, want 1.0, 2.0 or 3.0", major, minor)
	case major > 1:
		n = 12
		if size < 12 {
			return Header{}, fmt.Errorf("%w: %d bytes, an NPY %d.0 header needs at least 12", ErrTruncated, size, major)
		}
		if _, err := r.ReadAt(pre[10:], 10); err != nil && err != io.EOF {
			return Header{}, err
		}
		length = int64(binary.LittleEndian.Uint32(pre[8:]))
	}
	if length > maxHeader {
		return Header{}, fmt.Errorf("NPY header of %d bytes, at most %d are accepted", length, maxHeader)
	}
	if int64(n)+length > size {
		return Header{}, fmt.Errorf("%w: %d bytes, the NPY header alone needs %d", ErrTruncated, size, int64(n)+length)
	}
	text := make([]byte, length)
	if _, err := r.ReadAt(text, int64(n)); err != nil && err != io.EOF {
		return Header{}, err
	}
	h, err := parseHeader(string(text))
	if err != nil {
		return Header{}, fmt.Errorf("NPY header: %w", err)
	}
	h.Offset = int64(n) + length
	return h, h.checkSize(size)
}

func (h Header) checkSize(size int64) error {
	want, ok := int64(h.DType.Size()), true
	for _, d := range h.Shape {
		if d == 0 {
			want, ok = 0, true
			break
		}
		if int64(d) > math.MaxInt64/2/want {
			ok = false
			want = 1
		}
		want *= int64(d)
	}
	switch have := size - h.Offset; {
	case !ok:
		return fmt.Errorf("%w: %d bytes of elements, shape %v of %s needs more than 2^62", ErrTruncated, have, h.Shape, h.DType)
	case have < want:
		return fmt.Errorf("%w: %d bytes of elements, shape %v of %s needs %d", ErrTruncated, have, h.Shape, h.DType, want)
	case have > want:
		return fmt.Errorf("%d bytes of elements, shape %v of %s needs only %d", have, h.Shape, h.DType, want)
	}
	return nil
}

// formatHeader is an NPY 1.0 header of exactly 128 bytes, room for any number of
// rows in place of shape[0].
func formatHeader(h Header) ([]byte, error) {
	dims := make([]string, len(h.Shape))
	for i, d := range h.Shape {
		dims[i] = strconv.Itoa(d)
	}
	shape := strings.Join(dims, ", ")
	if len(dims) == 1 {
		shape += ","
	}
	order := "False"
	if h.Fortran {
		order = "True"
	}
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': (%s), }", dtypes[h.DType].descr, order, shape)
	pad := headerSize - 10 - len(text) - 1
	if pad < 0 {
		return nil, fmt.Errorf("shape %v does not fit an NPY header of %d bytes", h.Shape, headerSize)
	}
	out := append([]byte("\x93NUMPY\x01\x00"), headerSize-10, 0)
	out = append(out, text...)
	out = append(out, strings.Repeat(" ", pad)...)
	return append(out, '\n'), nil
}

const headerSize = 128
