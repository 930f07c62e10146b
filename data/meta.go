package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// MetaFile is the name of the optional description of a dataset directory.
const MetaFile = "dataset.json"

// Meta is the content of dataset.json. The values delivered are
// (x·Scale − Mean[c])/Std[c] for channel c, the first axis after the batch. A list of
// one applies to every channel; an absent one means no shift or no division.
type Meta struct {
	Classes []string  `json:"classes,omitempty"`
	Scale   float64   `json:"scale,omitempty"` // 0 stands for 1
	Mean    []float64 `json:"mean,omitempty"`
	Std     []float64 `json:"std,omitempty"`
	// Ignore is the class number of positions that do not count, where rows of labels have axes; −100 is one, too.
	Ignore *int64 `json:"ignore,omitempty"`
}

// maxMeta bounds the bytes of dataset.json: 100,000 class names fit well.
const maxMeta = 16 << 20

// ParseMeta reads dataset.json. Unknown keys, values that are not finite, a scale of
// 0, a std that is not positive and lists of mean and std that differ in length are
// errors, all of them in one.
func ParseMeta(text []byte) (Meta, error) {
	raw := struct {
		Classes []string
		Scale   *float64
		Mean    []float64
		Std     []float64
		Ignore  *int64
	}{}
	keys := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &keys); err != nil {
		return Meta{}, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&raw); err != nil {
		return Meta{}, errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	m := Meta{Classes: raw.Classes, Mean: raw.Mean, Std: raw.Std, Ignore: raw.Ignore}
	var bad []string
	if raw.Scale != nil {
		if m.Scale = *raw.Scale; !usable(m.Scale) {
			bad = append(bad, fmt.Sprintf("scale is %v, want a normal float32 other than 0", m.Scale))
		}
	}
	for i, v := range m.Mean {
		if v != 0 && !usable(v) {
			bad = append(bad, fmt.Sprintf("mean[%d] is %v, want 0 or a normal float32", i, v))
		}
	}
	for i, s := range m.Std {
		if s <= 0 || !usable(s) {
			bad = append(bad, fmt.Sprintf("std[%d] is %v, want a normal float32 above 0", i, s))
		}
	}
	if a, b := len(m.Mean), len(m.Std); a > 1 && b > 1 && a != b {
		bad = append(bad, fmt.Sprintf("mean has %d values and std has %d", a, b))
	}
	if len(bad) > 0 {
		return Meta{}, errors.New(strings.Join(bad, "; "))
	}
	return m, nil
}

// usable says that v is neither zero, denormal nor infinite as a float32.
func usable(v float64) bool {
	a := math.Abs(v)
	return a >= 0x1p-126 && a <= math.MaxFloat32
}

// ReadMeta reads dir/dataset.json; without that file it returns the zero Meta.
func ReadMeta(dir string) (Meta, error) {
	path := filepath.Join(dir, MetaFile)
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return Meta{}, fmt.Errorf("%s: not a regular file", path)
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return Meta{}, nil
	} else if err != nil {
		return Meta{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxMeta+1))
	if err != nil {
		return Meta{}, fmt.Errorf("%s: %w", path, err)
	}
	if len(text) > maxMeta {
		return Meta{}, fmt.Errorf("%s: more than %d bytes", path, maxMeta)
	}
	m, err := ParseMeta(text)
	if err != nil {
		return Meta{}, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// WriteMeta writes dir/dataset.json.
func WriteMeta(dir string, m Meta) error {
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, MetaFile)
	if err := os.WriteFile(path+".tmp", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// affine is one channel's normalisation y = a·x + b.
type affine struct{ a, b float64 }

// normalization returns the affine form of Meta for the given number of channels, or a
// single one where all channels share it.
func (m Meta) normalization(channels int) ([]affine, error) {
	var bad problems
	for _, list := range []struct {
		name string
		n    int
	}{{"mean", len(m.Mean)}, {"std", len(m.Std)}} {
		if list.n > 1 && list.n != channels {
			bad.add("%s has %d values, there are %d channels", list.name, list.n, channels)
		}
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	scale := m.Scale
	if scale == 0 {
		scale = 1
	}
	at := func(v []float64, c int, absent float64) float64 {
		switch len(v) {
		case 0:
			return absent
		case 1:
			return v[0]
		}
		return v[c]
	}
	norm := make([]affine, min(channels, max(1, len(m.Mean), len(m.Std))))
	for c := range norm {
		s := at(m.Std, c, 1)
		norm[c] = affine{a: scale / s, b: -at(m.Mean, c, 0) / s}
		if !usable(norm[c].a) || norm[c].b != 0 && !usable(norm[c].b) {
			bad.add("channel %d: scale/std or mean/std is not a normal float32", c)
		}
	}
	return norm, bad.err()
}
