package onnxio

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestWriteFileAtomic(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	text := func(s string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
	}
	failing := func(w io.Writer) error {
		w.Write(make([]byte, 3<<20))
		return syscall.ENOSPC
	}
	if err := WriteFileAtomic(path, failing); err == nil || err.Error() != path+": no space left on device" {
		t.Errorf("error %v", err)
	}
	if got := names(t, dir); got != nil {
		t.Errorf("files %v after a failed write", got)
	}
	check(t, WriteFileAtomic(path, text("one")))
	check(t, os.Chmod(path, 0o640))
	if WriteFileAtomic(path, failing) == nil || string(read(t, path)) != "one" {
		t.Error("a failed write changed the file")
	}
	link := filepath.Join(dir, "link")
	check(t, os.Symlink("out", link))
	check(t, WriteFileAtomic(link, text("two")))
	info, err := os.Lstat(path)
	check(t, err)
	if string(read(t, path)) != "two" || info.Mode() != 0o640 {
		t.Errorf("%q, mode %v", read(t, path), info.Mode())
	}
	if got := names(t, dir); !slices.Equal(got, []string{"link", "out"}) {
		t.Errorf("files %v", got)
	}
	for p, want := range map[string]string{
		dir: "exists and is not a regular file", "/dev/null": "exists and is not a regular file",
		filepath.Join(dir, "no", "out"): "no such file or directory",
	} {
		if err := WriteFileAtomic(p, text("x")); err == nil || err.Error() != p+": "+want {
			t.Errorf("%s: error %v", p, err)
		}
	}
}

// A full disk leaves the old output, and no other file.
func TestSaveOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("mounting a small tmpfs: ", err)
	}
	defer syscall.Unmount(dir, 0)
	path := filepath.Join(dir, "out.onnx")
	small := mustParse(t, smallModel(nil))
	check(t, small.Save(path))
	want := read(t, path)
	big := mustParse(t, smallModel(nil))
	check(t, big.AddInitializer(NewFloatTensor("big", []int{1 << 16}, make([]float32, 1<<16))))
	err := big.Save(path)
	if !errors.Is(err, syscall.ENOSPC) || !strings.HasPrefix(err.Error(), path+": ") {
		t.Errorf("error %v", err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"out.onnx"}) || !slices.Equal(read(t, path), want) {
		t.Errorf("files %v", got)
	}
}

// Where the data file fits on the disk and the model does not, neither is written.
func TestSaveExternalOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("mounting a small tmpfs: ", err)
	}
	defer syscall.Unmount(dir, 0)
	m := mustLoad(t, externalModel(t, nil))
	check(t, m.MaskTensor("w", make([]bool, 4)))
	path := filepath.Join(dir, "out.onnx")
	check(t, m.Save(path))
	want, data := read(t, path), read(t, path+".data")
	check(t, m.SetTensor("w", []float32{1, 1, 1, 1}))
	check(t, m.AddInitializer(NewFloatTensor("big", []int{1 << 16}, make([]float32, 1<<16))))
	if err := m.Save(path); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error %v", err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"out.onnx", "out.onnx.data"}) ||
		!slices.Equal(read(t, path), want) || !slices.Equal(read(t, path+".data"), data) {
		t.Errorf("files %v", got)
	}
}
