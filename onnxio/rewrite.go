package onnxio

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Rewrite writes a model to a file while the elements of some of its tensors are replaced, piece by piece, by others
// of the same type and number, so that tensors in external data need not be in memory. All else of the model stays as
// it is. A Rewrite ends with Commit or Discard.
type Rewrite struct {
	m       *Model
	path    string
	plan    *externalPlan
	tensors []*Elements
	targets map[*Elements]target
	moved   []copied

	staged  []*stagedFile // the data file, then the model
	file    outputFile    // the data file
	name    string        // of the data file, as the model says it
	placed  []region
	size    int64
	written *Model
}

// target is where the elements of a tensor go: to the data file, or to memory.
type target struct {
	raw    []byte
	offset int64
}

// copied is a tensor that goes to the data file as it is.
type copied struct {
	from region
	to   int64
}

// marker begins the location of external tensors that are being rewritten, while the layout of the data file is made.
const marker = "\x00"

// Rewrite begins to write the model to path with other elements in tensors, each of them once; elements of those that
// get none with Put are undefined. External data go to one new data file, as Save does it. The bytes of the model in
// memory change: but for the Rewrite, the model must not be used any more.
func (m *Model) Rewrite(path string, tensors []*Elements) (*Rewrite, error) {
	w := &Rewrite{m: m, path: path, tensors: tensors, targets: map[*Elements]target{}}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		w.path = target
	}
	switch {
	case m.external && isZstd(path):
		return nil, m.refuseZstd(path)
	case m.staged:
		return nil, fmt.Errorf("%s: external tensors were changed before", m.name)
	}
	outside := false
	for i, e := range tensors {
		if e.file == nil {
			w.targets[e] = target{raw: e.raw}
			continue
		}
		outside = true
		err := m.editSite(e.site, func(msg []byte) ([]byte, error) {
			r := e.source
			r.location = marker + strconv.Itoa(i)
			return withRegion(msg, e.site.t, r)
		})
		if err != nil {
			return nil, fmt.Errorf("%s: tensor %q: %w", m.name, e.Name, err)
		}
	}
	m.staged = false
	if m.external && (outside || m.dir == "" || !sameDir(m.dir, filepath.Dir(w.path))) {
		if err := w.layOut(); err != nil {
			w.Discard()
			return nil, m.named(err)
		}
	}
	return w, nil
}

// layOut gives every external tensor its place in a new data file and creates that.
func (w *Rewrite) layOut() error {
	w.plan = &externalPlan{path: w.path, data: w.m.Bytes(), relocate: true}
	shared := map[region]region{}
	var pos int64
	err := eachExternal(w.plan.data, func(t *TensorProto) error {
		r, err := regionOf(t)
		if err != nil {
			return err
		}
		e := w.marked(r)
		if e == nil {
			w.plan.use(r.location)
		} else {
			w.plan.use(e.source.location)
			r.length = int64(e.Len * e.Size)
		}
		w.plan.tensors = append(w.plan.tensors, r)
		key := region{location: r.location, offset: r.offset, length: r.length}
		if to, ok := shared[key]; ok {
			to.checksum = r.checksum
			w.placed = append(w.placed, to)
			return nil
		}
		if e == nil {
			if err := w.measure(t, &r); err != nil {
				return err
			}
		}
		to := region{offset: aligned(pos, r.length), length: r.length, checksum: r.checksum}
		pos = to.offset + to.length
		shared[key] = to
		if e == nil {
			w.moved = append(w.moved, copied{r, to.offset})
		} else {
			w.targets[e] = target{offset: to.offset}
		}
		w.placed = append(w.placed, to)
		return nil
	})
	if err != nil {
		return err
	}
	if w.name, err = w.m.dataName(w.plan); err != nil {
		return err
	}
	w.size = pos
	return w.create()
}

// marked returns the tensor that is being rewritten at r, or nil.
func (w *Rewrite) marked(r region) *Elements {
	if s, ok := strings.CutPrefix(r.location, marker); ok {
		if i, err := strconv.Atoi(s); err == nil && i >= 0 && i < len(w.tensors) {
			return w.tensors[i]
		}
	}
	return nil
}

// measure checks that the data of an external tensor are there.
func (w *Rewrite) measure(t *TensorProto, r *region) error {
	et, n, err := elements(t)
	if err != nil {
		return err
	}
	if n == 0 {
		r.length = 0
		return nil
	}
	f, size, err := w.m.openExternal(r.location)
	if err != nil {
		return err
	}
	defer f.Close()
	return r.checkSize((n*et.bits+7)/8, size)
}

func (w *Rewrite) create() error {
	s := &stagedFile{name: filepath.Join(filepath.Dir(w.path), w.name)}
	s.path = s.name
	f, old, err := s.open()
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	w.file, w.staged = f, []*stagedFile{s}
	if old != nil {
		err = f.Chmod(old.Mode().Perm())
	}
	if err = errors.Join(err, f.Truncate(w.size)); err != nil {
		return fmt.Errorf("%s: %w", s.name, plain(err))
	}
	return nil
}

// Put replaces elements of a tensor from index first on by those in p. Calls for different elements may run at once.
func (w *Rewrite) Put(e *Elements, p []byte, first int) error {
	t, ok := w.targets[e]
	at := first * e.Size
	switch {
	case len(p) == 0:
		return nil
	case !ok:
		return fmt.Errorf("%s: tensor %q is not being rewritten", w.m.name, e.Name)
	case t.raw != nil:
		copy(t.raw[at:], p)
		return nil
	}
	if _, err := w.file.WriteAt(p, t.offset+int64(at)); err != nil {
		return fmt.Errorf("%s: %w", w.staged[0].name, plain(err))
	}
	return nil
}

// Written completes the data file and returns the model as it will be: parsed from the bytes to be saved, with the
// data file that was written under a temporary name. It is for reading only.
func (w *Rewrite) Written() (*Model, error) {
	if w.written != nil {
		return w.written, nil
	}
	m := w.m
	for _, e := range w.tensors {
		if e.file == nil && e.typed && e.Len > 0 {
			old, err := rawOf(e.site.t, m)
			if err == nil {
				err = m.storeTensor(e.site, old, e.raw)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: tensor %q: %w", m.name, e.Name, err)
			}
		}
	}
	data := m.Bytes()
	if w.file != nil {
		var err error
		if data, err = w.finish(data); err != nil {
			return nil, err
		}
	}
	next := &Model{name: m.name, dir: m.dir, data: data}
	if w.file != nil {
		next.instead = map[string]string{w.name: w.staged[0].temp}
	}
	if err := next.parse(); err != nil {
		return nil, m.named(err)
	}
	if err := next.scanExternal(false); err != nil {
		return nil, m.named(err)
	}
	w.written = next
	return next, nil
}

// finish copies the tensors that stay as they are and returns the model that refers to the data file.
func (w *Rewrite) finish(data []byte) ([]byte, error) {
	name := w.staged[0].name
	for _, c := range w.moved {
		f, _, err := w.m.openExternal(c.from.location)
		if err != nil {
			return nil, w.m.named(err)
		}
		_, err = io.Copy(io.NewOffsetWriter(w.file, c.to), io.NewSectionReader(f, c.from.offset, c.from.length))
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", name, plain(err))
		}
	}
	sum := ""
	for _, r := range w.placed {
		if r.checksum == "" || sum != "" {
			continue
		}
		f, err := os.Open(w.staged[0].temp)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, plain(err))
		}
		hash := sha1.New()
		_, err = io.Copy(hash, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", name, plain(err))
		}
		sum = hex.EncodeToString(hash.Sum(nil))
	}
	return w.m.referring(data, w.name, sum, w.placed)
}

// Commit makes the written model durable and gives the files their names, the data file first.
func (w *Rewrite) Commit() error {
	defer w.Discard()
	next, err := w.Written()
	if err != nil {
		return err
	}
	if w.file != nil {
		err := w.file.Sync()
		err = errors.Join(err, w.file.Close())
		w.file = nil
		if err != nil {
			return fmt.Errorf("%s: %w", w.staged[0].name, plain(err))
		}
	}
	if size := next.Size(); size > MaxFileSize {
		return w.m.tooLarge(size)
	}
	model, err := stageFile(w.path, next.encode(w.path))
	if err != nil {
		return err
	}
	w.staged = append(w.staged, model)
	files := w.staged
	w.staged = nil
	return commitAll(files)
}

// Discard removes what was written and not committed.
func (w *Rewrite) Discard() {
	if w.file != nil {
		w.file.Close()
		w.file = nil
	}
	discard(w.staged)
	w.staged = nil
}
