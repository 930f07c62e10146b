package kernel

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestGenerated checks that the generator writes the assembly that is here. It
// needs the go command and the modules of the generator.
func TestGenerated(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the generator")
	}
	skip := t.Skipf
	if os.Getenv("CI") == "true" {
		skip = t.Fatalf
	}
	generator := filepath.Join("..", "asmgen")
	build := exec.Command("go", "build", "-o", filepath.Join(t.TempDir(), "asmgen"), ".")
	build.Dir = generator
	if out, err := build.CombinedOutput(); err != nil {
		skip("the generator cannot be built: %v\n%s", err, out)
	}
	dir := t.TempDir()
	if out, err := exec.Command(build.Args[3], "-dir", dir).CombinedOutput(); err != nil {
		t.Fatalf("the generator: %v\n%s", err, out)
	}
	here, err := filepath.Glob("*_asm_amd64.*")
	if err != nil || len(here) == 0 {
		t.Fatalf("no generated file: %v", err)
	}
	written, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(written) != len(here) {
		t.Errorf("%d generated files, the generator writes %d", len(here), len(written))
	}
	for _, name := range here {
		old, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if now, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(old, now) {
			t.Errorf("%s is not what the generator writes (go generate ./internal/kernel)", name)
		}
	}
}
