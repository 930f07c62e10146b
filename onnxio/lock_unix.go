//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package onnxio

import (
	"errors"
	"os"
	"syscall"
)

// locks is set where lock keeps others out.
const locks = true

// lock takes the lock on an open file; the system takes it back when the process ends.
func lock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return errLocked
		case errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOLCK):
			return nil // a file system without locks
		}
		return err
	}
}
