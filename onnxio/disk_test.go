package onnxio

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// faulty is a disk whose operation number at fails, counted over all files.
type faulty struct {
	at, n int
	last  string
}

func (d *faulty) fails(what string) error {
	if d.n++; d.n == d.at {
		d.last = what
		return syscall.EIO
	}
	return nil
}

func (d *faulty) create(name string) (outputFile, error) {
	if err := d.fails("create"); err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	f, err := system{}.create(name)
	return &faultyFile{f, d}, err
}

func (d *faulty) rename(from, to string) error {
	if err := d.fails("rename"); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return system{}.rename(from, to)
}

type faultyFile struct {
	outputFile
	d *faulty
}

func (f *faultyFile) fails(what string) error {
	if err := f.d.fails(what); err != nil {
		return &os.PathError{Op: what, Path: f.Name(), Err: err}
	}
	return nil
}

// Write writes half of what it is given where it fails.
func (f *faultyFile) Write(b []byte) (int, error) {
	if err := f.fails("write"); err != nil {
		n, _ := f.outputFile.Write(b[:len(b)/2])
		return n, err
	}
	return f.outputFile.Write(b)
}

func (f *faultyFile) Chmod(mode os.FileMode) error {
	return errors.Join(f.fails("chmod"), f.outputFile.Chmod(mode))
}

func (f *faultyFile) Sync() error { return errors.Join(f.fails("sync"), f.outputFile.Sync()) }

func (f *faultyFile) Close() error { return errors.Join(f.fails("close"), f.outputFile.Close()) }

// TestFaultsOfTheDisk lets every operation of a write fail in turn: the error names the file
// once, what was there stays, and nothing is left beside it.
func TestFaultsOfTheDisk(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	check(t, os.WriteFile(path, []byte("old"), 0o640))
	defer func() { disk = system{} }()
	content := bytes.Repeat([]byte("new "), 1<<19)
	var seen []string
	for at := 1; ; at++ {
		d := &faulty{at: at}
		disk = d
		err := WriteFileAtomic(path, func(w io.Writer) error { _, err := w.Write(content); return err })
		if d.last == "" {
			check(t, err)
			break
		}
		seen = append(seen, d.last)
		if !errors.Is(err, syscall.EIO) || err.Error() != path+": input/output error" {
			t.Errorf("%s fails: error %v", d.last, err)
		}
		if got := names(t, dir); !slices.Equal(got, []string{"out"}) || string(read(t, path)) != "old" {
			t.Errorf("%s fails: files %v", d.last, got)
		}
	}
	if !bytes.Equal(read(t, path), content) {
		t.Error("without faults the content is another")
	}
	if got := strings.Join(seen, " "); got != "create chmod write sync close rename" {
		t.Errorf("operations %s", got)
	}
}

// TestFaultsOfTheDiskWithData is the same for a model with a file of external data: neither
// is replaced, unless both can be, but for a fault between the two names.
func TestFaultsOfTheDiskWithData(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.onnx")
	m := mustLoad(t, externalModel(t, nil))
	check(t, m.MaskTensor("w", make([]bool, 4)))
	check(t, m.Save(path))
	before := fmt.Sprintf("%x %x", read(t, path), read(t, path+".data"))
	check(t, m.SetTensor("w", []float32{1, 2, 3, 4}))
	defer func() { disk = system{} }()
	for at := 1; ; at++ {
		d := &faulty{at: at}
		disk = d
		err := m.Save(path)
		if d.last == "" {
			check(t, err)
			break
		}
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("operation %d, %s, fails: error %v", at, d.last, err)
		}
		if got := names(t, dir); !slices.Equal(got, []string{"out.onnx", "out.onnx.data"}) {
			t.Errorf("operation %d, %s, fails: files %v", at, d.last, got)
		}
		if now := fmt.Sprintf("%x %x", read(t, path), read(t, path+".data")); d.last != "rename" && now != before {
			t.Errorf("operation %d, %s, fails: the files changed", at, d.last)
		}
		disk = system{}
		if d.last == "rename" {
			check(t, os.Chmod(path, 0o666))
			before = fmt.Sprintf("%x %x", read(t, path), read(t, path+".data"))
		}
	}
}
