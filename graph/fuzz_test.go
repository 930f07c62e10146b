package graph

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/onnxprune/onnxprune/internal/onnxtest"
	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/op"
)

// FuzzGraph reads any bytes as a model and runs everything on it that needs no
// data: an error is fine, a panic or a hang is not.
func FuzzGraph(f *testing.F) {
	models, err := filepath.Glob("../testdata/models/tiny_*.onnx")
	if err != nil || len(models) == 0 {
		f.Fatalf("no seed models: %v", err)
	}
	for _, p := range models {
		data, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, b := range onnxtest.Bombs(f) {
		if len(b.Data) < 1<<16 {
			f.Add(b.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := onnxio.LoadBytes("fuzz.onnx", data)
		if err != nil {
			return
		}
		if _, err := m.Inline(); err != nil {
			return
		}
		g, err := New(m, "fuzz.onnx")
		if err != nil {
			return
		}
		if g, err = g.Untie(); err != nil {
			return
		}
		g.Roles()
		g.Weights()
		g.Params()
		for _, b := range []Binding{{}, {Batch: 2}} {
			s, err := g.Infer(b)
			if err != nil {
				continue
			}
			for _, n := range g.Nodes {
				s.MACs(n)
			}
		}
		if free, err := g.FreeBatch(nil); err == nil {
			free.Infer(Binding{Batch: 3})
		}
		if gs, err := g.Groups(nil); err == nil {
			r := gs.NewRemoval()
			for k := range gs.Groups {
				if !r.Empties(k, 0) {
					r.Set(k, 0, true)
				}
			}
			if p, err := gs.Plan(r.Removed()); err == nil {
				c, err := m.Clone()
				if err != nil {
					t.Fatal(err)
				}
				if err := p.Apply(c); err == nil {
					New(c, "cut.onnx")
				}
			}
		}
		masks := map[string][]bool{}
		for _, w := range g.Weights() {
			masks[w.Value.Name] = make([]bool, w.Value.Init.Size())
		}
		if err := g.WriteMasks(masks, AsNode); err != nil {
			return
		}
		if err := g.WriteMasks(masks, Fold); err != nil {
			t.Fatalf("masks could be written and not folded: %v", err)
		}
	})
}

// FuzzInfer infers shapes of any graph, with and without the elements of large initializers: both refuse the same files
// and see the same shapes.
func FuzzInfer(f *testing.F) {
	models, err := filepath.Glob("../testdata/models/*.onnx")
	if err != nil {
		f.Fatal(err)
	}
	zoo, err := filepath.Glob("../../shared/zoo/*.onnx")
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range append(models, zoo...) {
		data, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:min(len(data), 4096)])
		if len(data) < 1<<15 {
			f.Add(data)
		}
	}
	for _, b := range onnxtest.Bombs(f) {
		if len(b.Data) < 1<<16 {
			f.Add(b.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := onnxio.LoadBytes("fuzz.onnx", data)
		if err != nil {
			return
		}
		g, err := New(m, "fuzz.onnx")
		o, outlined := Outline(m, "fuzz.onnx")
		if (err == nil) != (outlined == nil) {
			t.Fatalf("read: %v; outlined: %v", err, outlined)
		}
		if err != nil {
			return
		}
		if a, b := len(g.Weights()), len(o.Weights()); a != b || g.Params() != o.Params() {
			t.Fatalf("%d weights of %d parameters, outlined %d of %d", a, g.Params(), b, o.Params())
		}
		for _, batch := range []int{0, 2, 5} {
			a, err := g.Infer(Binding{Batch: batch})
			b, outlined := o.Infer(Binding{Batch: batch})
			if (err == nil) != (outlined == nil) {
				t.Fatalf("inferred: %v; outlined: %v", err, outlined)
			}
			if err != nil {
				continue
			}
			for i, x := range a.Of {
				if y := b.Of[i]; x != nil && y != nil && !op.EqualShape(x.Shape, y.Shape) {
					t.Fatalf("value %q has shape %v, outlined %v", g.Values[i].Name, x.Shape, y.Shape)
				}
			}
		}
	})
}
