// Package ortjudge runs models in ONNX Runtime, the reference that the tests of
// this module hold its own results against. Only tests use it.
//
// The library is the one that scripts/fetch-onnxruntime.sh leaves in .cache, or
// the one that the environment variable ONNXPRUNE_ORT_LIB names. Calling it
// takes cgo; without cgo, or without the library, the tests that ask for it are
// skipped, or fail where the environment says CI=true.
package ortjudge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Version is the version of ONNX Runtime that scripts/fetch-onnxruntime.sh
// fetches.
const Version = "1.30.0"

// LibraryVariable is the environment variable that names the library to use
// instead of the fetched one.
const LibraryVariable = "ONNXPRUNE_ORT_LIB"

// ErrUnavailable is wrapped by the errors of a process that cannot use ONNX
// Runtime: it was built without cgo, or the library is not there.
var ErrUnavailable = errors.New("onnx runtime is not available")

// Level is a graph optimisation level of ONNX Runtime.
type Level int

// The levels, from every optimisation to none, which runs the nodes as they
// stand in the file.
const (
	LevelAll Level = iota
	LevelExtended
	LevelBasic
	LevelNone
)

// Options sets how a session runs. The zero value runs on one thread with every
// graph optimisation. Execution is sequential, so that equal inputs give equal
// outputs for the same number of threads.
type Options struct {
	Threads int // intra-op threads; 0 means 1
	Level   Level
}

// Require skips the test when ONNX Runtime is not available, saying how to get
// it, or fails it where the environment says CI=true. A library that is there
// but cannot be used fails the test.
func Require(t testing.TB) {
	t.Helper()
	err := start()
	switch {
	case err == nil:
	case errors.Is(err, ErrUnavailable) && os.Getenv("CI") != "true":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}

// Open calls Require and returns a session on the model, closed when the test
// ends. A model that does not load fails the test.
func Open(t testing.TB, modelPath string, o Options) *Session {
	t.Helper()
	Require(t)
	s, err := NewSession(modelPath, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Run returns the outputs of the model, by name, for the given inputs, by name,
// with default options. An error fails the test.
func Run(t testing.TB, modelPath string, inputs map[string]Tensor) map[string]Tensor {
	t.Helper()
	outputs, err := Open(t, modelPath, Options{}).Run(inputs)
	if err != nil {
		t.Fatal(err)
	}
	return outputs
}

// Load returns the error with which ONNX Runtime refuses the model, or nil.
func Load(t testing.TB, modelPath string) error {
	t.Helper()
	Require(t)
	s, err := NewSession(modelPath, Options{})
	if err != nil {
		return err
	}
	s.Close()
	return nil
}

// Inputs returns the inputs that the model declares, in the file's order,
// without those that an initializer gives a value.
func Inputs(t testing.TB, modelPath string) []ValueInfo {
	t.Helper()
	return Open(t, modelPath, Options{Level: LevelNone}).Inputs()
}

// Outputs returns the outputs that the model declares, in the file's order.
func Outputs(t testing.TB, modelPath string) []ValueInfo {
	t.Helper()
	return Open(t, modelPath, Options{Level: LevelNone}).Outputs()
}

// library returns the path of the ONNX Runtime library.
func library() (string, error) {
	if path := os.Getenv(LibraryVariable); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s: %w", LibraryVariable, err)
		}
		return path, nil
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	path := cachePath(root, runtime.GOOS, runtime.GOARCH)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: set %s or run scripts/fetch-onnxruntime.sh", ErrUnavailable, LibraryVariable)
	} else if err != nil {
		return "", err
	}
	return path, nil
}

// cachePath returns where scripts/fetch-onnxruntime.sh leaves the library of a
// platform.
func cachePath(root, goos, goarch string) string {
	name, arch := "libonnxruntime.so.1", goarch
	if goos == "darwin" {
		name = "libonnxruntime.1.dylib"
	}
	if goarch == "amd64" {
		arch = "x64"
	}
	return filepath.Join(root, ".cache", "onnxruntime", Version, goos+"-"+arch, name)
}

// moduleRoot returns the nearest folder with a go.mod, from the working
// directory upwards.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("%w: no go.mod above the working directory, and %s is not set",
				ErrUnavailable, LibraryVariable)
		}
		dir = parent
	}
}
