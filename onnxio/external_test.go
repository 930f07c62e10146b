package onnxio

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gogo/protobuf/proto"
)

// externalModel writes a model whose initializers w [2,2] and v (the same bytes) and the Constant in a subgraph lie in
// weights.bin, edited by edit, and returns its path.
func externalModel(t *testing.T, edit func(w *TensorProto)) string {
	t.Helper()
	dir := t.TempDir()
	data := make([]byte, 64)
	copy(data[16:], NewFloatTensor("", []int{4}, []float32{1, -2, 3, 4}).RawData)
	copy(data[40:], NewFloatTensor("", []int{2}, []float32{7, 8}).RawData)
	check(t, os.WriteFile(filepath.Join(dir, "weights.bin"), data, 0o666))
	external := func(name, offset string, dims ...int64) *TensorProto {
		return &TensorProto{Name: proto.String(name), DataType: proto.Int32(Float), Dims: dims,
			DataLocation: TensorProto_EXTERNAL.Enum(), ExternalData: []*StringStringEntryProto{
				entryOf("location", "weights.bin"), entryOf("offset", offset), entryOf("checksum", "kept"),
			}}
	}
	b := smallModel(func(m *ModelProto) {
		w := external("w", "16", 2, 2)
		if edit != nil {
			edit(w)
		}
		m.Graph.Initializer[0] = w
		m.Graph.Initializer = append(m.Graph.Initializer, external("v", "16", 2, 2))
		inner := NewNode("Constant", "inner", nil, []string{"i"})
		inner.Attribute = []*AttributeProto{{Name: proto.String("value"), T: external("i", "40", 2)}}
		outer := NewNode("If", "if", []string{"x"}, []string{"o"})
		outer.Attribute = []*AttributeProto{{Name: proto.String("then_branch"), G: &GraphProto{Node: []*NodeProto{inner}}}}
		m.Graph.Node = append(m.Graph.Node, outer)
	})
	path := filepath.Join(dir, "m.onnx")
	check(t, os.WriteFile(path, b, 0o666))
	return path
}

func setEntry(key, value string) func(*TensorProto) {
	return func(w *TensorProto) {
		w.ExternalData = slices.DeleteFunc(w.ExternalData, func(e *StringStringEntryProto) bool { return e.GetKey() == key })
		if value != "" {
			w.ExternalData = append(w.ExternalData, entryOf(key, value))
		}
	}
}

func TestExternalErrors(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	check(t, os.WriteFile(outside, make([]byte, 100), 0o666))
	for name, c := range map[string]struct {
		edit func(*TensorProto)
		want string
	}{
		"absolute":    {setEntry("location", outside), "is an absolute path"},
		"parent":      {setEntry("location", "../secret"), `external data "../secret": leaves the model's directory`},
		"symlink":     {setEntry("location", "link"), `external data "link": leaves the model's directory`},
		"missing":     {setEntry("location", "gone.bin"), `external data "gone.bin": no such file or directory`},
		"directory":   {setEntry("location", "."), "is not a regular file"},
		"no location": {setEntry("location", ""), "external data has no location"},
		"short":       {setEntry("offset", "56"), `external data "weights.bin" has 64 bytes, offset 56 and length 16 need more`},
		"past end":    {setEntry("offset", "65"), `external data "weights.bin" has 64 bytes, offset 65 is past its end`},
		"huge offset": {setEntry("offset", "9223372036854775807"), "is past its end"},
		"bad offset":  {setEntry("offset", "x"), `external data: offset is "x", a number of bytes is needed`},
		"negative":    {setEntry("offset", "-1"), `external data: offset is "-1"`},
		"length":      {setEntry("length", "12"), `has length 12, the shape needs 16 bytes`},
		"huge shape":  {func(w *TensorProto) { w.Dims = []int64{1 << 40} }, "need more"},
	} {
		t.Run(name, func(t *testing.T) {
			path := externalModel(t, c.edit)
			check(t, os.Symlink(outside, filepath.Join(filepath.Dir(path), "link")))
			m := mustLoad(t, path)
			_, _, err := m.Float32s(m.Initializer("w"))
			if err == nil || !strings.HasPrefix(err.Error(), path+`: tensor "w": `) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
		})
	}
}

// contents decodes every external tensor of externalModel.
func contents(t *testing.T, m *Model) (w, v, i []float32) {
	t.Helper()
	inner := m.Proto.Graph.Node[3].Attribute[0].G.Node[0].Attribute[0].T
	var all [][]float32
	for _, p := range []*TensorProto{m.Initializer("w"), m.Initializer("v"), inner} {
		if !IsExternal(p) {
			t.Errorf("tensor %q is no longer external", p.GetName())
		}
		_, values, err := m.Float32s(p)
		check(t, err)
		all = append(all, values)
	}
	return all[0], all[1], all[2]
}

func checkContents(t *testing.T, path string, want []float32) *Model {
	t.Helper()
	m := mustLoad(t, path)
	w, v, i := contents(t, m)
	if !slices.Equal(w, want) || !slices.Equal(v, []float32{1, -2, 3, 4}) || !slices.Equal(i, []float32{7, 8}) {
		t.Errorf("%s: %v %v %v", path, w, v, i)
	}
	return m
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	return b
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

var original = []float32{1, -2, 3, 4}

func TestExternalUnchangedSave(t *testing.T) {
	path := externalModel(t, nil)
	dir := filepath.Dir(path)
	want, data := read(t, path), read(t, filepath.Join(dir, "weights.bin"))
	m := mustLoad(t, path)

	beside, other := filepath.Join(dir, "copy.onnx"), filepath.Join(t.TempDir(), "copy.onnx")
	for _, out := range []string{path, beside, other, other} {
		check(t, m.Save(out))
		if !bytes.Equal(read(t, out), want) || !bytes.Equal(read(t, filepath.Join(filepath.Dir(out), "weights.bin")), data) {
			t.Errorf("%s: bytes differ", out)
		}
		checkContents(t, out, original)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"copy.onnx", "m.onnx", "weights.bin"}) {
		t.Errorf("files %v", got)
	}
}

func TestExternalNameTaken(t *testing.T) {
	m := mustLoad(t, externalModel(t, nil))
	dir := t.TempDir()
	alien := filepath.Join(dir, "weights.bin")
	check(t, os.WriteFile(alien, []byte("of another model"), 0o666))
	out := filepath.Join(dir, "out.onnx")
	check(t, m.Save(out))
	if string(read(t, alien)) != "of another model" {
		t.Error("a file of another model was overwritten")
	}
	checkContents(t, out, original)
}

func TestExternalChangedSave(t *testing.T) {
	path := externalModel(t, nil)
	dir := filepath.Dir(path)
	data := read(t, filepath.Join(dir, "weights.bin"))
	m := mustLoad(t, path)
	check(t, m.MaskTensor("w", []bool{true, false, true, false}))
	masked := []float32{1, 0, 3, 0}

	beside := filepath.Join(dir, "out.onnx")
	check(t, m.Save(beside))
	again := checkContents(t, beside, masked)
	checkContents(t, path, original)
	if !bytes.Equal(read(t, filepath.Join(dir, "weights.bin")), data) {
		t.Error("the original data changed")
	}
	written := read(t, beside+".data")
	for _, p := range again.Proto.Graph.Initializer {
		if !IsExternal(p) {
			continue
		}
		r, err := regionOf(p)
		check(t, err)
		sum := sha1.Sum(written)
		if r.location != "out.onnx.data" || r.offset%smallAlignment != 0 || r.length != 16 || r.checksum != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: region %+v", p.GetName(), r)
		}
	}

	for range 3 { // OUT = IN, more than once
		in := mustLoad(t, beside)
		check(t, in.SetTensor("w", []float32{0, 0, 9, 0}))
		check(t, in.Save(beside))
		checkContents(t, beside, []float32{0, 0, 9, 0})
		in = mustLoad(t, beside)
		check(t, in.SetTensor("w", masked))
		check(t, in.Save(beside))
		checkContents(t, beside, masked)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"m.onnx", "out.onnx", "out.onnx.1.data", "out.onnx.data", "weights.bin"}) {
		t.Errorf("files %v", got)
	}
}

func TestExternalRemarshal(t *testing.T) {
	path := externalModel(t, nil)
	m := mustLoad(t, path)
	w := m.Initializer("w")
	w.Dims, w.RawData = []int64{1, 2}, NewFloatTensor("", []int{2}, []float32{8, 9}).RawData
	check(t, m.Remarshal())
	out := filepath.Join(t.TempDir(), "out.onnx")
	check(t, m.Save(out))
	again := checkContents(t, out, []float32{8, 9})
	if got := again.Initializer("w"); len(got.RawData) != 0 || !slices.Equal(got.Dims, []int64{1, 2}) {
		t.Errorf("w %v", got)
	}
}
