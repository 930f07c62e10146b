package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestCommittedImages draws the test set again. Other processors may fuse a product and
// a sum, which moves single grey values.
func TestCommittedImages(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the committed images were drawn on amd64")
	}
	dir := t.TempDir()
	if err := write(dir, rand.New(rand.NewPCG(1, 1)), 1000, 600); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 5 {
		t.Fatalf("%d files, %v; want 5", len(entries), err)
	}
	for _, e := range entries {
		got, err1 := os.ReadFile(filepath.Join(dir, e.Name()))
		want, err2 := os.ReadFile(filepath.Join("..", "data", "glyphs", "test", e.Name()))
		if err1 != nil || err2 != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs from the committed file (%v, %v)", e.Name(), err1, err2)
		}
	}
}
