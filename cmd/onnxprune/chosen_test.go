package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestChosenFlags gives a run the flags that another came to: the written model is the same,
// byte for byte, and so is the line.
func TestChosenFlags(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell to read the line")
	}
	root, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	train := sample(t, filepath.Join(root, "data", "glyphs", "train"), 80)
	for _, c := range []struct{ name, model, flags string }{
		{"bip", "glyphs_resnet_bn", "--ratio 0.8 --epochs 1"},
		{"masks as nodes", "glyphs_resnet_bn", "--ratio 0.8 --epochs 1 --masks node --exclude='-|layer1'"},
		{"sparse", "glyphs_resnet_bn", "--ratio 0.9 --epochs 1 --sparse --method omp"},
		{"bip, folded", "glyphs_resnet", "--ratio 0.8 --epochs 1 --batch 20 --exclude '^conv (1|b)$|layer1'"},
		{"bip, filters", "glyphs_resnet", "--structure filter --ratio 0.3 --epochs 2 --batch 20 --layer-ratio 'layer1.*=0.25' --no-both-batches --distill=0.5"},
		{"2:4", "glyphs_resnet_bn", "--structure 2:4 --epochs 1 --batch 20 --loss distill --label-weight 0.25"},
		{"imp", "glyphs_resnet_bn", "--ratio 0.5 --epochs 1 --batch 20 --method imp --rewind 1"},
		{"omp, channels", "glyphs_resnet_bn", "--structure channel --ratio 0.3 --epochs 1 --batch 20 --method omp --retrain 1 --on-divergence stop"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			run := func(flags string) (model []byte, line string) {
				cmd, out := program(dir)
				exe := filepath.Join(dir, "onnxprune")
				os.Symlink(cmd.Path, exe)
				script := "exec \"$0\" " + filepath.Join(root, "models", c.model+".onnx") + " out.onnx --data " + train + " --report r.json " + flags
				cmd.Path, cmd.Args = shell, []string{"sh", "-c", script, exe}
				if err := cmd.Run(); err != nil {
					t.Fatalf("%s: %v\n%s", flags, err, out)
				}
				model, err := os.ReadFile(filepath.Join(dir, "out.onnx"))
				if err != nil {
					t.Fatal(err)
				}
				text, err := os.ReadFile(filepath.Join(dir, "r.json"))
				if err != nil {
					t.Fatal(err)
				}
				var r struct{ Settings struct{ Flags string } }
				if err := json.Unmarshal(text, &r); err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(out.String(), "\nsettings: "+r.Settings.Flags+"\n") {
					t.Errorf("the run does not say %q:\n%s", r.Settings.Flags, out)
				}
				return model, r.Settings.Flags
			}
			first, flags := run(c.flags)
			second, again := run(flags)
			if flags != again {
				t.Errorf("flags %q came to %q", flags, again)
			}
			if !bytes.Equal(first, second) {
				t.Errorf("other bytes with %q than with %q", flags, c.flags)
			}
		})
	}
}
