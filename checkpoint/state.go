// Package checkpoint keeps the state of a run in files, from which it goes on after it was
// interrupted. A file is written whole or not at all, every byte of it is covered by a
// SHA-256, and its form has a version.
//
// # Format, version 1
//
// All numbers are little-endian.
//
//	0   8 bytes   "onnxprCK"
//	8   uint32    version, 1
//	12  uint32    0
//	16  uint64    bytes of the manifest, M
//	24  32 bytes  SHA-256 of the manifest
//	56  M bytes   the manifest, JSON
//	    …         the blobs that it lists, in order, without gaps; the file ends with the last
//
// The manifest has
//
//	run       what the command keeps: its arguments, hashes of model and data, the report
//	position  what the training loop keeps: passes, steps, epochs so far, divergences
//	blobs     [{"bytes", "sha256"}]
//	tensors   [{"name", "type", "count", "blob"}]: elements of type float32 or float64, or bit
//	          (eight to a byte, the first lowest), of the blob of that number; equal blobs are
//	          stored once
//
// A run that is complete leaves a checkpoint that says so, without tensors.
package checkpoint

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Version of the format.
const Version = 1

// Type is that of the elements of a tensor.
type Type string

// The types: IEEE 754 numbers, and single bits.
const (
	Float32 Type = "float32"
	Float64 Type = "float64"
	Bit     Type = "bit"
)

// size is the length in bytes of n elements.
func (t Type) size(n int) (int, bool) {
	switch {
	case n < 0:
		return 0, false
	case t == Float32 && n <= math.MaxInt/4:
		return 4 * n, true
	case t == Float64 && n <= math.MaxInt/8:
		return 8 * n, true
	case t == Bit:
		return n/8 + (n%8+7)/8, true
	}
	return 0, false
}

// State is what a checkpoint holds.
type State struct {
	// Run and Position are JSON of those who write them.
	Run, Position json.RawMessage
	// Complete marks a run that has written its outputs.
	Complete bool

	tensors []tensor
	index   map[string]int
}

// tensor is a named vector: live elements while writing, bytes of the file after reading.
type tensor struct {
	name    string
	kind    Type
	count   int
	floats  []float32
	doubles []float64
	raw     []byte
}

// key makes a name that JSON keeps as it is.
func key(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	return strconv.QuoteToASCII(name)
}

func (s *State) add(t tensor) {
	if s.index == nil {
		s.index = map[string]int{}
	}
	t.name = key(t.name)
	if at, ok := s.index[t.name]; ok {
		s.tensors[at] = t
		return
	}
	s.index[t.name] = len(s.tensors)
	s.tensors = append(s.tensors, t)
}

// AddFloats enters elements, which must not change before the state is written. An entry
// of the same name is replaced.
func (s *State) AddFloats(name string, v []float32) {
	s.add(tensor{name: name, kind: Float32, count: len(v), floats: v})
}

// AddDoubles is AddFloats for float64.
func (s *State) AddDoubles(name string, v []float64) {
	s.add(tensor{name: name, kind: Float64, count: len(v), doubles: v})
}

// AddBits enters n bits; they are copied.
func (s *State) AddBits(name string, n int, at func(i int) bool) {
	raw := make([]byte, n/8+(n%8+7)/8)
	for i := range n {
		if at(i) {
			raw[i/8] |= 1 << (i % 8)
		}
	}
	s.add(tensor{name: name, kind: Bit, count: n, raw: raw})
}

// Has reports whether there is a tensor of that name.
func (s *State) Has(name string) bool {
	_, ok := s.index[key(name)]
	return ok
}

// Names lists the tensors in order.
func (s *State) Names() []string {
	var names []string
	for _, t := range s.tensors {
		names = append(names, t.name)
	}
	return names
}

// find returns a tensor of exactly that type and length.
func (s *State) find(name string, kind Type, count int) (*tensor, error) {
	at, ok := s.index[key(name)]
	if !ok {
		return nil, fmt.Errorf("%q is missing", name)
	}
	t := &s.tensors[at]
	if t.kind != kind || t.count != count {
		return nil, fmt.Errorf("%q has %d elements of type %s, wants %d of type %s", name, t.count, t.kind, count, kind)
	}
	return t, nil
}

// Floats copies the elements of a tensor, which must be as many as dst has.
func (s *State) Floats(name string, dst []float32) error {
	t, err := s.find(name, Float32, len(dst))
	if err != nil {
		return err
	}
	if t.raw == nil {
		copy(dst, t.floats)
		return nil
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.raw[4*i:]))
	}
	return nil
}

// Doubles is Floats for float64.
func (s *State) Doubles(name string, dst []float64) error {
	t, err := s.find(name, Float64, len(dst))
	if err != nil {
		return err
	}
	if t.raw == nil {
		copy(dst, t.doubles)
		return nil
	}
	for i := range dst {
		dst[i] = math.Float64frombits(binary.LittleEndian.Uint64(t.raw[8*i:]))
	}
	return nil
}

// Bits hands the n bits of a tensor to set.
func (s *State) Bits(name string, n int, set func(i int, v bool)) error {
	t, err := s.find(name, Bit, n)
	if err != nil {
		return err
	}
	for i := range n {
		set(i, t.raw[i/8]>>(i%8)&1 != 0)
	}
	return nil
}

// Entry is a tensor of a state, to be entered into another.
type Entry struct{ t tensor }

// Copy returns an entry with elements of its own.
func (e Entry) Copy() Entry {
	e.t.floats, e.t.doubles, e.t.raw = slices.Clone(e.t.floats), slices.Clone(e.t.doubles), slices.Clone(e.t.raw)
	return e
}

// Each calls f for every tensor, in order.
func (s *State) Each(f func(name string, e Entry)) {
	for _, t := range s.tensors {
		f(t.name, Entry{t})
	}
}

// Add enters a tensor of another state, which shares its elements.
func (s *State) Add(name string, e Entry) {
	e.t.name = name
	s.add(e.t)
}
