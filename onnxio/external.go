package onnxio

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// region is where an external tensor lies.
type region struct {
	location string // as written in the model, relative to its directory
	offset   int64
	length   int64 // −1 where the model does not say
	checksum string
}

// regionOf reads the external_data entries of t.
func regionOf(t *TensorProto) (region, error) {
	r := region{length: -1}
	for _, e := range t.ExternalData {
		var err error
		switch e.GetKey() {
		case "location":
			r.location = e.GetValue()
		case "offset":
			r.offset, err = strconv.ParseInt(e.GetValue(), 10, 64)
		case "length":
			r.length, err = strconv.ParseInt(e.GetValue(), 10, 64)
			if r.length < 0 {
				err = strconv.ErrRange
			}
		case "checksum":
			r.checksum = e.GetValue()
		}
		if err != nil || r.offset < 0 {
			return r, fmt.Errorf("external data: %s is %q, a number of bytes is needed", e.GetKey(), e.GetValue())
		}
	}
	if r.location == "" {
		return r, errors.New("external data has no location")
	}
	return r, nil
}

// ExternalFiles returns the paths of the files that external tensors of the model name,
// in the order of their first use. They need not exist.
func (m *Model) ExternalFiles() ([]string, error) {
	if !m.external {
		return nil, nil
	}
	var paths []string
	err := eachExternal(m.Bytes(), func(t *TensorProto) error {
		r, err := regionOf(t)
		if path := filepath.Join(m.dir, filepath.FromSlash(r.location)); err == nil && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
		return err
	})
	return paths, m.named(err)
}

// openExternal opens a data file of the model, which must lie in the model's directory or below, symbolic links
// included.
func (m *Model) openExternal(location string) (*os.File, int64, error) {
	fail := func(err error) (*os.File, int64, error) {
		return nil, 0, fmt.Errorf("external data %q: %w", location, err)
	}
	if path, ok := m.instead[location]; ok {
		f, err := os.Open(path)
		if err != nil {
			return fail(plain(err))
		}
		info, err := f.Stat()
		if err != nil {
			return fail(errors.Join(plain(err), f.Close()))
		}
		return f, info.Size(), nil
	}
	if m.dir == "" {
		return fail(errors.New("is not available, the model was not read from a file"))
	}
	location = filepath.FromSlash(location)
	if filepath.IsAbs(location) {
		return fail(errors.New("is an absolute path, one within the model's directory is needed"))
	}
	root, err := os.OpenRoot(m.dir)
	if err != nil {
		return fail(plain(err))
	}
	defer root.Close()
	info, err := root.Stat(location)
	if err != nil {
		if !filepath.IsLocal(location) || strings.Contains(err.Error(), "escapes") {
			return fail(errors.New("leaves the model's directory"))
		}
		return fail(plain(err))
	}
	if !info.Mode().IsRegular() {
		return fail(errors.New("is not a regular file"))
	}
	if self, err := os.Stat(m.name); err == nil && os.SameFile(self, info) {
		return fail(errors.New("is the model itself"))
	}
	f, err := root.Open(location)
	if err != nil {
		return fail(plain(err))
	}
	return f, info.Size(), nil
}

// checkSize verifies that the region holds want bytes and lies within a file of size bytes.
func (r *region) checkSize(want int, size int64) error {
	if r.length < 0 {
		r.length = int64(want)
	}
	switch {
	case r.length != int64(want):
		return fmt.Errorf("external data %q has length %d, the shape needs %d bytes", r.location, r.length, want)
	case r.offset > size:
		return fmt.Errorf("external data %q has %d bytes, offset %d is past its end", r.location, size, r.offset)
	case r.length > size-r.offset:
		return fmt.Errorf("external data %q has %d bytes, offset %d and length %d need more", r.location, size, r.offset,
			r.length)
	}
	return nil
}

// ReadExternal reads the bytes of an external tensor of the model. The data file must lie in the model's directory
// and hold all of the tensor, which is checked before anything is allocated.
func (m *Model) ReadExternal(t *TensorProto, want int) ([]byte, error) {
	r, err := regionOf(t)
	if err != nil {
		return nil, err
	}
	f, size, err := m.openExternal(r.location)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := r.checkSize(want, size); err != nil {
		return nil, err
	}
	raw := make([]byte, want)
	if _, err := io.ReadFull(io.NewSectionReader(f, r.offset, r.length), raw); err != nil {
		return nil, fmt.Errorf("external data %q: %w", r.location, plain(err))
	}
	return raw, nil
}

// checkExternal verifies what ReadExternal does before it reads.
func (m *Model) checkExternal(t *TensorProto, want int) error {
	r, err := regionOf(t)
	if err != nil {
		return err
	}
	f, size, err := m.openExternal(r.location)
	if err != nil {
		return err
	}
	return errors.Join(r.checkSize(want, size), f.Close())
}

// externalTensor parses an encoded tensor if its data are external.
func externalTensor(msg []byte) (*TensorProto, error) {
	located := false
	for b := msg; len(b) > 0 && !located; {
		f, rest, err := nextField(b)
		if err != nil {
			return nil, err
		}
		located, b = f.num == tensorLocation, rest
	}
	if !located {
		return nil, nil
	}
	t := &TensorProto{}
	if err := unmarshalShared(tensorMessage, msg, t); err != nil || !IsExternal(t) {
		return nil, err
	}
	return t, nil
}

// eachExternal calls f for every external tensor, in the order of the file, subgraphs and functions included.
func eachExternal(data []byte, f func(t *TensorProto) error) error {
	_, err := mapTensors(modelMessage, data, func(msg []byte) ([]byte, error) {
		t, err := externalTensor(msg)
		if err != nil || t == nil {
			return msg, err
		}
		if err := f(t); err != nil {
			return nil, inTensor(t, err)
		}
		return msg, nil
	})
	return err
}
