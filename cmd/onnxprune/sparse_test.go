package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/internal/ortjudge"
	"github.com/onnxprune/onnxprune/onnxio"
)

// sparseAndDense prunes a model twice, with and without --sparse.
func sparseAndDense(t *testing.T, model, ratio string) (sparse, dense string) {
	t.Helper()
	dir := t.TempDir()
	sparse, dense = filepath.Join(dir, "sparse.onnx"), filepath.Join(dir, "dense.onnx")
	command(t, model, sparse, "--ratio", ratio, "--sparse", "--quiet")
	command(t, model, dense, "--ratio", ratio, "--quiet")
	return sparse, dense
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestSparse writes sparse initializers: the file is smaller, holds the same elements bit for bit, can be pruned again,
// and is written dense again by a run without --sparse.
func TestSparse(t *testing.T) {
	for _, name := range []string{"glyphs_resnet_bn", "tiny_mlp", "tiny_shared", "tiny_conv1d"} {
		t.Run(name, func(t *testing.T) {
			sparse, dense := sparseAndDense(t, "../../testdata/models/"+name+".onnx", "0.9")
			if a, b := fileSize(t, sparse), fileSize(t, dense); a >= b {
				t.Errorf("%d bytes, dense %d", a, b)
			}
			m, err := onnxio.Load(sparse)
			if err != nil {
				t.Fatal(err)
			}
			d, err := onnxio.Load(dense)
			if err != nil {
				t.Fatal(err)
			}
			if len(m.Proto.Graph.SparseInitializer) == 0 || m.Proto.GetIrVersion() < 6 {
				t.Fatalf("%d sparse initializers, ir version %d", len(m.Proto.Graph.SparseInitializer), m.Proto.GetIrVersion())
			}
			for _, s := range m.Proto.Graph.SparseInitializer {
				x, err := onnxio.Dense(s, m)
				if err != nil {
					t.Fatal(err)
				}
				want, err := onnxio.Raw(d.Tensor(s.Values.GetName()), d)
				if err != nil || string(x.RawData) != string(want) {
					t.Errorf("%s differs from the dense form, %v", s.Values.GetName(), err)
				}
				if stored, all := len(s.Values.RawData)+len(s.Indices.RawData), len(want); stored >= all {
					t.Errorf("%s: %d bytes, dense %d", s.Values.GetName(), stored, all)
				}
			}
			if got, want := command(t, "inspect", sparse, "--json"), command(t, "inspect", dense, "--json"); strings.Count(got, "\n") != strings.Count(want, "\n") {
				t.Errorf("inspect prints %s\nwant %s", got, want)
			}
			command(t, "verify", sparse, dense, "--tolerance", "0")
			again, twice := filepath.Join(t.TempDir(), "again.onnx"), filepath.Join(t.TempDir(), "twice.onnx")
			command(t, sparse, again, "--ratio", "0.95", "--quiet")
			command(t, dense, twice, "--ratio", "0.95", "--quiet")
			command(t, "verify", again, twice, "--tolerance", "0")
			if b, err := onnxio.Load(again); err != nil || len(b.Proto.Graph.SparseInitializer) > 0 {
				t.Errorf("pruned again without --sparse it has %d sparse initializers, %v", len(b.Proto.Graph.SparseInitializer), err)
			}
		})
	}
}

// TestSparseInRuntime gives sparse files to ONNX Runtime and to the ONNX checker.
func TestSparseInRuntime(t *testing.T) {
	ortjudge.Require(t)
	var files []string
	for _, path := range modelFiles(t, "../../testdata/models/glyphs*.onnx", "../../../shared/models/resnet20*.onnx", "../../../shared/zoo/tv_*.onnx") {
		sparse, _ := sparseAndDense(t, path, "0.9")
		files = append(files, sparse)
		if err := ortjudge.Load(t, sparse); err != nil {
			t.Errorf("%s: ONNX Runtime does not load it: %v", path, err)
			continue
		}
		compareWithRuntime(t, sparse)
	}
	const python = "/usr/bin/python3"
	if exec.Command(python, "-c", "import onnx").Run() != nil {
		t.Skip("python3 has no onnx: the checker was not run")
	}
	const script = "import sys, onnx\nfor p in sys.argv[1:]:\n onnx.checker.check_model(p)"
	if out, err := exec.Command(python, append([]string{"-c", script}, files...)...).CombinedOutput(); err != nil {
		t.Errorf("the ONNX checker refuses sparse files: %v\n%s", err, out)
	}
}

// TestZstd reads and writes compressed files with every command.
func TestZstd(t *testing.T) {
	model, dir := "../../testdata/models/glyphs_resnet_bn.onnx", t.TempDir()
	plain, packed, back := filepath.Join(dir, "a.onnx"), filepath.Join(dir, "a.onnx.zst"), filepath.Join(dir, "back.onnx")
	command(t, model, plain, "--ratio", "0.9", "--quiet")
	command(t, model, packed, "--ratio", "0.9", "--quiet")
	if a, b := fileSize(t, packed), fileSize(t, plain); a > b/2 {
		t.Errorf("compressed it has %d bytes of %d", a, b)
	}
	command(t, packed, back, "--ratio", "0", "--quiet")
	a, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(back); err != nil || string(a) != string(b) {
		t.Errorf("decompressed it differs: %v", err)
	}
	glyphs := "../../testdata/data/glyphs/test"
	for _, args := range [][]string{{"inspect", packed}, {"inspect", "--groups", packed}, {"eval", packed, "--data", glyphs}, {"verify", packed, plain, "--tolerance", "0"},
		{"bench", packed}, {packed, packed, "--structure", "filter", "--ratio", "0.2", "--quiet"}, {packed, packed, "--ratio", "0.92", "--masks", "node", "--quiet"}} {
		command(t, args...)
	}
	if err := os.WriteFile(packed, []byte("\x28\xb5\x2f\xfdgarbage"), 0o666); err != nil {
		t.Fatal(err)
	}
	cmd, out := program(dir, "inspect", packed)
	if cmd.Run() == nil || !strings.Contains(out.String(), "not a Zstandard file") {
		t.Errorf("garbage: %s", out)
	}
}
