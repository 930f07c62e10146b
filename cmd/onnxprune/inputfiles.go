package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/graph"
)

// inputFile is a file that a run reads: what it is for, and its content.
type inputFile struct {
	Role   string `json:"role"`
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	path   string
}

// what names the part of the command that a file belongs to.
func (f *inputFile) what() string {
	if f.Role == "IN" {
		return f.Role
	}
	return "a file of " + f.Role
}

// inputs lists all files that the run reads, with their hashes.
func (c *pruneCmd) inputs(con *console, g *graph.Graph, s *sources) ([]inputFile, error) {
	var files []inputFile
	model := func(role, path string, g *graph.Graph) error {
		files = append(files, inputFile{Role: role, Name: filepath.Base(path), path: path})
		external, err := g.File.ExternalFiles()
		for _, e := range external {
			files = append(files, inputFile{Role: role, Name: filepath.Base(e), path: e})
		}
		return err
	}
	if err := model("IN", c.In, g); err != nil {
		return nil, err
	}
	if c.methodFlags.from != nil {
		if err := model("--rewind-from", c.RewindFrom, c.methodFlags.from); err != nil {
			return nil, err
		}
	}
	for _, set := range []struct {
		role string
		d    *data.Dataset
	}{{"--data", s.train}, {"--val", s.val}} {
		if set.d == nil {
			continue
		}
		for _, path := range set.d.Files() {
			files = append(files, inputFile{Role: set.role, Name: filepath.Base(path), path: path})
		}
	}
	var total, done int64
	for i := range files {
		info, err := os.Stat(files[i].path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", files[i].path, cause(err))
		}
		files[i].Bytes = info.Size()
		total += info.Size()
	}
	b := con.bar()
	defer b.clear()
	for i := range files {
		f := &files[i]
		err := f.hash(func(n int64) {
			done += n
			b.update("hashing model and data", int(done>>10), int(total>>10), f.Name)
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

func (f *inputFile) hash(progress func(n int64)) error {
	in, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, cause(err))
	}
	defer in.Close()
	sum := sha256.New()
	f.Bytes = 0
	for {
		n, err := io.CopyN(sum, in, 16<<20)
		f.Bytes += n
		progress(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.path, cause(err))
		}
	}
	f.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// compareFiles reports every file that differs from what a checkpoint was made with.
func compareFiles(name string, found, expected []inputFile) error {
	type key struct{ role, name string }
	have := map[key]inputFile{}
	for _, f := range found {
		have[key{f.Role, f.Name}] = f
	}
	var errs []error
	for _, e := range expected {
		k := key{e.Role, e.Name}
		f, ok := have[k]
		delete(have, k)
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("%s: %s of %s is missing, the checkpoint was made with %d bytes of SHA-256 %.12s", name, e.Name, e.Role, e.Bytes, e.SHA256))
		case f.SHA256 != e.SHA256:
			errs = append(errs, fmt.Errorf("%s: %s has %d bytes of SHA-256 %.12s, the checkpoint was made with %d bytes of SHA-256 %.12s", f.path, e.what(), f.Bytes, f.SHA256, e.Bytes, e.SHA256))
		}
	}
	for _, f := range found {
		if _, ok := have[key{f.Role, f.Name}]; ok {
			errs = append(errs, fmt.Errorf("%s: the checkpoint was made without it", f.path))
		}
	}
	if len(errs) > 0 {
		errs = append(errs, errors.New("hint: a run goes on only with the model and the data that it began with"))
	}
	return errors.Join(errs...)
}
