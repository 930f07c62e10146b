package onnxio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"sync"
)

// Elements gives access to the elements of one floating-point tensor of a model piece by piece, so that they need
// not be in memory together. Its methods may be called from several goroutines at once.
type Elements struct {
	Name     string
	DataType int32
	Shape    []int
	// Len is the number of elements, Size the bytes of each as raw_data holds it.
	Len, Size int

	site   site
	raw    []byte   // the elements, where they are in memory
	file   *os.File // else the file they lie in
	offset int64
	source region
	typed  bool // raw was made from a typed field
}

// Elements opens the elements of an initializer, or of the tensor of the Constant node with that output. Types:
// float, double, float16, bfloat16. The tensor's size is checked against its data. The caller closes what it got.
func (m *Model) Elements(name string) (*Elements, error) {
	s, err := m.tensorSite(name)
	if err != nil {
		return nil, err
	}
	e, err := m.elements(s)
	if err != nil {
		return nil, fmt.Errorf("%s: tensor %q: %w", m.name, name, err)
	}
	e.Name = name
	return e, nil
}

func (m *Model) elements(s site) (*Elements, error) {
	t := s.t
	if _, err := putter(t.GetDataType()); err != nil {
		return nil, err
	}
	et, n, err := elements(t)
	if err != nil {
		return nil, err
	}
	e := &Elements{DataType: t.GetDataType(), Len: n, Size: et.bits / 8, site: s}
	e.Shape, _, _ = shapeOf(t.Dims)
	if !IsExternal(t) || len(t.RawData) > 0 || n == 0 {
		e.raw, err = rawOf(t, m)
		e.typed = len(t.RawData) == 0
		return e, err
	}
	if n > math.MaxInt/et.bits {
		return nil, fmt.Errorf("shape %s has more elements than can be counted", shapeString(t.Dims))
	}
	r, err := regionOf(t)
	if err != nil {
		return nil, err
	}
	f, size, err := m.openExternal(r.location)
	if err != nil {
		return nil, err
	}
	if err := r.checkSize(n*e.Size, size); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	e.file, e.offset, e.source = f, r.offset, r
	return e, nil
}

// Close lets go of the file.
func (e *Elements) Close() error {
	if e.file == nil {
		return nil
	}
	return e.file.Close()
}

// Read fills p, a whole number of elements, with those from index first on.
func (e *Elements) Read(p []byte, first int) error {
	at := first * e.Size
	if e.file == nil {
		copy(p, e.raw[at:at+len(p)])
		return nil
	}
	if _, err := e.file.ReadAt(p, e.offset+int64(at)); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("tensor %q: external data %q: %w", e.Name, e.source.location, plain(err))
	}
	return nil
}

// Magnitudes sets each of to to the bits of |v| as a float32, of the elements that Read gave in p: numbers in the
// order of the magnitudes, NaN last. Doubles are rounded.
func (e *Elements) Magnitudes(to []uint32, p []byte) {
	const sign = 1 << 31
	switch e.DataType {
	case Float:
		for ; len(to) >= 4 && len(p) >= 16; to, p = to[4:], p[16:] {
			a, b := binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[8:])
			to[0], to[1] = uint32(a)&^sign, uint32(a>>32)&^sign
			to[2], to[3] = uint32(b)&^sign, uint32(b>>32)&^sign
		}
		for i := range to {
			to[i] = binary.LittleEndian.Uint32(p[4*i:]) &^ sign
		}
	case Bfloat16:
		for i := range to {
			to[i] = uint32(binary.LittleEndian.Uint16(p[2*i:])) << 16 &^ sign
		}
	case Float16:
		table := halfMagnitudes()
		for i := range to {
			to[i] = table[binary.LittleEndian.Uint16(p[2*i:])&0x7fff]
		}
	case Double:
		for i := range to {
			to[i] = math.Float32bits(float32(math.Float64frombits(binary.LittleEndian.Uint64(p[8*i:])))) &^ sign
		}
	}
}

// Pattern is the least encoding without sign that Magnitudes maps to key or more, the sign bit alone where there is
// none; not for doubles, whose magnitudes are rounded.
func (e *Elements) Pattern(key uint32) uint32 {
	switch e.DataType {
	case Bfloat16:
		return min(uint32((uint64(key)+0xffff)>>16), 1<<15)
	case Float16:
		i, _ := slices.BinarySearch(halfMagnitudes()[:], key)
		return uint32(i)
	}
	return min(key, 1<<31)
}

// EachMagnitude calls f with the magnitudes of all elements of an initializer, as Elements.Magnitudes decodes them,
// piece by piece and in order. Of a sparse one it has the magnitudes of the values that are stored.
func (m *Model) EachMagnitude(name string, f func(keys []uint32)) error {
	e, err := m.Elements(name)
	if s := m.sparseInitializer(name); s != nil {
		e, err = m.elements(site{t: s.Values})
	}
	if err != nil {
		return err
	}
	defer e.Close()
	const most = 1 << 16
	p, keys := make([]byte, min(e.Len, most)*e.Size), make([]uint32, min(e.Len, most))
	for first := 0; first < e.Len; first += most {
		n := min(most, e.Len-first)
		if err := e.Read(p[:n*e.Size], first); err != nil {
			return m.named(err)
		}
		e.Magnitudes(keys[:n], p)
		f(keys[:n])
	}
	return nil
}

func (m *Model) sparseInitializer(name string) *SparseTensorProto {
	for _, s := range m.Proto.Graph.SparseInitializer {
		if s.GetValues().GetName() == name {
			return s
		}
	}
	return nil
}

// halfMagnitudes maps the bits of positive float16 values to those of the same values in float32.
var halfMagnitudes = sync.OnceValue(func() *[1 << 15]uint32 {
	var table [1 << 15]uint32
	for i := range table {
		table[i] = math.Float32bits(smallFloats[Float16].decode(uint32(i)))
	}
	return &table
})
