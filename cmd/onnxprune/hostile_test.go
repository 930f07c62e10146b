package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/onnxprune/onnxprune/internal/onnxtest"
)

// Bounds on what any file may cost, in seconds of the processor and in bytes.
const (
	hostileSeconds = 10
	hostileFactor  = 4
	hostileMemory  = 100 << 20
	// Channel analysis takes this much for every node.
	hostileNode  = 3 << 10
	hostileNodes = 25_000 // are in hostileMemory
)

// usage is what a command cost.
type usage struct {
	Code    int
	Seconds float64
	Peak    int64
	Out     string
}

// measure runs commands, given as JSON in files, and prints what each cost. It is a process of its own, since
// a process begins with the peak of the one that it was made from.
func measure(args []string) error {
	var list [][]string
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	var all []usage
	for _, c := range list {
		out := &bytes.Buffer{}
		cmd := &exec.Cmd{Path: exe, Args: append([]string{"onnxprune"}, c...), Stdout: out, Stderr: out, Env: append(os.Environ(), "GOMAXPROCS=2")}
		if err := cmd.Start(); err != nil {
			return err
		}
		timer := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			return err
		}
		s := cmd.ProcessState
		text := out.String()
		if len(text) > 4000 {
			text = text[:4000]
		}
		all = append(all, usage{s.ExitCode(), (s.UserTime() + s.SystemTime()).Seconds(), s.SysUsage().(*syscall.Rusage).Maxrss << 10, text})
	}
	return json.NewEncoder(os.Stdout).Encode(all)
}

// bounded runs commands and reports each that ends in another way than with success or an error of ours, or that costs
// more than files may; sizes are those of the files.
func bounded(t *testing.T, commands [][]string, sizes []int64) {
	t.Helper()
	list := filepath.Join(t.TempDir(), "commands.json")
	text, err := json.Marshal(commands)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list, text, 0o666); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := (&exec.Cmd{Path: exe, Args: []string{"measure", list}, Env: os.Environ(), Stderr: os.Stderr}).Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []usage
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	worst, slowest := usage{}, usage{}
	for i, u := range all {
		name := strings.Join(commands[i], " ")
		if testing.Verbose() {
			t.Logf("%s: exit %d, %.2f s, %d MB: %.200s", name, u.Code, u.Seconds, u.Peak>>20, u.Out)
		}
		if u.Code != 0 && u.Code != 1 || strings.Contains(u.Out, "internal error") || strings.Contains(u.Out, "goroutine ") {
			t.Errorf("%s: exit %d\n%.2000s", name, u.Code, u.Out)
		}
		if u.Code == 1 && !strings.HasPrefix(u.Out, "onnxprune: ") {
			t.Errorf("%s: no error of ours: %.500s", name, u.Out)
		}
		if strings.ContainsAny(u.Out, "\x1b\a\x00") {
			t.Errorf("%s: prints control characters: %.500q", name, u.Out)
		}
		if u.Seconds > hostileSeconds {
			t.Errorf("%s: %.1f s", name, u.Seconds)
		}
		if limit := hostileFactor*sizes[i] + hostileMemory; u.Peak > limit && !raceEnabled { // whose detector takes some times as much
			t.Errorf("%s: %d MB, the bound is %d", name, u.Peak>>20, limit>>20)
		}
		if u.Peak-hostileFactor*sizes[i] > worst.Peak {
			worst = usage{Peak: u.Peak - hostileFactor*sizes[i], Out: name}
		}
		if u.Seconds > slowest.Seconds {
			slowest = usage{Seconds: u.Seconds, Out: name}
		}
	}
	t.Logf("%d runs; most memory beside 4 times the file: %d MB (%s); slowest: %.2f s (%s)", len(all), worst.Peak>>20, worst.Out, slowest.Seconds, slowest.Out)
}

// write puts a hostile file into a directory.
func write(t *testing.T, dir string, b onnxtest.Bomb) string {
	t.Helper()
	name := b.Name
	if filepath.Ext(name) == "" {
		name += ".onnx"
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b.Data, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBombs runs hand-made hostile files: each is refused or pruned, within bounds of time and memory.
func TestBombs(t *testing.T) {
	dir := t.TempDir()
	var commands [][]string
	var sizes []int64
	for _, b := range onnxtest.Bombs(t) {
		path := write(t, dir, b)
		for _, c := range [][]string{{"inspect", path}, {"inspect", "--groups", path}, {path, filepath.Join(dir, "out.onnx"), "--ratio", "0.5"}} {
			size := int64(len(b.Data))
			if b.Name == "thirty_thousand_nodes" {
				size += (30_000 - hostileNodes) * hostileNode / hostileFactor
			}
			commands, sizes = append(commands, c), append(sizes, size)
		}
	}
	bounded(t, commands, sizes)
}

// TestExternalBombs has external data in places where none may be.
func TestExternalBombs(t *testing.T) {
	dir := t.TempDir()
	inner := filepath.Join(dir, "inner")
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(inner, "sub"), 0o777))
	must(os.WriteFile(filepath.Join(dir, "secret"), make([]byte, 256), 0o666))
	must(os.WriteFile(filepath.Join(inner, "good"), make([]byte, 256), 0o666))
	must(os.Symlink("../secret", filepath.Join(inner, "out")))
	must(os.Symlink("/etc/passwd", filepath.Join(inner, "passwd")))
	must(os.Symlink("loop", filepath.Join(inner, "loop")))
	must(os.Symlink("good", filepath.Join(inner, "within")))
	must(os.Symlink("..", filepath.Join(inner, "sub", "up")))
	must(syscall.Mkfifo(filepath.Join(inner, "pipe"), 0o666))
	for i, x := range []struct{ location, offset, length, want string }{
		{"../secret", "", "", "leaves the model's directory"},
		{"../../../../../../../../etc/passwd", "", "", "leaves the model's directory"},
		{"/etc/passwd", "", "", "is an absolute path"},
		{"sub/../../secret", "", "", "leaves the model's directory"},
		{"sub/up/../secret", "", "", "leaves the model's directory"},
		{"out", "", "", "leaves the model's directory"},
		{"passwd", "", "", "leaves the model's directory"},
		{"loop", "", "", `"loop"`},
		{"pipe", "", "", "is not a regular file"},
		{"sub", "", "", "is not a regular file"},
		{"missing", "", "", "no such file"},
		{"", "", "", "no location"},
		{"a\x00b", "", "", `"a\x00b"`},
		{"bomb.onnx", "", "", "is the model itself"},
		{"./sub/../bomb.onnx", "", "", "is the model itself"},
		{"good", "1", "", "need more"},
		{"good", "257", "", "past its end"},
		{"good", "-1", "", "offset"},
		{"good", "9223372036854775807", "", "past its end"},
		{"good", "99999999999999999999", "", "offset"},
		{"good", "0", "255", "the shape needs 256"},
		{"good", "0", "9223372036854775807", "the shape needs 256"},
		{"good", "0", "-1", "length"},
		{"good", "", "", ""},
		{"within", "", "256", ""},
		{"sub/../good", "", "256", ""},
	} {
		path := filepath.Join(inner, "bomb.onnx")
		must(os.WriteFile(path, onnxtest.ExternalBomb(t, x.location, x.offset, x.length), 0o666))
		for _, args := range [][]string{
			{path, filepath.Join(t.TempDir(), "out.onnx"), "--ratio", "0.5"},
			{path, filepath.Join(t.TempDir(), "out.onnx"), "--ratio", "0"},
			{"inspect", path},
			{path, filepath.Join(t.TempDir(), "bomb.onnx"), "--ratio", "0"},
		} {
			cmd, out := program(inner, args...)
			err := cmd.Run()
			if (err == nil) != (x.want == "") || x.want != "" && !strings.Contains(out.String(), x.want) {
				t.Errorf("%d: %q at %q, %q bytes, %v: %v\n%s", i, x.location, x.offset, x.length, args, err, out)
			}
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 2 {
		t.Errorf("files outside the model's directory: %v, %v", left, err)
	}
	secret, err := os.ReadFile(filepath.Join(dir, "secret"))
	if err != nil || !bytes.Equal(secret, make([]byte, 256)) {
		t.Errorf("the file outside was changed: %v", err)
	}
}

// TestDamagedFiles cuts real files and turns single bits in them.
func TestDamagedFiles(t *testing.T) {
	n := 12
	paths := modelFiles(t, "../../testdata/models/*.onnx", "../../../shared/zoo/*.onnx")
	if testing.Short() {
		n = 2
	}
	dir := t.TempDir()
	old, oldErr := os.Stdout, os.Stderr
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	os.Stdout, os.Stderr = null, null
	defer func() { os.Stdout, os.Stderr = old, oldErr }()
	runs := 0
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range onnxtest.Damaged(strings.TrimSuffix(filepath.Base(p), ".onnx"), data, n) {
			path := write(t, dir, b)
			for _, args := range [][]string{{"inspect", path}, {path, filepath.Join(dir, "out.onnx"), "--ratio", "0.5"}} {
				start := time.Now()
				if code := guarded(func() int { return run(args) }); code != 0 && code != 1 {
					t.Errorf("%v: exit %d", args, code)
				}
				if d := time.Since(start); d > time.Minute {
					t.Errorf("%v: %v", args, d)
				}
				runs++
			}
			os.Remove(path)
		}
	}
	t.Log(fmt.Sprint(runs, " runs"))
}
