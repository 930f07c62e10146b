package onnxio

import (
	"io"
	"os"
)

// outputFile is what is written to of an [os.File].
type outputFile interface {
	io.Writer
	io.WriterAt
	Name() string
	Truncate(size int64) error
	Chmod(mode os.FileMode) error
	Sync() error
	Close() error
}

// fileSystem is what writing a file needs of the system: tests put one with faults in its
// place.
type fileSystem interface {
	// create makes a file that must not exist.
	create(name string) (outputFile, error)
	rename(from, to string) error
}

var disk fileSystem = system{}

type system struct{}

func (system) create(name string) (outputFile, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (system) rename(from, to string) error { return os.Rename(from, to) }
