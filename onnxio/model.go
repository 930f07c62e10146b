package onnxio

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// Limits of what this package knows.
const (
	// MaxOpset is the highest version of the default operator set (domain "", also written "ai.onnx") that is known.
	MaxOpset = 28
	// MaxIRVersion is the highest version of the intermediate representation that is known.
	MaxIRVersion = int64(Version_IR_VERSION)
	// MaxFileSize is the largest protobuf message there can be, in bytes; tensors beyond it must be external.
	MaxFileSize = math.MaxInt32
)

// Field numbers of GraphProto that edits deal with.
const (
	graphNode        = 1
	graphInitializer = 5
	graphInput       = 11
)

// Model is an ONNX model together with the bytes it was read from.
//
// Proto is the parsed view, to be read only: changes go through the methods, which keep Proto and the bytes in step
// (or through Remarshal, which takes other values in its fields, but not other elements in a RawData: these are the
// bytes of the file).
type Model struct {
	Proto *ModelProto

	name    string // as given by the user, for messages
	dir     string // where external data lies; "" where the model did not come from a file
	data    []byte // the file as read
	parts   []part // its top-level fields, in order
	entries []entry
	changed bool // entries differ from data

	external bool              // there are external tensors
	instead  map[string]string // files, by location, that external data are read from while they have another name
	staged   bool              // new elements of external tensors wait in raw_data
}

// part is a field of ModelProto; one that holds (a piece of) the graph has its entries in Model.entries.
type part struct {
	raw   []byte
	graph bool
}

// entry is a field of GraphProto.
type entry struct {
	part int // index into Model.parts
	num  int
	raw  []byte
}

// payload is the content of an entry that holds a message.
func (e entry) payload() []byte {
	f, _, err := nextField(e.raw)
	if err != nil {
		panic("onnxio: entry was checked at load: " + err.Error())
	}
	return f.payload
}

// Load reads the model at path, which may be compressed by Zstandard. External data stays on disk until it is asked for.
//
// Errors start with path: the file is missing, not a regular file, cut short, not ONNX, of an IR or opset version
// beyond MaxIRVersion or MaxOpset, or asks for more memory or nesting than its size justifies.
func Load(path string) (*Model, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if data, err = decompressed(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m, err := LoadBytes(path, data)
	if err != nil {
		return nil, err
	}
	m.dir = filepath.Dir(path)
	return m, nil
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, plain(err)
	}
	switch {
	case info.IsDir():
		return nil, errors.New("is a directory, not an ONNX file")
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a regular file")
	case info.Size() > MaxFileSize:
		return nil, fmt.Errorf("has %d bytes, an ONNX file has at most %d (larger models keep tensors in external data)",
			info.Size(), MaxFileSize)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, plain(err)
	}
	defer f.Close()
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("reading %d bytes: %w", len(data), plain(err))
	}
	return data, nil
}

// plain strips the operation and the path from an error of package os.
func plain(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// LoadBytes parses a model held in memory; name stands for it in messages. The model keeps data, which must not
// change afterwards. Its external data, if any, cannot be read.
func LoadBytes(name string, data []byte) (*Model, error) {
	m := &Model{name: name, data: data}
	if err := m.parse(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := m.scanExternal(false); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := m.checkVersions(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

func (m *Model) parse() error {
	if err := notONNX(m.data); err != nil {
		return err
	}
	if err := checkWire(m.data); errors.Is(err, errTooMuch) {
		return err
	} else if err != nil {
		return fmt.Errorf("truncated or not an ONNX model: %w", err)
	}
	m.Proto = &ModelProto{}
	if err := unmarshalShared(modelMessage, m.data, m.Proto); err != nil {
		return fmt.Errorf("not an ONNX model: %s", strings.TrimPrefix(err.Error(), "proto: "))
	}
	if m.Proto.Graph == nil {
		return errors.New("not an ONNX model: it has no graph")
	}
	m.index()
	return nil
}

// scanExternal notes whether the model has external tensors. New elements for them, in raw_data, may wait for Save
// (staged), but a file must not have both.
func (m *Model) scanExternal(staged bool) error {
	m.external, m.staged = false, false
	return eachExternal(m.data, func(t *TensorProto) error {
		m.external = true
		num, err := storedIn(t)
		switch {
		case err != nil:
			return err
		case num == tensorRawData && staged:
			m.staged = true
		case num != 0:
			return fmt.Errorf("has %s and external data as well", dataFields[num])
		}
		return nil
	})
}

func notONNX(data []byte) error {
	switch {
	case len(data) == 0:
		return errors.New("not an ONNX model: the file is empty")
	case bytes.HasPrefix(data, []byte("version https://git-lfs")):
		return errors.New("not an ONNX model: it is a Git LFS pointer\nhint: fetch the file itself with git lfs pull")
	}
	return nil
}

// index splits the checked bytes into parts and entries.
func (m *Model) index() {
	m.parts, m.entries = nil, nil
	for b := m.data; len(b) > 0; {
		f, rest, _ := nextField(b)
		p := part{raw: f.raw, graph: f.num == 7}
		m.parts = append(m.parts, p)
		for g := f.payload; p.graph && len(g) > 0; {
			e, next, _ := nextField(g)
			m.entries = append(m.entries, entry{part: len(m.parts) - 1, num: e.num, raw: e.raw})
			g = next
		}
		b = rest
	}
	m.changed = false
}

func (m *Model) checkVersions() error {
	var bad []string
	ir := m.Proto.GetIrVersion()
	switch {
	case m.Proto.IrVersion == nil:
		bad = append(bad, "has no ir_version")
	case ir < 1 || ir > MaxIRVersion:
		bad = append(bad, fmt.Sprintf("ir version %d, supported are 1 to %d", ir, MaxIRVersion))
	case ir >= 3 && len(m.Proto.OpsetImport) == 0:
		bad = append(bad, fmt.Sprintf("has no opset_import, ir version %d needs it", ir))
	}
	for _, o := range m.Proto.OpsetImport {
		if v := o.GetVersion(); isDefaultDomain(o.GetDomain()) && (v < 1 || v > MaxOpset) {
			bad = append(bad, fmt.Sprintf("opset version %d, supported are 1 to %d", v, MaxOpset))
		}
	}
	if bad == nil {
		return nil
	}
	return errors.New(strings.Join(bad, "; "))
}

func isDefaultDomain(d string) bool { return d == "" || d == "ai.onnx" }

// Name returns the name the model was loaded under, as given by the user.
func (m *Model) Name() string { return m.name }

// Opset returns the version of an imported operator set, 0 where it is not imported. The domains "" and "ai.onnx"
// are the same.
func (m *Model) Opset(domain string) int64 {
	for _, o := range m.Proto.OpsetImport {
		if o.GetDomain() == domain || isDefaultDomain(domain) && isDefaultDomain(o.GetDomain()) {
			return o.GetVersion()
		}
	}
	return 0
}

// Remarshal takes Proto, however it was changed, as the new content of the model: its messages are encoded afresh, in
// the order of field numbers. Unknown fields are kept. An external tensor gets new elements by setting its raw_data.
func (m *Model) Remarshal() error {
	data, err := m.Proto.Marshal()
	if err != nil {
		return m.named(err)
	}
	if len(data) > MaxFileSize {
		return m.tooLarge(int64(len(data)))
	}
	next := &Model{name: m.name, dir: m.dir, data: data}
	if err := next.parse(); err != nil {
		return m.named(err)
	}
	if err := next.scanExternal(true); err != nil {
		return m.named(err)
	}
	*m = *next
	return nil
}
