package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// TestSameBytes prunes with and without training: the written file is the same, byte for byte, at 1, 2, 3 and 8 threads (1 and 3
// on all but the fastest kernel variant), and a build with the tag purego writes what the variant go does. Magnitudes are
// compared without arithmetic: there all variants write the same.
func TestSameBytes(t *testing.T) {
	root, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	train := sample(t, filepath.Join(root, "data", "glyphs", "train"), 80)
	dir := t.TempDir()
	write := func(t *testing.T, exe, variant, threads, flags string) []byte {
		t.Helper()
		os.Remove(filepath.Join(dir, "out.onnx"))
		cmd, out := program(dir, append([]string{filepath.Join(root, "models", "glyphs_resnet_bn.onnx"), "out.onnx", "--threads", threads}, strings.Fields(strings.ReplaceAll(flags, "TRAIN", train))...)...)
		if exe != "" {
			cmd.Path = exe
			cmd.Args[0] = exe
		}
		cmd.Env = append(cmd.Env, "ONNXPRUNE_KERNEL="+variant)
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v\n%s", flags, err, out)
		}
		b, err := os.ReadFile(filepath.Join(dir, "out.onnx"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	pure := filepath.Join(dir, "pure")
	build := exec.Command("go", "build", "-tags", "purego", "-o", pure, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Logf("no build with the tag purego, which is not compared: %v\n%s", err, out)
		pure = ""
	}
	for _, c := range []struct {
		name, flags string
		exact       bool
	}{
		{"magnitude", "--ratio 0.8", true},
		{"blocks", "--structure block:2x2 --ratio 0.5", false},
		{"filters", "--structure filter --of macs --ratio 0.4 --round 1", false},
		{"bip", "--ratio 0.8 --data TRAIN --epochs 1 --batch 40", false},
		{"bip, filters", "--structure filter --of macs --ratio 0.4 --round 1 --data TRAIN --masked-epochs 1 --epochs 2 --batch 40", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var first, last []byte
			for _, variant := range kernel.Variants() {
				one := write(t, "", variant, "1", c.flags)
				others := []string{"3"}
				if first == nil {
					others = []string{"2", "3", "8"}
				}
				for _, threads := range others {
					if !bytes.Equal(one, write(t, "", variant, threads, c.flags)) {
						t.Errorf("%s: other bytes at %s threads than at 1", variant, threads)
					}
				}
				if first == nil {
					first = one
				}
				if c.exact && !bytes.Equal(first, one) {
					t.Errorf("%s: other bytes than %s", variant, kernel.Variants()[0])
				}
				last = one
			}
			if pure != "" && !bytes.Equal(last, write(t, pure, "", "3", c.flags)) {
				t.Error("the build with the tag purego writes other bytes than the variant go")
			}
		})
	}
}
