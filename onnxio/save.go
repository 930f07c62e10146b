package onnxio

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Save writes the model to path, atomically; path may be where it was read from. Where it ends in .zst, the file is
// compressed by Zstandard; a model with external data cannot be.
//
// The bytes are those read, but for what was changed. A model whose tensors are external keeps their data files: in
// the same directory they are shared with the original; in another directory they are copied under the same names.
// Where an external tensor was changed, or such a name is taken there by another file, all external data go into one
// new file beside the output, named <path>.data (<path>.1.data and so on where the model itself reads that name, so
// that no file it depends on is overwritten), offsets aligned. Data files are written before the model.
//
// Where the file would be larger than MaxFileSize, the elements of its initializers go to a data file too; the model in
// memory must then not be used any more.
//
// Errors start with the file's name; the model then is as it was before, on disk as well.
func (m *Model) Save(path string) error {
	if m.external && isZstd(path) {
		return m.refuseZstd(path)
	}
	if size := m.Size(); size > maxFileSize && !m.staged {
		if isZstd(path) {
			return m.tooLarge(size)
		}
		if err := m.moveOut(); err != nil {
			return err
		}
	}
	external, err := m.planExternal(path)
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	if external != nil {
		return m.saveExternal(path, external)
	}
	if size := m.Size(); size > maxFileSize {
		return m.tooLarge(size)
	}
	return WriteFileAtomic(path, m.encode(path))
}

func (m *Model) tooLarge(size int64) error {
	return fmt.Errorf("%s: the model would take %d bytes, an ONNX file has at most %d\n"+
		"hint: start from a model whose tensors are stored as external data", m.name, size, MaxFileSize)
}

// Bytes returns the encoded model as Save would write it, external tensors that were changed excepted: those have
// their new elements in raw_data.
func (m *Model) Bytes() []byte {
	if !m.changed {
		return m.data
	}
	b := make([]byte, 0, m.Size())
	m.eachPiece(func(p []byte) error {
		b = append(b, p...)
		return nil
	})
	return b
}

// Size is the number of bytes of the model as edited, without those of external data.
func (m *Model) Size() int64 {
	var n int64
	m.eachPiece(func(p []byte) error {
		n += int64(len(p))
		return nil
	})
	return n
}

func (m *Model) write(w io.Writer) error {
	return m.eachPiece(func(p []byte) error {
		_, err := w.Write(p)
		return err
	})
}

// eachPiece calls f for the pieces of the encoded model, in order.
func (m *Model) eachPiece(f func([]byte) error) error {
	if !m.changed {
		return f(m.data)
	}
	sizes := make([]uint64, len(m.parts))
	for _, e := range m.entries {
		sizes[e.part] += uint64(len(e.raw))
	}
	next := 0
	for i, p := range m.parts {
		if !p.graph {
			if err := f(p.raw); err != nil {
				return err
			}
			continue
		}
		if err := f(binary.AppendUvarint([]byte{7<<3 | wireBytes}, sizes[i])); err != nil {
			return err
		}
		for ; next < len(m.entries) && m.entries[next].part == i; next++ {
			if err := f(m.entries[next].raw); err != nil {
				return err
			}
		}
	}
	return nil
}

// planExternal decides what to do with the external data on saving to path: nothing (nil) or a list of files.
func (m *Model) planExternal(path string) (*externalPlan, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if !m.external || !m.staged && m.dir != "" && sameDir(m.dir, filepath.Dir(path)) {
		return nil, nil
	}
	plan := &externalPlan{path: path, data: m.Bytes(), relocate: m.staged}
	err := eachExternal(plan.data, func(t *TensorProto) error {
		r, err := regionOf(t)
		if err != nil {
			return err
		}
		plan.use(r.location)
		plan.tensors = append(plan.tensors, r)
		return nil
	})
	return plan, err
}

func sameDir(a, b string) bool {
	ia, errA := os.Stat(a)
	ib, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(ia, ib)
}
