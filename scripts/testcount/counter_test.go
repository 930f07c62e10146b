package main

import (
	"io"
	"strings"
	"testing"
)

func TestCounter(t *testing.T) {
	tests := []struct {
		name                    string
		events                  string
		passed, failed, skipped int
		prints                  string
	}{
		{name: "empty"},
		{
			name: "each outcome",
			events: `{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestA/sub"}
{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:3: no such file: x\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p"}
`,
			passed: 2, skipped: 1,
			prints: "skipped 1: no such file: x\n",
		},
		{
			name: "what judges say, once",
			events: `{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: judge: A: 3 cases run\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: judge: A: 3 cases run\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
`,
			passed: 2,
			prints: "judge A: 3 cases run\n",
		},
		{
			name: "failed test fails its package only once",
			events: `{"Action":"output","Package":"p","Test":"TestA","Output":"got 1, want 2\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"fail","Package":"p"}
`,
			failed: 1,
			prints: "got 1, want 2\n",
		},
		{
			name: "package that does not build",
			events: `{"ImportPath":"p [p.test]","Action":"build-output","Output":"p.go:1: syntax error\n"}
{"ImportPath":"p [p.test]","Action":"build-fail"}
{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}
`,
			failed: 1,
			prints: "p.go:1: syntax error\n",
		},
		{
			name: "package that fails in a second run only",
			events: `{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"fail","Package":"p"}
{"Action":"output","Package":"p","Output":"exit status 2\n"}
{"Action":"fail","Package":"p"}
`,
			failed: 2,
			prints: "exit status 2\n",
		},
		{
			name:   "package without tests, and a line that is no event",
			events: "go: warning\n" + `{"Action":"skip","Package":"p"}` + "\n",
			prints: "go: warning\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			c := newCounter(&out)
			if err := c.read(strings.NewReader(tt.events)); err != nil {
				t.Fatal(err)
			}
			c.finish()
			if c.passed != tt.passed || c.failed != tt.failed || c.skipped != tt.skipped {
				t.Errorf("got %d passed, %d failed, %d skipped; want %d, %d, %d",
					c.passed, c.failed, c.skipped, tt.passed, tt.failed, tt.skipped)
			}
			if !strings.Contains(out.String(), tt.prints) {
				t.Errorf("output %q lacks %q", out.String(), tt.prints)
			}
		})
	}
}

func TestCounterReadError(t *testing.T) {
	r, w := io.Pipe()
	w.CloseWithError(io.ErrUnexpectedEOF)
	if err := newCounter(io.Discard).read(r); err != io.ErrUnexpectedEOF {
		t.Errorf("got error %v, want %v", err, io.ErrUnexpectedEOF)
	}
}
