package main

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/op"
)

// captureStderr returns what f writes there.
func captureStderr(t *testing.T, f func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stderr
	os.Stderr = w
	f()
	os.Stderr = old
	w.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPanicBecomesOneLine(t *testing.T) {
	code := 0
	text := captureStderr(t, func() {
		code = guarded(func() int {
			var v []int
			return v[len(v)]
		})
	})
	if code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	want := "onnxprune: internal error, please report it with the command and the model: runtime error: index out of range [0] with length 0\n"
	if text != want {
		t.Errorf("printed %q, want %q", text, want)
	}
}

func TestErrorLines(t *testing.T) {
	text := captureStderr(t, func() { fail(io.ErrUnexpectedEOF, 1) })
	if text != "onnxprune: unexpected EOF\n" {
		t.Errorf("printed %q", text)
	}
	text = captureStderr(t, func() { fail(errorText("a\nb\nhint: c\n"), 1) })
	if text != "onnxprune: a\nonnxprune: b\nhint: c\n" {
		t.Errorf("printed %q", text)
	}
}

type errorText string

func (e errorText) Error() string { return string(e) }

// TestEveryOperatorIsListed makes an instance of every operator that a file may use, so
// that no ability is missed.
func TestEveryOperatorIsListed(t *testing.T) {
	listed := map[string]operator{}
	for _, o := range operators() {
		listed[o.Domain+"."+o.Name] = o
	}
	for _, d := range op.All() {
		if d.Domain == "onnxprune" {
			continue
		}
		o, ok := listed[d.Domain+"."+d.Name]
		if !ok {
			t.Errorf("%s is not listed", d.Name)
		}
		if len(d.Weights) > 0 && (!o.Gradient || !o.Channels) {
			t.Errorf("%s has weights, listed with gradient %v and channel rule %v", d.Name, o.Gradient, o.Channels)
		}
		made := false
		for _, c := range append([]op.Case{{Outputs: 1, In: make([]op.Arg, 3)}}, d.Cases...) {
			if _, err := d.Make(node(d, c)); err == nil {
				made = true
			}
		}
		if !made {
			t.Errorf("%s cannot be made from any of its %d test cases", d.Name, len(d.Cases))
		}
	}
}

func TestBarStaysInOneLine(t *testing.T) {
	var b strings.Builder
	c := &console{out: io.Discard, err: &b, terminal: true, columns: 40}
	p := c.bar()
	p.update("epoch 1/5", 62, 62, "loss 0.1234 and much more than fits")
	p.clear()
	for _, part := range strings.Split(b.String(), "\r\x1b[K") {
		if n := len([]rune(part)); n >= 40 {
			t.Errorf("%d columns in a terminal of 40: %q", n, part)
		}
	}
	if !strings.Contains(b.String(), "epoch 1/5 █") || !strings.HasSuffix(b.String(), "\r\x1b[K") {
		t.Errorf("drew %q", b.String())
	}
	b.Reset()
	c.terminal = false
	p.update("epoch", 2, 2, "")
	p.clear()
	if b.Len() > 0 {
		t.Errorf("drew %q where there is no terminal", b.String())
	}
}
