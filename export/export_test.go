package export

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/onnxtest"
	"github.com/onnxprune/onnxprune/onnxio"
)

// model is a file with two Gemm weights w0 [4,3] and w1 [2,4] and a bias b0 [4].
func model(t testing.TB, change func(p *onnxio.ModelProto)) string {
	b := onnxtest.New(13, 1)
	x := b.Input("x", -1, 3)
	b.Weight("w0", 1, 4, 3)
	b.Uniform("b0", 1, 2, 4)
	b.Weight("w1", 1, 2, 4)
	h := b.Node("Gemm", "h", []string{x, "w0", "b0"}, "transB", 1)
	b.Node("Gemm", "y", []string{h, "w1"}, "transB", 1)
	b.Output("y", -1, 2)
	if change != nil {
		change(b.Proto)
	}
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := os.WriteFile(path, b.Bytes(t), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, path string) *graph.Graph {
	t.Helper()
	g, err := load(path)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func load(path string) (*graph.Graph, error) {
	m, err := onnxio.Load(path)
	if err != nil {
		return nil, err
	}
	if _, err := m.Inline(); err != nil {
		return nil, err
	}
	return graph.New(m, path)
}

func elements(t testing.TB, path, name string) []float32 {
	t.Helper()
	v := open(t, path).Value(name)
	if v == nil {
		t.Fatalf("%s has no %q", path, name)
	}
	return v.Init.F
}

// every second element of w0, and all but the first of w1.
var masks = map[string][]bool{
	"w0": {true, false, true, false, true, false, true, false, true, false, true, false},
	"w1": {false, true, true, true, true, true, true, true},
}

func TestFoldWritesExactZeros(t *testing.T) {
	in := model(t, nil)
	out := filepath.Join(t.TempDir(), "out.onnx")
	values := map[string][]float32{"w0": make([]float32, 12), "b0": elements(t, in, "b0")}
	for i := range values["w0"] {
		values["w0"][i] = float32(i + 1)
	}
	c, err := Write(open(t, in), Result{Values: values, Masks: masks}, graph.Fold, out)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Check{Tensors: 2, Elements: 20, Zeros: 7}); c != want {
		t.Errorf("check %+v, want %+v", c, want)
	}
	for i, v := range elements(t, out, "w0") {
		want := float32(i + 1)
		if i%2 == 1 {
			want = 0
		}
		if math.Float32bits(v) != math.Float32bits(want) {
			t.Errorf("w0[%d] is %v, want %v", i, v, want)
		}
	}
	old, now := elements(t, in, "w1"), elements(t, out, "w1")
	if now[0] != 0 || math.Signbit(float64(now[0])) {
		t.Errorf("w1[0] is %v, want +0", now[0])
	}
	for i := 1; i < len(now); i++ {
		if now[i] != old[i] {
			t.Errorf("w1[%d] is %v, was %v", i, now[i], old[i])
		}
	}
	if n := len(open(t, out).File.Proto.Graph.Node); n != 2 {
		t.Errorf("%d nodes, want the 2 that were there", n)
	}
}

func TestNodeKeepsWeights(t *testing.T) {
	in := model(t, nil)
	out := filepath.Join(t.TempDir(), "out.onnx")
	c, err := Write(open(t, in), Result{Masks: masks}, graph.AsNode, out)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Check{Tensors: 2, Elements: 20, Zeros: 7}); c != want {
		t.Errorf("check %+v, want %+v", c, want)
	}
	g := open(t, out)
	for name, keep := range masks {
		v := g.Value(name)
		if v.Mask == nil {
			t.Fatalf("%s has no mask", name)
		}
		for i, k := range v.Mask.Keep {
			if k != keep[i] {
				t.Errorf("%s: mask element %d is %v", name, i, k)
			}
		}
		for i, x := range v.Init.F {
			if x != elements(t, in, name)[i] {
				t.Errorf("%s: element %d changed", name, i)
			}
		}
	}
	// Folded afterwards, the nodes go and the zeros stay.
	folded := filepath.Join(t.TempDir(), "folded.onnx")
	if _, err := Write(g, Result{Masks: masks}, graph.Fold, folded); err != nil {
		t.Fatal(err)
	}
	direct := filepath.Join(t.TempDir(), "direct.onnx")
	if _, err := Write(open(t, in), Result{Masks: masks}, graph.Fold, direct); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, folded), read(t, direct)) {
		t.Error("folding node masks gives other bytes than folding at once")
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNothingChangedIsByteIdentical(t *testing.T) {
	in := model(t, nil)
	out := filepath.Join(t.TempDir(), "out.onnx")
	c, err := Write(open(t, in), Result{}, graph.Fold, out)
	if err != nil || !c.Unchanged {
		t.Errorf("check %+v, error %v, want unchanged", c, err)
	}
	if !bytes.Equal(read(t, in), read(t, out)) {
		t.Error("the bytes differ")
	}
	// Values as they were, and masks that remove nothing, are no change either.
	g := open(t, in)
	all := Result{Values: map[string][]float32{"w0": g.Value("w0").Init.F}, Masks: map[string][]bool{"w1": {true, true, true, true, true, true, true, true}}}
	if _, err := Write(g, all, graph.Fold, in); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, in), read(t, out)) {
		t.Error("writing the same values in place changed the bytes")
	}
}

// external moves w0 into a file beside the model.
func external(t testing.TB) string {
	var raw []byte
	path := model(t, func(p *onnxio.ModelProto) {
		w := p.Graph.Initializer[0]
		_, v, err := onnxio.Float32s(w, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range v {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
		}
		location, key, value := onnxio.TensorProto_EXTERNAL, "location", "w.bin"
		w.DataLocation, w.RawData, w.FloatData = &location, nil, nil
		w.ExternalData = []*onnxio.StringStringEntryProto{{Key: &key, Value: &value}}
	})
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "w.bin"), raw, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExternalDataIsMaskedAndChecked(t *testing.T) {
	for _, inPlace := range []bool{false, true} {
		in := external(t)
		want := append([]float32(nil), elements(t, in, "w0")...)
		out := in
		if !inPlace {
			out = filepath.Join(t.TempDir(), "out.onnx")
		}
		c, err := Write(open(t, in), Result{Masks: masks}, graph.Fold, out)
		if err != nil {
			t.Fatal(err)
		}
		if c.Zeros != 7 {
			t.Errorf("%d zeros, want 7", c.Zeros)
		}
		for i, v := range elements(t, out, "w0") {
			if i%2 == 1 {
				want[i] = 0
			}
			if v != want[i] {
				t.Errorf("in place %v: w0[%d] is %v, want %v", inPlace, i, v, want[i])
			}
		}
	}
}

func TestTypesAreKept(t *testing.T) {
	for _, typ := range []int32{onnxio.Float16, onnxio.Bfloat16, onnxio.Double} {
		in := model(t, func(p *onnxio.ModelProto) {
			w := p.Graph.Initializer[0]
			_, v, err := onnxio.Float32s(w, nil)
			if err != nil {
				t.Fatal(err)
			}
			if p.Graph.Initializer[0], err = onnxio.NewTensor(typ, "w0", []int{4, 3}, v); err != nil {
				t.Fatal(err)
			}
		})
		out := filepath.Join(t.TempDir(), "out.onnx")
		values := map[string][]float32{"w0": append([]float32(nil), elements(t, in, "w0")...)}
		values["w0"][2] = 0.5
		if _, err := Write(open(t, in), Result{Values: values, Masks: masks}, graph.Fold, out); err != nil {
			t.Fatal(err)
		}
		v := open(t, out).Value("w0")
		if int32(v.Type) != typ || v.Init.F[2] != 0.5 || v.Init.F[1] != 0 || v.Init.F[0] != values["w0"][0] {
			t.Errorf("type %v: %v of type %v", typ, v.Init.F, v.Type)
		}
	}
}

func TestErrorsWriteNothing(t *testing.T) {
	for name, r := range map[string]Result{
		"mask of another size":   {Masks: map[string][]bool{"w0": {false}}},
		"values of another size": {Values: map[string][]float32{"w0": {1}}},
		"mask of no weight":      {Masks: map[string][]bool{"b0": {false, true, true, true}}},
	} {
		in := model(t, nil)
		before := read(t, in)
		if _, err := Write(open(t, in), r, graph.Fold, in); err == nil {
			t.Errorf("%s: no error", name)
		}
		if !bytes.Equal(read(t, in), before) {
			t.Errorf("%s: the file changed", name)
		}
	}
}

// TestCheckFindsWhatIsNotZero gives the check models that do not hold their masks.
func TestCheckFindsWhatIsNotZero(t *testing.T) {
	g := open(t, model(t, nil))
	if _, err := check(g.File, masks, masks, graph.Fold); err == nil || !strings.Contains(err.Error(), "the mask wants 0") {
		t.Errorf("weights without a zero pass as masked: %v", err)
	}
	if _, err := check(g.File, masks, masks, graph.AsNode); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("a mask that is missing passes: %v", err)
	}
	if _, err := check(g.File, masks, nil, graph.Fold); err == nil || !strings.Contains(err.Error(), "the masks remove 7") {
		t.Errorf("masks that were not written pass: %v", err)
	}
	out := filepath.Join(t.TempDir(), "out.onnx")
	if _, err := Write(g, Result{Masks: masks}, graph.AsNode, out); err != nil {
		t.Fatal(err)
	}
	g = open(t, out)
	if err := g.File.SetTensor("w1.mask", []float32{0, 1, 1, 1, 0.5, 1, 1, 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := check(g.File, masks, masks, graph.AsNode); err == nil || !strings.Contains(err.Error(), "wants 1") {
		t.Errorf("a mask element of 0.5 passes: %v", err)
	}
}

// TestAnyMask writes random masks in both forms: zeros where the mask says, all other
// bits as they were.
func TestAnyMask(t *testing.T) {
	in := model(t, nil)
	w0, w1 := elements(t, in, "w0"), elements(t, in, "w1")
	dir := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		form := rapid.SampledFrom([]graph.MaskForm{graph.Fold, graph.AsNode}).Draw(r, "form")
		m := map[string][]bool{
			"w0": rapid.SliceOfN(rapid.Bool(), 12, 12).Draw(r, "w0"),
			"w1": rapid.SliceOfN(rapid.Bool(), 8, 8).Draw(r, "w1"),
		}
		out := filepath.Join(dir, "out.onnx")
		c, err := Write(open(t, in), Result{Masks: m}, form, out)
		if err != nil {
			r.Fatal(err)
		}
		if want := removed(m["w0"]) + removed(m["w1"]); c.Zeros != want {
			r.Fatalf("%d zeros, want %d", c.Zeros, want)
		}
		g := open(t, out)
		for name, old := range map[string][]float32{"w0": w0, "w1": w1} {
			v := g.Value(name)
			for i, x := range v.Init.F {
				if v.Mask != nil && !v.Mask.Keep[i] {
					x = 0
				}
				want := old[i]
				if !m[name][i] {
					want = 0
				}
				if x != want {
					r.Fatalf("%s[%d] is %v, want %v", name, i, x, want)
				}
			}
		}
	})
}
