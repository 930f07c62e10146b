package onnxio

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// sharedModels lists the real models that lie beside the project, where there are any.
func sharedModels(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, dir := range []string{"zoo", "models"} {
		files, _ := filepath.Glob(filepath.Join("..", "..", "shared", dir, "*.onnx"))
		all = append(all, files...)
	}
	if all == nil {
		t.Skip("no models in ../../shared")
	}
	return all
}

func mustLoad(t testing.TB, path string) *Model {
	t.Helper()
	m, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mustParse(t testing.TB, data []byte) *Model {
	t.Helper()
	m, err := LoadBytes("m.onnx", data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSharedModelsSaveIdentical(t *testing.T) {
	for _, path := range sharedModels(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			m := mustLoad(t, path)
			out := filepath.Join(t.TempDir(), "out.onnx")
			if err := m.Save(out); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Fatal("saved bytes differ")
			}
			m.changed = true
			if !bytes.Equal(m.Bytes(), want) {
				t.Error("bytes put together from entries differ")
			}
		})
	}
}

// Masking one weight of a real model changes the zeroed elements of that tensor and nothing else in the file; setting
// the decoded values changes nothing at all.
func TestSharedModelsMask(t *testing.T) {
	for _, path := range sharedModels(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			m := mustLoad(t, path)
			var name string
			var values []float32
			for _, c := range m.Proto.Graph.Initializer {
				if _, v, err := m.Float32s(c); err == nil && len(v) > len(values) {
					name, values = c.GetName(), v
				}
			}
			if name == "" {
				t.Skip("no floating-point initializer")
			}
			if err := m.SetTensor(name, values); err != nil {
				t.Fatal(err)
			}
			if m.changed {
				t.Fatal("setting the same values changed the model")
			}
			mask := make([]bool, len(values))
			for i := range mask {
				mask[i] = i%3 != 0
			}
			before := mustLoad(t, path)
			if err := m.MaskTensor(name, mask); err != nil {
				t.Fatal(err)
			}
			after := mustParse(t, m.Bytes())
			if !sameMessage(after.Proto, m.Proto) {
				t.Fatal("Proto and bytes differ")
			}
			_, masked, err := after.Float32s(after.Initializer(name))
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range masked {
				if mask[i] && v != values[i] || !mask[i] && v != 0 {
					t.Fatalf("element %d is %g, was %g", i, v, values[i])
				}
			}
			*after.Initializer(name) = *before.Initializer(name)
			if !sameMessage(after.Proto, before.Proto) {
				t.Error("something beside the masked tensor changed")
			}
		})
	}
}

// Mask nodes put in and taken out again leave the bytes of a real model as they were.
func TestSharedModelsInsertAndUndo(t *testing.T) {
	for _, path := range sharedModels(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			m := mustLoad(t, path)
			want := bytes.Clone(m.Bytes())
			edited := insertMasks(t, m)
			if edited == 0 {
				t.Skip("no Conv, Gemm or MatMul with an initializer")
			}
			again := mustParse(t, m.Bytes())
			if !sameMessage(again.Proto, m.Proto) {
				t.Fatal("Proto and bytes differ")
			}
			for i := len(again.Proto.Graph.Node) - 1; i >= 0; i-- {
				n := again.Proto.Graph.Node[i]
				if len(n.Input) > 1 && n.Input[1] == n.Output[0]+".masked" {
					weight := again.Proto.Graph.Node[i-1].Input[0]
					check(t, again.ReplaceNodeInput(i, 1, weight))
					check(t, again.RemoveInitializer(again.Proto.Graph.Node[i-1].Input[1]))
					check(t, again.RemoveNode(i-1))
					i--
				}
			}
			if !bytes.Equal(again.Bytes(), want) {
				t.Error("bytes differ after undoing")
			}
		})
	}
}

func insertMasks(t *testing.T, m *Model) int {
	edited := 0
	for i := 0; i < len(m.Proto.Graph.Node); i++ {
		n := m.Proto.Graph.Node[i]
		op := n.GetOpType()
		if op != "Conv" && op != "Gemm" && op != "MatMul" || m.Initializer(n.Input[1]) == nil {
			continue
		}
		edited++
		weight, mask := n.Input[1], n.Output[0]+".mask"
		check(t, m.AddInitializer(NewFloatTensor(mask, []int{1}, []float32{1})))
		check(t, m.InsertNode(i, NewNode("Mul", mask, []string{weight, mask}, []string{n.Output[0] + ".masked"})))
		i++
		check(t, m.ReplaceNodeInput(i, 1, n.Output[0]+".masked"))
	}
	return edited
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
