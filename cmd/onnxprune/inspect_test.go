package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/internal/onnxtest"
	"github.com/onnxprune/onnxprune/onnxio"
)

// TestInspectSubnormal: weights that weight decay has let die are counted, in every type of float32's range, and the
// ratio of the hint leaves all others.
func TestInspectSubnormal(t *testing.T) {
	v := make([]float32, 300)
	for i := range v {
		v[i] = 1
	}
	for i := range 100 {
		v[3*i] = 1e-39
	}
	v[0], v[3] = 0, 0x1p-126
	dir := t.TempDir()
	path := filepath.Join(dir, "dying.onnx")
	for _, typ := range []int32{onnxio.Float, onnxio.Bfloat16, onnxio.Double} {
		b := onnxtest.New(18, 1)
		b.Node("Cast", "cast", []string{b.Input("x", -1, 30)}, "to", int(typ))
		w, err := onnxio.NewTensor(typ, "w", []int{30, 10}, v)
		if err != nil {
			t.Fatal(err)
		}
		b.Node("MatMul", "y", []string{"cast", "w"})
		b.Output("y", -1, 10)
		b.Proto.Graph.Initializer = append(b.Proto.Graph.Initializer, w)
		if err := os.WriteFile(path, b.Bytes(t), 0o666); err != nil {
			t.Fatal(err)
		}
		show := func(args ...string) string {
			cmd, out := program(dir)
			cmd.Args = append(cmd.Args, args...)
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v: %v\n%s", args, err, out)
			}
			return out.String()
		}
		text := show("inspect", path)
		for _, want := range []string{"98 of the prunable weights are not zero, but below 1.2e-38 (subnormal)", "hint: --ratio 0.33 or more"} {
			if !strings.Contains(text, want) {
				t.Errorf("type %d: no %q in\n%s", typ, want, text)
			}
		}
		var i inspection
		if err := json.Unmarshal([]byte(show("inspect", path, "--json")), &i); err != nil || i.Subnormal != 98 {
			t.Errorf("type %d: %d subnormal, %v", typ, i.Subnormal, err)
		}
		out := filepath.Join(dir, "out.onnx")
		show(path, out, "--ratio", "0.33")
		if text := show("inspect", out); strings.Contains(text, "subnormal") || !strings.Contains(text, " 201 ") {
			t.Errorf("type %d: after pruning\n%s", typ, text)
		}
		os.Remove(out)
	}
	// Below one in a hundred there is no ratio to name.
	v = make([]float32, 300)
	for i := range v {
		v[i] = 1
	}
	v[7] = 1e-40
	b := onnxtest.New(18, 1)
	b.Node("MatMul", "y", []string{b.Input("x", -1, 30), b.Floats("w", v, 30, 10)})
	b.Output("y", -1, 10)
	if err := os.WriteFile(path, b.Bytes(t), 0o666); err != nil {
		t.Fatal(err)
	}
	cmd, out := program(dir, "inspect", path)
	if err := cmd.Run(); err != nil || !strings.Contains(out.String(), "1 of the prunable weights") || strings.Contains(out.String(), "hint") {
		t.Errorf("one subnormal weight: %v\n%s", err, out)
	}
}
