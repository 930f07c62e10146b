package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
)

const (
	magic      = "onnxprCK"
	headerSize = 56
)

// manifest is the JSON part of a file.
type manifest struct {
	Complete bool              `json:"complete,omitempty"`
	Run      json.RawMessage   `json:"run"`
	Position json.RawMessage   `json:"position"`
	Blobs    list[blobEntry]   `json:"blobs"`
	Tensors  list[tensorEntry] `json:"tensors"`
}

// list is a JSON array whose elements are checked one by one, so that it takes no more
// memory than a small multiple of its text.
type list[T interface{ check() error }] []T

// UnmarshalJSON implements [json.Unmarshaler].
func (l *list[T]) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return errors.New("no list")
	}
	for d.More() {
		var e T
		if err := d.Decode(&e); err != nil {
			return err
		}
		if err := e.check(); err != nil {
			return fmt.Errorf("entry %d: %w", len(*l), err)
		}
		*l = append(*l, e)
	}
	return nil
}

type blobEntry struct {
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
}

func (b blobEntry) check() error {
	if b.Bytes < 0 || len(b.SHA256) != 2*sha256.Size {
		return fmt.Errorf("%d bytes with SHA-256 %.12q", b.Bytes, b.SHA256)
	}
	return nil
}

type tensorEntry struct {
	Name  string `json:"name"`
	Type  Type   `json:"type"`
	Count int    `json:"count"`
	Blob  int    `json:"blob"`
}

func (t tensorEntry) check() error {
	if _, ok := t.Type.size(t.Count); !ok || t.Name == "" {
		return fmt.Errorf("tensor %q has %d elements of type %q, wants float32, float64 or bit", t.Name, t.Count, t.Type)
	}
	return nil
}

// WriteTo writes the state in the format of the package.
func (s *State) WriteTo(w io.Writer) (int64, error) {
	m := manifest{Complete: s.Complete, Run: s.Run, Position: s.Position, Blobs: []blobEntry{}, Tensors: []tensorEntry{}}
	if m.Run == nil {
		m.Run = json.RawMessage("null")
	}
	if m.Position == nil {
		m.Position = json.RawMessage("null")
	}
	known := map[blobEntry]int{}
	var order []*tensor
	for i := range s.tensors {
		t := &s.tensors[i]
		sum := sha256.New()
		if err := t.write(sum); err != nil {
			return 0, err
		}
		size, _ := t.kind.size(t.count)
		b := blobEntry{size, hex.EncodeToString(sum.Sum(nil))}
		at, ok := known[b]
		if !ok {
			at = len(m.Blobs)
			known[b] = at
			m.Blobs = append(m.Blobs, b)
			order = append(order, t)
		}
		m.Tensors = append(m.Tensors, tensorEntry{t.name, t.kind, t.count, at})
	}
	text, err := json.Marshal(&m)
	if err != nil {
		return 0, err
	}
	sum := sha256.Sum256(text)
	head := []byte(magic)
	head = binary.LittleEndian.AppendUint32(head, Version)
	head = binary.LittleEndian.AppendUint32(head, 0)
	head = binary.LittleEndian.AppendUint64(head, uint64(len(text)))
	head = append(head, sum[:]...)
	c := &counter{w: w}
	for _, b := range [][]byte{head, text} {
		if _, err := c.Write(b); err != nil {
			return c.n, err
		}
	}
	for _, t := range order {
		if err := t.write(c); err != nil {
			return c.n, err
		}
	}
	return c.n, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// write puts out the elements.
func (t *tensor) write(w io.Writer) error {
	if t.raw != nil {
		_, err := w.Write(t.raw)
		return err
	}
	var buffer [1 << 15]byte
	for lo := 0; lo < len(t.floats); lo += len(buffer) / 4 {
		b := buffer[:0]
		for _, v := range t.floats[lo:min(len(t.floats), lo+len(buffer)/4)] {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	for lo := 0; lo < len(t.doubles); lo += len(buffer) / 8 {
		b := buffer[:0]
		for _, v := range t.doubles[lo:min(len(t.doubles), lo+len(buffer)/8)] {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// Parse reads a checkpoint and verifies every byte of it. The state keeps b. Memory beyond
// that is a small multiple of the manifest, which is part of b. Errors say what was found
// and expected.
func Parse(b []byte) (*State, error) {
	m, blobs, err := parseManifest(b)
	if err != nil {
		return nil, err
	}
	s := &State{Run: m.Run, Position: m.Position, Complete: m.Complete, index: make(map[string]int, len(m.Tensors))}
	parts := make([][]byte, len(m.Blobs))
	for i, e := range m.Blobs {
		if e.Bytes > len(blobs) {
			return nil, fmt.Errorf("blob %d has %d bytes, %d are left: the file was cut", i, e.Bytes, len(blobs))
		}
		parts[i], blobs = blobs[:e.Bytes:e.Bytes], blobs[e.Bytes:]
		sum := sha256.Sum256(parts[i])
		if found := hex.EncodeToString(sum[:]); found != e.SHA256 {
			return nil, fmt.Errorf("blob %d has SHA-256 %.12s, expected %.12s: the file was changed", i, found, e.SHA256)
		}
	}
	if len(blobs) > 0 {
		return nil, fmt.Errorf("%d bytes after the last blob: the file was changed", len(blobs))
	}
	for _, e := range m.Tensors {
		size, _ := e.Type.size(e.Count)
		switch {
		case e.Blob < 0 || e.Blob >= len(parts):
			return nil, fmt.Errorf("tensor %q is in blob %d, there are %d", e.Name, e.Blob, len(parts))
		case len(parts[e.Blob]) != size:
			return nil, fmt.Errorf("tensor %q takes %d bytes, its blob has %d", e.Name, size, len(parts[e.Blob]))
		case s.Has(e.Name):
			return nil, fmt.Errorf("tensor %q is there twice", e.Name)
		}
		s.add(tensor{name: e.Name, kind: e.Type, count: e.Count, raw: parts[e.Blob]})
	}
	return s, nil
}

// parseManifest returns the manifest and what comes after it.
func parseManifest(b []byte) (*manifest, []byte, error) {
	if len(b) < headerSize {
		return nil, nil, fmt.Errorf("%d bytes, a checkpoint has at least %d: the file was cut", len(b), headerSize)
	}
	if string(b[:8]) != magic {
		return nil, nil, fmt.Errorf("begins with %q, a checkpoint begins with %q", b[:8], magic)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != Version {
		return nil, nil, fmt.Errorf("format version %d, this program reads version %d", v, Version)
	}
	if v := binary.LittleEndian.Uint32(b[12:]); v != 0 {
		return nil, nil, fmt.Errorf("the word behind the version is %d, wants 0: the file was changed", v)
	}
	size := binary.LittleEndian.Uint64(b[16:])
	rest := b[headerSize:]
	if size > uint64(len(rest)) {
		return nil, nil, fmt.Errorf("the manifest has %d bytes, %d are there: the file was cut", size, len(rest))
	}
	text := rest[:size]
	if sum := sha256.Sum256(text); !bytes.Equal(sum[:], b[24:headerSize]) {
		return nil, nil, fmt.Errorf("the manifest has SHA-256 %x, expected %x: the file was changed", sum[:6], b[24:30])
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var m manifest
	if err := d.Decode(&m); err != nil {
		return nil, nil, fmt.Errorf("manifest: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("manifest: more than one JSON value")
	}
	return &m, rest[size:], nil
}
