package onnxio

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// WriteFileAtomic makes path hold what write writes, all of it or nothing: it writes a temporary file in the same
// directory, syncs and renames it. On an error the temporary file is removed and an existing file stays as it was.
// A path that exists and is not a regular file is refused; a symbolic link is followed and its target replaced. An
// existing file's permissions are kept.
//
// Errors start with path.
func WriteFileAtomic(path string, write func(io.Writer) error) error {
	f, err := stageFile(path, write)
	if err != nil {
		return err
	}
	return commitAll([]*stagedFile{f})
}

// stagedFile is a file that is written and synced under a temporary name beside its own.
type stagedFile struct {
	name   string // as given by the user
	path   string // with symbolic links resolved
	temp   string
	placed bool
}

// stageFile writes the temporary file.
func stageFile(name string, write func(io.Writer) error) (*stagedFile, error) {
	s := &stagedFile{name: name, path: name}
	if err := s.write(write); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// open creates the temporary file, empty.
func (s *stagedFile) open() (f outputFile, old os.FileInfo, err error) {
	if target, err := filepath.EvalSymlinks(s.path); err == nil {
		s.path = target
	}
	old, err = os.Stat(s.path)
	switch {
	case err == nil && !old.Mode().IsRegular():
		return nil, nil, errors.New("exists and is not a regular file")
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return nil, nil, plain(err)
	}
	if f, err = createTemp(s.path); err != nil {
		return nil, nil, plain(err)
	}
	s.temp = f.Name()
	return f, old, nil
}

func (s *stagedFile) write(write func(io.Writer) error) error {
	f, old, err := s.open()
	if err != nil {
		return err
	}
	if err := fill(f, old, write); err != nil {
		os.Remove(s.temp)
		forgetTemporary(s.temp)
		var pe *os.PathError
		if errors.As(err, &pe) && pe.Path == s.temp {
			return pe.Err
		}
		return err
	}
	return nil
}

// commitAll gives the files their names, in order; on an error it removes those that have none yet.
func commitAll(files []*stagedFile) error {
	defer discard(files)
	for _, s := range files {
		if err := disk.rename(s.temp, s.path); err != nil {
			var le *os.LinkError
			if errors.As(err, &le) {
				err = le.Err
			}
			return fmt.Errorf("%s: %w", s.name, err)
		}
		s.placed = true
		syncDir(filepath.Dir(s.path))
	}
	return nil
}

// discard removes the temporary files that have not got their names.
func discard(files []*stagedFile) {
	for _, s := range files {
		if !s.placed {
			os.Remove(s.temp)
		}
		forgetTemporary(s.temp)
	}
}

// temporaries are the files that createTemp made and that have not got their names yet.
var temporaries = struct {
	sync.Mutex
	names map[string]bool
}{names: map[string]bool{}}

// RemoveTemporaries removes the temporary files of all writes under way, for a program that
// is about to end. Later writes wait forever.
func RemoveTemporaries() {
	temporaries.Lock()
	for name := range temporaries.names {
		os.Remove(name)
	}
}

func forgetTemporary(name string) {
	temporaries.Lock()
	defer temporaries.Unlock()
	delete(temporaries.names, name)
}

// createTemp creates a file beside path with the permissions that a new file gets.
func createTemp(path string) (outputFile, error) {
	temporaries.Lock()
	defer temporaries.Unlock()
	dir, base := filepath.Split(path)
	for i := 0; ; i++ {
		name := filepath.Join(dir, fmt.Sprintf(".%s.%d.%d.tmp", base, os.Getpid(), i))
		f, err := disk.create(name)
		if err == nil {
			temporaries.names[name] = true
		}
		if err == nil || !errors.Is(err, os.ErrExist) || i == 10000 {
			return f, err
		}
	}
}

// fill writes, syncs and closes f.
func fill(f outputFile, old os.FileInfo, write func(io.Writer) error) (err error) {
	defer func() {
		err = errors.Join(err, f.Close())
	}()
	if old != nil {
		if err := f.Chmod(old.Mode().Perm()); err != nil {
			return err
		}
	}
	w := bufio.NewWriterSize(f, 1<<20)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// syncDir makes a rename durable, on file systems that can sync a directory.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		d.Sync()
		d.Close()
	}
}
