package onnxio

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestMoveOut writes a model that is too large for one file: large tensors, in raw_data and in typed fields, go to a data
// file, and everything reads back.
func TestMoveOut(t *testing.T) {
	defer func(was int64) { maxFileSize = was }(maxFileSize)
	maxFileSize = 4096
	values := make([]float32, 1000)
	for i := range values {
		values[i] = float32(i) - 500
	}
	typed := NewFloatTensor("typed", []int{1000}, values)
	typed.RawData, typed.FloatData = nil, values
	var m *Model
	for _, dir := range []string{"", "with a data file"} {
		b := smallModel(nil)
		loaded, err := LoadBytes("m.onnx", b)
		check(t, err)
		check(t, loaded.AddInitializer(NewFloatTensor("raw", []int{10, 100}, values)))
		check(t, loaded.AddInitializer(typed))
		check(t, loaded.AddInitializer(NewFloatTensor("small", []int{2}, []float32{1, 2})))
		path := filepath.Join(t.TempDir(), "in.onnx")
		check(t, os.WriteFile(path, loaded.Bytes(), 0o666))
		if m, err = Load(path); err != nil {
			t.Fatal(err)
		}
		if dir != "" {
			check(t, m.Save(path))
			if m, err = Load(path); err != nil {
				t.Fatal(err)
			}
			check(t, m.AddInitializer(NewFloatTensor("more", []int{2000}, make([]float32, 2000))))
		}
		out := filepath.Join(t.TempDir(), "out.onnx")
		check(t, m.Save(out))
		info, err := os.Stat(out)
		check(t, err)
		if info.Size() > maxFileSize {
			t.Errorf("the model has %d bytes, its tensors should be outside", info.Size())
		}
		back, err := Load(out)
		check(t, err)
		for _, name := range []string{"raw", "typed", "small"} {
			x := back.Initializer(name)
			if IsExternal(x) != (name != "small") {
				t.Errorf("%s: external is %v", name, IsExternal(x))
			}
			got, err := Raw(x, back)
			check(t, err)
			want, err := Raw(loaded.Initializer(name), nil)
			check(t, err)
			if !bytes.Equal(got, want) {
				t.Errorf("%s has changed", name)
			}
		}
	}
}
