package onnxio

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// dataAlignment is the alignment of large tensors in a data file, in bytes, so that they can be mapped into memory;
// those below it are aligned to smallAlignment.
const (
	dataAlignment  = 4096
	smallAlignment = 64
)

// externalPlan is what Save does with external data.
type externalPlan struct {
	path     string   // of the model to write
	data     []byte   // the encoded model
	order    []string // locations, by first use
	tensors  []region // of the external tensors, in file order
	relocate bool     // write one new data file
}

// saveExternal writes data files and the model under temporary names and, once all of that has succeeded, gives the
// data files and then the model their names.
func (m *Model) saveExternal(path string, plan *externalPlan) error {
	if !plan.relocate {
		free, err := m.namesFree(plan)
		if err != nil {
			return m.named(err)
		}
		plan.relocate = !free
	}
	var files []*stagedFile
	var err error
	data := plan.data
	if plan.relocate {
		files, data, err = m.writeData(plan)
	} else {
		files, err = m.copyData(plan)
	}
	if err != nil {
		discard(files)
		return err
	}
	model, err := stageFile(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		discard(files)
		return err
	}
	return commitAll(append(files, model))
}

// namesFree reports whether each data file can be copied to its name beside the output: there is none, or the same. A
// name with detours, as a/../b, would need directories that have nothing in them.
func (m *Model) namesFree(plan *externalPlan) (bool, error) {
	for _, loc := range plan.order {
		f, size, err := m.openExternal(loc)
		if err != nil {
			return false, err
		}
		if path := filepath.FromSlash(loc); filepath.Clean(path) != path {
			return false, f.Close()
		}
		free := sameOrAbsent(filepath.Join(filepath.Dir(plan.path), filepath.FromSlash(loc)), f, size)
		f.Close()
		if !free {
			return false, nil
		}
	}
	return true, nil
}

func sameOrAbsent(path string, f io.Reader, size int64) bool {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return true
	}
	if err != nil || !info.Mode().IsRegular() || info.Size() != size {
		return false
	}
	g, err := os.Open(path)
	if err != nil {
		return false
	}
	defer g.Close()
	a, b := make([]byte, 1<<16), make([]byte, 1<<16)
	for {
		n, errA := io.ReadFull(f, a)
		k, errB := io.ReadFull(g, b)
		if !bytes.Equal(a[:n], b[:k]) {
			return false
		}
		if errA != nil || errB != nil {
			return (errA == io.EOF || errA == io.ErrUnexpectedEOF) && errA == errB
		}
	}
}

// copyData stages copies of the data files for the directory of the output.
func (m *Model) copyData(plan *externalPlan) (files []*stagedFile, err error) {
	for _, loc := range plan.order {
		to := filepath.Join(filepath.Dir(plan.path), filepath.FromSlash(loc))
		if _, err := os.Lstat(to); err == nil {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			return files, fmt.Errorf("%s: %w", to, plain(err))
		}
		f, _, err := m.openExternal(loc)
		if err != nil {
			return files, m.named(err)
		}
		staged, err := stageFile(to, func(w io.Writer) error {
			_, err := io.Copy(w, f)
			return err
		})
		f.Close()
		if err != nil {
			return files, err
		}
		files = append(files, staged)
	}
	return files, nil
}

// writeData stages one new file with all external tensors and returns the model that refers to it.
func (m *Model) writeData(plan *externalPlan) (files []*stagedFile, data []byte, err error) {
	name, err := m.dataName(plan)
	if err != nil {
		return nil, nil, err
	}
	var placed []region
	hash := sha1.New()
	staged, err := stageFile(filepath.Join(filepath.Dir(plan.path), name), func(w io.Writer) error {
		var err error
		placed, err = m.writeTensors(io.MultiWriter(w, hash), plan)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	data, err = m.referring(plan.data, name, hex.EncodeToString(hash.Sum(nil)), placed)
	return []*stagedFile{staged}, data, err
}

// referring returns the encoded model data with its external tensors, in file order, placed in the data file name,
// whose SHA-1 is sum.
func (m *Model) referring(data []byte, name, sum string, placed []region) ([]byte, error) {
	i := 0
	data, err := mapTensors(modelMessage, data, func(msg []byte) ([]byte, error) {
		t, err := externalTensor(msg)
		if err != nil || t == nil {
			return msg, err
		}
		r := placed[i]
		i++
		r.location = name
		if r.checksum != "" {
			r.checksum = sum
		}
		return withRegion(msg, t, r)
	})
	if err == nil && len(data) > MaxFileSize {
		err = m.tooLarge(int64(len(data)))
	}
	return data, err
}

// aligned returns the first offset from pos on for a tensor of that many bytes.
func aligned(pos, length int64) int64 {
	align := int64(smallAlignment)
	if length >= dataAlignment {
		align = dataAlignment
	}
	return pos + (align-pos%align)%align
}

// dataName returns the first of out.onnx.data, out.onnx.1.data, … that the model does not read from.
func (m *Model) dataName(plan *externalPlan) (string, error) {
	dir, base := filepath.Split(plan.path)
	var sources []os.FileInfo
	for _, loc := range plan.order {
		f, _, err := m.openExternal(loc)
		if err != nil {
			return "", m.named(err)
		}
		info, err := f.Stat()
		f.Close()
		if err != nil {
			return "", m.named(err)
		}
		sources = append(sources, info)
	}
	for i := 0; ; i++ {
		name := base + ".data"
		if i > 0 {
			name = base + "." + strconv.Itoa(i) + ".data"
		}
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || !slices.ContainsFunc(sources, func(s os.FileInfo) bool { return os.SameFile(s, info) }) {
			return name, nil
		}
	}
}

// writeTensors writes the content of all external tensors and returns where each lies; tensors that share their bytes
// go on sharing them.
func (m *Model) writeTensors(w io.Writer, plan *externalPlan) ([]region, error) {
	var placed []region
	shared := map[region]region{}
	var pos int64
	err := eachExternal(plan.data, func(t *TensorProto) error {
		source := plan.tensors[len(placed)]
		key := region{location: source.location, offset: source.offset, length: source.length}
		if r, ok := shared[key]; ok && len(t.RawData) == 0 {
			r.checksum = source.checksum
			placed = append(placed, r)
			return nil
		}
		raw, err := rawOf(t, m)
		if err != nil {
			return err
		}
		gap := aligned(pos, int64(len(raw))) - pos
		if _, err := w.Write(make([]byte, gap)); err != nil {
			return err
		}
		if _, err := w.Write(raw); err != nil {
			return err
		}
		r := region{offset: pos + gap, length: int64(len(raw)), checksum: source.checksum}
		pos = r.offset + r.length
		if len(t.RawData) == 0 {
			shared[key] = r
		}
		placed = append(placed, r)
		return nil
	})
	return placed, err
}

// withRegion returns the encoded tensor msg with its data at r: location, offset, length and checksum are replaced,
// raw_data is dropped, all else stays.
func withRegion(msg []byte, t *TensorProto, r region) ([]byte, error) {
	all, err := fields(msg)
	if err != nil {
		return nil, err
	}
	entries := []*StringStringEntryProto{
		entryOf("location", r.location),
		entryOf("offset", strconv.FormatInt(r.offset, 10)),
		entryOf("length", strconv.FormatInt(r.length, 10)),
	}
	if r.checksum != "" {
		entries = append(entries, entryOf("checksum", r.checksum))
	}
	for _, e := range t.ExternalData {
		switch e.GetKey() {
		case "location", "offset", "length", "checksum":
		default:
			entries = append(entries, e)
		}
	}
	var out []byte
	for _, f := range all {
		switch f.num {
		case tensorRawData:
		case tensorExternalData:
			for _, e := range entries {
				b, err := e.Marshal()
				if err != nil {
					return nil, err
				}
				out = appendBytesField(out, tensorExternalData, b)
			}
			entries = nil
		default:
			out = append(out, f.raw...)
		}
	}
	return out, nil
}

func entryOf(key, value string) *StringStringEntryProto {
	return &StringStringEntryProto{Key: &key, Value: &value}
}
