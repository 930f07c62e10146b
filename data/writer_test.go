package data

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestWriterShards(t *testing.T) {
	dir := t.TempDir()
	w, err := NewWriter[int32](dir, "label", nil, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(count[int32](7)); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); len(got) != 3 || slices.Contains(got, "label-00002.npy") {
		t.Errorf("before Close: %v, want two shards and a temporary file", got)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := files(t, dir), []string{"label-00000.npy", "label-00001.npy", "label-00002.npy"}; !slices.Equal(got, want) {
		t.Errorf("after Close: %v, want %v", got, want)
	}
	s, err := openShard(dir, "label-00002.npy")
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if s.rows != 1 || s.head.DType != Int32 || s.head.Offset != headerSize {
		t.Errorf("last shard: %+v", s.head)
	}
}

func TestWriterAbort(t *testing.T) {
	dir := t.TempDir()
	w, err := NewWriter[float32](dir, "input", []int{2}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(count[float32](6)); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	w.Abort()
	if got := files(t, dir); !slices.Equal(got, []string{"input-00000.npy"}) {
		t.Errorf("after Abort: %v", got)
	}
}

func TestWriterErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := NewWriter[uint8](dir, "input", []int{2, 0}, 1); err == nil || !strings.Contains(err.Error(), "row shape [2 0]") {
		t.Errorf("zero dimension: %v", err)
	}
	if _, err := NewWriter[uint8](dir, "input", nil, 0); err == nil || !strings.Contains(err.Error(), "rows per shard 0") {
		t.Errorf("no rows per shard: %v", err)
	}
	w, err := NewWriter[uint8](dir, "input", []int{2}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(make([]uint8, 3)); err == nil || !strings.Contains(err.Error(), "3 elements are no whole rows of [2]") {
		t.Errorf("part of a row: %v", err)
	}
	if w, err = NewWriter[uint8](filepath.Join(dir, "none"), "input", nil, 1); err == nil {
		err = w.Write([]uint8{1})
	}
	if err == nil {
		t.Error("missing directory: no error")
	}
	long, err := NewWriter[uint8](dir, "input", slices.Repeat([]int{1}, 60), 1)
	if err == nil {
		err = long.Write([]uint8{1})
	}
	if err == nil || !strings.Contains(err.Error(), "does not fit an NPY header") {
		t.Errorf("60 dimensions: %v", err)
	}
}
