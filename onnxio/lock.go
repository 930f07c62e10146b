package onnxio

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Lock keeps other processes of this program from writing a file, for as long as this one
// runs or until Release.
type Lock struct {
	file *os.File
	path string
}

// errLocked is what lock returns where another process has the lock.
var errLocked = errors.New("locked")

// LockFile takes the lock on path, which need not exist; the lock itself is a file beside it
// that goes with it. Where another process has it, the error says which. With the lock,
// temporary files that killed processes left of path are removed.
func LockFile(path string) (*Lock, error) {
	target := path
	if t, err := filepath.EvalSymlinks(path); err == nil {
		target = t
	}
	dir, base := filepath.Split(target)
	l := &Lock{path: filepath.Join(dir, "."+base+".lock")}
	for {
		f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, fmt.Errorf("%s: cannot be written: %w", path, plain(err))
		}
		err = lock(f)
		if errors.Is(err, errLocked) {
			owner := make([]byte, 20)
			n, _ := f.Read(owner)
			f.Close()
			return nil, fmt.Errorf("%s: another onnxprune (process %s) is writing it", path, strings.TrimSpace(string(owner[:n])))
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("%s: locking: %w", path, err)
		}
		// Whoever had the lock may have removed the file since it was opened.
		if there, err := os.Stat(l.path); err != nil || !sameInfo(f, there) {
			f.Close()
			continue
		}
		l.file = f
		break
	}
	if err := l.file.Truncate(0); err == nil {
		l.file.WriteString(strconv.Itoa(os.Getpid()) + "\n")
	}
	temporaries.Lock()
	temporaries.names[l.path] = true
	temporaries.Unlock()
	if locks {
		removeStale(dir, base)
	}
	return l, nil
}

func sameInfo(f *os.File, there os.FileInfo) bool {
	info, err := f.Stat()
	return err == nil && os.SameFile(info, there)
}

// Release lets others write the file.
func (l *Lock) Release() {
	if l == nil || l.file == nil {
		return
	}
	os.Remove(l.path)
	l.file.Close()
	l.file = nil
	forgetTemporary(l.path)
}

// removeStale removes the temporary files of base and its data files.
func removeStale(dir, base string) {
	entries, err := os.ReadDir(filepath.Clean(dir + "."))
	if err != nil {
		return
	}
	stale := regexp.MustCompile(`^\.` + regexp.QuoteMeta(base) + `((\.\d+)?\.data)?\.\d+\.\d+\.tmp$`)
	for _, e := range entries {
		if stale.MatchString(e.Name()) {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
