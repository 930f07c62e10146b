package main

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/onnxprune/onnxprune/checkpoint"
	"github.com/onnxprune/onnxprune/data"
)

var kills = flag.Int("kills", 0, "random moments at which TestKill kills runs; 0: one in every second kind of run")

// program is the command as a process of its own.
func program(dir string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	out := &bytes.Buffer{}
	return &exec.Cmd{Path: exe, Args: append([]string{"onnxprune"}, args...), Dir: dir, Stdout: out, Stderr: out, Env: os.Environ()}, out
}

// sample writes the first rows of a dataset of glyphs.
func sample(t *testing.T, from string, rows int) string {
	t.Helper()
	d, err := data.Open(from, []data.InputSpec{{Name: "x", Shape: []int{1, 16, 16}}}, data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	batches, err := d.Batches(data.BatchOptions{Size: rows, Augment: data.AugmentNone})
	if err != nil {
		t.Fatal(err)
	}
	defer batches.Close()
	b, err := batches.Next()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	x, err := data.NewWriter[float32](dir, "input", []int{1, 16, 16}, 100)
	if err != nil {
		t.Fatal(err)
	}
	y, err := data.NewWriter[int64](dir, "label", nil, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{x.Write(b.Inputs[0]), y.Write(b.Labels), x.Close(), y.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// killable are kinds of runs: every method, structure and phase.
var killable = []struct{ model, flags string }{
	{"glyphs_resnet_bn", "--ratio 0.8 --checkpoint-every 1"},
	{"glyphs_resnet_bn", "--ratio 0.8 --checkpoint-every 4 --rewind 2 --retrain 2"},
	{"glyphs_resnet_bn", "--structure 2:4 --anchor 0.05 --checkpoint-every 3"},
	{"glyphs_resnet_bn", "--structure block:4x1 --ratio 0.5 --method synflow --checkpoint-every epoch"},
	{"glyphs_resnet_bn", "--ratio 0.8 --method omp --anchor 0.05 --retrain 1 --checkpoint-every 2"},
	{"glyphs_resnet_bn", "--ratio 0.5 --method imp --epochs 1 --rewind 1 --checkpoint-every 2"},
	{"glyphs_resnet_bn", "--ratio 0.8 --method hydra --checkpoint-every 50ms"},
	{"glyphs_resnet_bn", "--ratio 0.8 --method snip --checkpoint-every 5"},
	{"glyphs_resnet_bn", "--ratio 0.5 --method grasp --checkpoint-every 5"},
	{"glyphs_resnet_bn", "--ratio 0.8 --method random --retrain 1 --checkpoint-every 1"},
	{"glyphs_resnet_bn", "--structure filter --of macs --ratio 0.5 --round 1 --masked-epochs 2 --checkpoint-every 1"},
	{"glyphs_resnet_bn", "--structure filter --ratio 0.3 --round 1 --importance taylor --both-batches --checkpoint-every 3"},
	{"glyphs_resnet_bn", "--structure channel --of macs --ratio 0.4 --round 1 --keep-shapes --checkpoint-every 2"},
	{"glyphs_resnet_bn", "--structure filter --of macs --ratio 0.5 --round 1 --method hydra --masked-epochs 1 --checkpoint-every epoch"},
	{"glyphs_resnet_bn", "--structure filter --of macs --ratio 0.5 --round 1 --masked-epochs 3 --checkpoint-every 4"},
	{"glyphs_resnet_bn", "--structure filter --of macs --ratio 0.5 --round 1 --method imp --epochs 1 --checkpoint-every 3"},
	{"glyphs_resnet_bn", "--structure filter --of macs --ratio 0.3 --round 1 --method imp --epochs 2 --importance taylor --rewind 1 --retrain 1 --checkpoint-every 2"},
	{"glyphs_resnet_bn", "--structure filter --of macs --ratio 0.5 --round 1 --rewind 1 --retrain 1 --checkpoint-every 4"},
	{"glyphs_resnet_bn", "--structure filter --of size --ratio 0.3 --round 1 --method imp --epochs 1 --checkpoint-every 2"},
	{"glyphs_resnet_bn", "--ratio 0.8 --distill=0.5 --checkpoint-every 3"},
	{"glyphs_resnet_bn", "--ratio 0.8 --lr 30 --checkpoint-every 2"},
	{"glyphs_resnet", "--ratio 0.8 --rebn on --checkpoint-every 3"},
	{"glyphs_resnet", "--structure filter --of macs --ratio 0.5 --round 1 --rebn on --checkpoint-every 1"},
	{"tiny_sub_pixel", "--structure filter --ratio 0.3 --round 1 --distill --checkpoint-every 5"},
	{"tiny_mlp", "--ratio 0.5 --distill --checkpoint-every 20"},
}

// madeUp reports whether a kind of run has no data, but inputs that it makes up.
func madeUp(flags string) bool { return strings.Contains(flags, "--distill ") }

var secondsLine = regexp.MustCompile(`(?m)^  "seconds": .*$`)

// TestKill kills runs at random moments and goes on with them: the model and the report have
// the bytes of a run that was not killed, and what a killed run leaves at the place of the
// output is all of it or nothing.
func TestKill(t *testing.T) {
	root, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	train, val := sample(t, filepath.Join(root, "data", "glyphs", "train"), 320), sample(t, filepath.Join(root, "data", "glyphs", "test"), 100)
	kinds, want := killable, *kills
	if want == 0 {
		kinds = nil
		for i := 0; i < len(killable); i += 2 {
			kinds = append(kinds, killable[i])
		}
		want = len(kinds)
	}
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	done, early, where := 0, 0, map[string]int{}
	for i := range min(len(kinds), want) {
		k := kinds[i]
		args := append([]string{filepath.Join(root, "models", k.model+".onnx"), "out.onnx", "--epochs", "3", "--batch", "32", "--threads", "2", "--report", "out.json", "--checkpoint", "ck"}, strings.Fields(k.flags)...)
		if !madeUp(k.flags) {
			args = append(args, "--data", train, "--val", val)
		}
		whole := t.TempDir()
		cmd, out := program(whole, args...)
		start := time.Now()
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v\n%s", k.flags, err, out)
		}
		length := time.Since(start)
		model, text := outputs(t, whole)
		for n := i; n < want; n += len(kinds) {
			dir := t.TempDir()
			cmd, out := program(dir, args...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			wait := time.Duration(rng.Float64() * float64(length))
			time.Sleep(wait)
			cmd.Process.Kill()
			err := cmd.Wait()
			if err == nil {
				early++
			}
			if left, err := os.ReadFile(filepath.Join(dir, "out.onnx")); err == nil && !bytes.Equal(left, model) {
				t.Errorf("%s: killed after %v: out.onnx has %d bytes, other than the %d it should have", k.flags, wait, len(left), len(model))
			}
			place := "before the first checkpoint"
			if s, _, err := checkpoint.Latest(filepath.Join(dir, "ck")); err == nil {
				if place = "at the first checkpoint"; len(s.Names()) > 0 {
					place = "in training"
				} else if s.Complete {
					place = "at the end"
				}
			} else if !strings.Contains(err.Error(), checkpoint.ErrNone.Error()) && !strings.Contains(err.Error(), "no such file") {
				t.Errorf("%s: killed after %v: %v", k.flags, wait, err)
			}
			where[place]++
			if place == "before the first checkpoint" {
				cmd, out = program(dir, args...)
			} else {
				cmd, out = program(dir, "resume", "ck")
			}
			if err := cmd.Run(); err != nil {
				t.Errorf("%s: killed after %v %s, resumed: %v\n%s", k.flags, wait, place, err, out)
				continue
			}
			m, r := outputs(t, dir)
			if !bytes.Equal(m, model) || r != text {
				t.Errorf("%s: killed after %v %s, resumed: out.onnx equal: %v, report equal: %v", k.flags, wait, place, bytes.Equal(m, model), r == text)
				continue
			}
			for _, pattern := range []string{".*", filepath.Join("ck", ".*")} {
				if left, _ := filepath.Glob(filepath.Join(dir, pattern)); len(left) > 0 {
					t.Errorf("%s: killed after %v %s: %v are left", k.flags, wait, place, left)
				}
			}
			done++
		}
	}
	t.Logf("kill: %d/%d runs killed at random moments and resumed have the bytes of the uninterrupted one (%d had ended before the kill; %v)", done, want, early, where)
}

// outputs are the model and the report without its time.
func outputs(t *testing.T, dir string) ([]byte, string) {
	t.Helper()
	model, err := os.ReadFile(filepath.Join(dir, "out.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "out.json"))
	if err != nil {
		t.Fatal(err)
	}
	return model, secondsLine.ReplaceAllString(string(text), "")
}
