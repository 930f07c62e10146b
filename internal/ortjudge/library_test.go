package ortjudge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCachePath(t *testing.T) {
	tests := []struct{ goos, goarch, want string }{
		{"linux", "amd64", "r/.cache/onnxruntime/" + Version + "/linux-x64/libonnxruntime.so.1"},
		{"linux", "arm64", "r/.cache/onnxruntime/" + Version + "/linux-arm64/libonnxruntime.so.1"},
		{"darwin", "arm64", "r/.cache/onnxruntime/" + Version + "/darwin-arm64/libonnxruntime.1.dylib"},
	}
	for _, tt := range tests {
		if got := filepath.ToSlash(cachePath("r", tt.goos, tt.goarch)); got != tt.want {
			t.Errorf("%s/%s: got %s, want %s", tt.goos, tt.goarch, got, tt.want)
		}
	}
}

func TestScriptFetchesVersion(t *testing.T) {
	script, err := os.ReadFile("../../scripts/fetch-onnxruntime.sh")
	if err != nil {
		t.Fatal(err)
	}
	if want := "\nversion=" + Version + "\n"; !strings.Contains(string(script), want) {
		t.Errorf("scripts/fetch-onnxruntime.sh lacks the line %q", strings.TrimSpace(want))
	}
}

func TestLibraryVariable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lib")
	t.Setenv(LibraryVariable, path)
	if _, err := library(); err == nil || !strings.Contains(err.Error(), LibraryVariable) {
		t.Errorf("absent library: got error %v, want one that names %s", err, LibraryVariable)
	}
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if got, err := library(); err != nil || got != path {
		t.Errorf("got %q, %v; want %q", got, err, path)
	}
}
