package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxprune/onnxprune/onnxio"
)

// Kept is how many checkpoints a directory keeps: the newest, and those before it.
const Kept = 2

const (
	prefix = "checkpoint-"
	suffix = ".ckpt"
)

// Dir is a directory that a run writes checkpoints to.
type Dir struct {
	path string
	next int
	lock *onnxio.Lock
}

// OpenDir makes the directory if it is missing, keeps other processes from it until Close,
// removes what interrupted writes left, and goes on counting behind the checkpoints that are
// there.
func OpenDir(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, fmt.Errorf("%s: %w", path, cause(err))
	}
	lock, err := onnxio.LockFile(filepath.Join(path, "checkpoints"))
	if err != nil {
		return nil, err
	}
	files, err := filesOf(path)
	if err != nil {
		lock.Release()
		return nil, err
	}
	stale, _ := filepath.Glob(filepath.Join(path, "."+prefix+"*"+suffix+".*.tmp"))
	for _, name := range stale {
		os.Remove(name)
	}
	d := &Dir{path: path, next: 1, lock: lock}
	if n := len(files); n > 0 {
		d.next = files[n-1].number + 1
	}
	return d, nil
}

// Close lets others write to the directory.
func (d *Dir) Close() { d.lock.Release() }

// Write adds a checkpoint and removes those before the last [Kept]. An error names the
// file; the checkpoints before it are then as they were.
func (d *Dir) Write(s *State) error {
	name := filepath.Join(d.path, fmt.Sprintf("%s%08d%s", prefix, d.next, suffix))
	err := onnxio.WriteFileAtomic(name, func(w io.Writer) error {
		_, err := s.WriteTo(w)
		return err
	})
	if err != nil {
		return err
	}
	d.next++
	keep := Kept
	if s.Complete {
		keep = 1
	}
	return d.trim(keep)
}

// Clear removes all checkpoints.
func (d *Dir) Clear() error { return d.trim(0) }

func (d *Dir) trim(keep int) error {
	files, err := filesOf(d.path)
	if err != nil {
		return err
	}
	for _, f := range files[:max(0, len(files)-keep)] {
		if err := os.Remove(filepath.Join(d.path, f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", filepath.Join(d.path, f.name), cause(err))
		}
	}
	return nil
}

type file struct {
	name   string
	number int
}

// filesOf lists the checkpoints of a directory, oldest first.
func filesOf(path string) ([]file, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, cause(err))
	}
	var files []file
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), prefix)
		if !ok {
			continue
		}
		if digits, ok = strings.CutSuffix(digits, suffix); !ok {
			continue
		}
		if n, err := strconv.Atoi(digits); err == nil && n > 0 {
			files = append(files, file{e.Name(), n})
		}
	}
	slices.SortFunc(files, func(a, b file) int { return a.number - b.number })
	return files, nil
}

// ErrNone is the error for a directory without checkpoints.
var ErrNone = errors.New("no checkpoint is there")

// Latest reads the newest checkpoint of a directory, or the file that path names. The error
// for one that was cut or changed names the newest of the directory that is whole.
func Latest(path string) (s *State, name string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", path, cause(err))
	}
	name = path
	dir := filepath.Dir(path)
	if info.IsDir() {
		files, err := filesOf(path)
		if err != nil {
			return nil, "", err
		}
		if len(files) == 0 {
			return nil, "", fmt.Errorf("%s: %w", path, ErrNone)
		}
		dir, name = path, filepath.Join(path, files[len(files)-1].name)
	}
	s, err = Read(name)
	if err == nil {
		return s, name, nil
	}
	files, _ := filesOf(dir)
	for _, f := range slices.Backward(files) {
		other := filepath.Join(dir, f.name)
		if other == name {
			continue
		}
		if _, bad := Read(other); bad == nil {
			return nil, name, fmt.Errorf("%w\nhint: the last good checkpoint is %s, onnxprune resume %s goes on from it", err, other, other)
		}
	}
	return nil, name, fmt.Errorf("%w\nhint: there is no other good checkpoint in %s, start the run again", err, dir)
}

// Read reads the checkpoint in a file.
func Read(name string) (*State, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, cause(err))
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", name)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, cause(err))
	}
	s, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: no good checkpoint: %w", name, err)
	}
	return s, nil
}

// cause strips operation and path from an error of package os.
func cause(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
