package export

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/internal/onnxtest"
	"github.com/onnxprune/onnxprune/onnxio"
)

// chain is a file with three convolutions a, c and head, with Relus between.
func chain(t testing.TB, change func(p *onnxio.ModelProto)) string {
	b := onnxtest.New(13, 1)
	x := b.Input("x", -1, 3, 4, 4)
	for _, l := range []struct {
		name    string
		in, out int
	}{{"a", 3, 6}, {"c", 6, 5}, {"head", 5, 2}} {
		x = b.Node("Conv", l.name, []string{x, b.Weight(l.name+".w", 1, l.out, l.in, 1, 1), b.Weight(l.name+".b", 1, l.out)})
		if l.name != "head" {
			x = b.Node("Relu", l.name+".relu", []string{x})
		}
	}
	b.Output("head", -1, 2, 4, 4)
	if change != nil {
		change(b.Proto)
	}
	path := filepath.Join(t.TempDir(), "chain.onnx")
	if err := os.WriteFile(path, b.Bytes(t), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// second removes the second unit of every group.
func second(t testing.TB, g *graph.Graph) Removal {
	t.Helper()
	gs, err := g.Groups(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := gs.NewRemoval()
	for k := range gs.Groups {
		r.Set(k, 1, true)
	}
	pool := kernel.NewPool(1)
	t.Cleanup(pool.Close)
	return Removal{Groups: gs, Removed: r.Removed(), Pool: pool}
}

// TestMismatchIsNotWritten: where pruned and masked model differ, the error names the
// first node whose values do.
func TestMismatchIsNotWritten(t *testing.T) {
	for _, c := range []struct{ tensor, node string }{{"a.b", `"a"`}, {"c.w", `"c"`}, {"head.b", `"head"`}} {
		t.Run(c.tensor, func(t *testing.T) {
			g := open(t, chain(t, nil))
			r := second(t, g)
			masked, pruned, plan, err := r.models(g)
			if err != nil {
				t.Fatal(err)
			}
			v := &prover{groups: r.Groups, plan: plan, masked: masked, pruned: pruned, pool: r.Pool}
			if proof, err := v.prove(nil); err != nil || !proof.Ran || proof.Samples != 2 {
				t.Fatalf("%+v %v", proof, err)
			}
			_, values, err := pruned.Float32s(pruned.Initializer(c.tensor))
			if err != nil {
				t.Fatal(err)
			}
			for i := range values {
				values[i] += 0.5
			}
			if err := pruned.SetTensor(c.tensor, values); err != nil {
				t.Fatal(err)
			}
			_, err = v.prove(nil)
			if err == nil || !strings.Contains(err.Error(), "first at node "+c.node+" (Conv)") {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// TestNaNIsAMismatch: a value that is none is found, on either side.
func TestNaNIsAMismatch(t *testing.T) {
	g := open(t, chain(t, nil))
	r := second(t, g)
	bias := []float32{float32(math.NaN()), 0}
	r.Values = map[string][]float32{"head.b": bias}
	masked, pruned, plan, err := r.models(g)
	if err != nil {
		t.Fatal(err)
	}
	v := &prover{groups: r.Groups, plan: plan, masked: masked, pruned: pruned, pool: r.Pool}
	if _, err := v.prove(nil); err != nil {
		t.Errorf("the same NaN on both sides: %v", err)
	}
	bias[0] = 1
	if err := pruned.SetTensor("head.b", bias); err != nil {
		t.Fatal(err)
	}
	if _, err := v.prove(nil); err == nil {
		t.Error("NaN against a number is no mismatch")
	}
}

// TestWriteRemoval: values are taken over, slices are gone or, with KeepShapes, zero.
func TestWriteRemoval(t *testing.T) {
	for _, keep := range []bool{false, true} {
		g := open(t, chain(t, nil))
		r := second(t, g)
		r.KeepShapes = keep
		r.Values = map[string][]float32{"a.b": {1, 2, 3, 4, 5, 6}}
		out := filepath.Join(t.TempDir(), "out.onnx")
		proof, err := WriteRemoval(g, r, out)
		if err != nil || !proof.Ran || !proof.Generated || !(proof.MaxRel <= Tolerance) {
			t.Fatalf("%+v %v", proof, err)
		}
		want := []float32{1, 3, 4, 5, 6}
		if keep {
			want = []float32{1, 0, 3, 4, 5, 6}
		}
		got := elements(t, out, "a.b")
		if len(got) != len(want) {
			t.Fatalf("bias has %d elements, want %d", len(got), len(want))
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("bias is %v, want %v", got, want)
			}
		}
	}
}

// TestRemovalBeforeUnknownOperator: a model with an operator that cannot be run is
// compared up to there, and the proof says so.
func TestRemovalBeforeUnknownOperator(t *testing.T) {
	in := chain(t, func(p *onnxio.ModelProto) {
		name, typ := "y", "Mystery"
		p.Graph.Node = append(p.Graph.Node, &onnxio.NodeProto{OpType: &typ, Name: &name, Input: []string{"head"}, Output: []string{"y"}})
		p.Graph.Output[0].Name = &name
	})
	g := open(t, in)
	out := filepath.Join(t.TempDir(), "out.onnx")
	proof, err := WriteRemoval(g, second(t, g), out)
	if err != nil {
		t.Fatal(err)
	}
	if !proof.Ran || len(proof.Until) != 1 || !strings.Contains(proof.Until[0], "Mystery") {
		t.Errorf("%+v", proof)
	}
	if n := len(elements(t, out, "a.b")); n != 5 {
		t.Errorf("bias has %d elements", n)
	}
}

// TestExternalDataIsCut: initializers in another file stay there, shorter.
func TestExternalDataIsCut(t *testing.T) {
	in := chain(t, nil)
	m, err := onnxio.Load(in)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(in)
	if err != nil {
		t.Fatal(err)
	}
	w := m.Proto.Graph.Initializer[0]
	_, dense, err := m.Float32s(w)
	if err != nil {
		t.Fatal(err)
	}
	data := w.RawData
	if data == nil {
		t.Skip("initializers of the builder are not raw")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "w.bin"), data, 0o666); err != nil {
		t.Fatal(err)
	}
	location, key, file := onnxio.TensorProto_EXTERNAL, "location", "w.bin"
	w.DataLocation, w.RawData = &location, nil
	w.ExternalData = []*onnxio.StringStringEntryProto{{Key: &key, Value: &file}}
	b, err := m.Proto.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "external.onnx")
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	g := open(t, path)
	out := filepath.Join(dir, "out.onnx")
	if _, err := WriteRemoval(g, second(t, g), out); err != nil {
		t.Fatal(err)
	}
	after, err := onnxio.Load(out)
	if err != nil {
		t.Fatal(err)
	}
	cut := after.Initializer("a.w")
	if !onnxio.IsExternal(cut) {
		t.Error("the tensor is no longer external")
	}
	_, got, err := after.Float32s(cut)
	if err != nil {
		t.Fatal(err)
	}
	left := append(append([]float32{}, dense[:3]...), dense[6:]...)
	if len(got) != len(left) || got[3] != left[3] {
		t.Errorf("%d elements, want %d", len(got), len(left))
	}
	if still, err := os.ReadFile(in); err != nil || !bytes.Equal(still, want) {
		t.Error("the input changed")
	}
	if old, err := os.ReadFile(filepath.Join(dir, "w.bin")); err != nil || !bytes.Equal(old, data) {
		t.Error("the data of the input changed")
	}
}

// TestMaskedFileIsCut: a file with masks as nodes loses slices of weight and mask.
func TestMaskedFileIsCut(t *testing.T) {
	in := chain(t, nil)
	g := open(t, in)
	keep := make([]bool, 30)
	for i := range keep {
		keep[i] = i%3 > 0
	}
	noded := filepath.Join(t.TempDir(), "noded.onnx")
	if _, err := Write(g, Result{Masks: map[string][]bool{"c.w": keep}}, graph.AsNode, noded); err != nil {
		t.Fatal(err)
	}
	g = open(t, noded)
	out := filepath.Join(t.TempDir(), "out.onnx")
	if _, err := WriteRemoval(g, second(t, g), out); err != nil {
		t.Fatal(err)
	}
	v := open(t, out).Value("c.w")
	if v.Mask == nil || len(v.Mask.Keep) != 4*5 || len(v.Init.F) != 4*5 {
		t.Fatalf("weight %v, mask %v", v.Init.Shape, v.Mask)
	}
	k := 0
	for o := range 5 {
		for c := range 6 {
			if o == 1 || c == 1 {
				continue
			}
			if v.Mask.Keep[k] != keep[o*6+c] {
				t.Errorf("mask of [%d,%d] is %v", o, c, v.Mask.Keep[k])
			}
			k++
		}
	}
}

// TestRemovalBesideWhatIsNotUnderstood: a convolution of three spatial axes, which our
// engine refuses, stays as it is, and the rest is cut.
func TestRemovalBesideWhatIsNotUnderstood(t *testing.T) {
	b := onnxtest.New(13, 1)
	x := b.Input("x", -1, 3, 4, 4)
	for _, l := range []struct {
		name    string
		in, out int
	}{{"a", 3, 6}, {"c", 6, 4}} {
		x = b.Node("Conv", l.name, []string{x, b.Weight(l.name+".w", 1, l.out, l.in, 1, 1), b.Weight(l.name+".b", 1, l.out)})
	}
	deep := b.Node("Unsqueeze", "deep", []string{x, b.Ints("axes", 2, 3)})
	b.Output(b.Node("Conv", "volume", []string{deep, b.Weight("v.w", 1, 2, 4, 1, 1, 1, 1)}), -1, 2, 1, 1, 4, 4)
	in := filepath.Join(t.TempDir(), "volume.onnx")
	if err := os.WriteFile(in, b.Bytes(t), 0o666); err != nil {
		t.Fatal(err)
	}
	g := open(t, in)
	out := filepath.Join(t.TempDir(), "out.onnx")
	proof, err := WriteRemoval(g, second(t, g), out)
	if err != nil || !proof.Ran || len(proof.Until) != 1 || !strings.Contains(proof.Until[0], "volume") {
		t.Fatalf("%+v %v", proof, err)
	}
	if n := len(elements(t, out, "c.w")); n != 4*5 {
		t.Errorf("c.w has %d elements, want 20", n)
	}
}
