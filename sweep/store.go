package sweep

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/onnxprune/onnxprune/onnxio"
	"github.com/onnxprune/onnxprune/report"
)

// format is the version of a record's layout.
const format = 1

// Result is what a cell came to.
type Result struct {
	Cell
	// Epochs of training under the method, Passes over the data, forward and backward.
	Epochs int     `json:"epochs"`
	Passes float64 `json:"passes"`
	// Achieved is the fraction removed of what Of names.
	Achieved float64 `json:"achieved"`
	Of       string  `json:"of"`
	report.Size
	report.Score
	// BestEpoch is the one that was written.
	BestEpoch int `json:"best_epoch"`
	// Seconds from reading the model to the end of training.
	Seconds float64       `json:"seconds"`
	Layers  []LayerResult `json:"layers"`
}

// LayerResult is a prunable weight after pruning: Sparsity is the fraction of Params
// that is zero or cut out.
type LayerResult struct {
	Name     string  `json:"name"`
	Params   int64   `json:"params"`
	Sparsity float64 `json:"sparsity"`
}

// Kept says which parts of a weight, or which channels of a group, stay: bit i%8 of
// byte i/8 is part i of Of.
type Kept struct {
	Name string `json:"name"`
	Of   int    `json:"of"`
	Bits []byte `json:"bits"`
}

// NewKept packs keep.
func NewKept(name string, keep []bool) Kept {
	k := Kept{Name: name, Of: len(keep), Bits: make([]byte, (len(keep)+7)/8)}
	for i, on := range keep {
		if on {
			k.Bits[i/8] |= 1 << (i % 8)
		}
	}
	return k
}

// Dense is the model before pruning.
type Dense struct {
	report.Size
	report.Score
}

// Record is the file of a finished cell.
type Record struct {
	Format int `json:"format"`
	// Key is everything that determines the result.
	Key    json.RawMessage `json:"key"`
	Dense  Dense           `json:"dense"`
	Result Result          `json:"result"`
	Kept   []Kept          `json:"kept"`
}

// Store keeps the records of finished cells in a directory.
type Store struct{ dir string }

// NewStore makes the directory where it does not exist.
func NewStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			return nil, fmt.Errorf("%s: cannot be made: %w", dir, pe.Err)
		}
		return nil, err
	}
	return &Store{dir}, nil
}

// path names a cell's file by what people know of it and by a digest of the whole key.
func (s *Store) path(c Cell, key json.RawMessage) string {
	sum := sha256.Sum256(compact(key))
	name := fmt.Sprintf("%s-%s-%s-s%d", c.Method, strings.ReplaceAll(c.Structure, ":", "_"), Short(c.Ratio), c.Seed)
	if c.Rewind != NoRewind {
		name += "-r" + c.Rewind.String()
	}
	return filepath.Join(s.dir, name+"-"+hex.EncodeToString(sum[:8])+".json")
}

// Get returns the record of a cell with that key, nil where there is none. A record that
// cannot be read, or has another key, is none.
func (s *Store) Get(c Cell, key json.RawMessage) *Record {
	b, err := os.ReadFile(s.path(c, key))
	if err != nil {
		return nil
	}
	var r Record
	if err := json.Unmarshal(b, &r); err != nil || r.Format != format || r.Result.Cell != c {
		return nil
	}
	if !bytes.Equal(compact(r.Key), compact(key)) {
		return nil
	}
	return &r
}

// compact takes out the white space that writing a record puts into its key.
func compact(key json.RawMessage) []byte {
	var b bytes.Buffer
	if err := json.Compact(&b, key); err != nil {
		return key
	}
	return b.Bytes()
}

// Put writes the record of a cell, whole or not at all.
func (s *Store) Put(r *Record) error {
	r.Format = format
	return onnxio.WriteFileAtomic(s.path(r.Result.Cell, r.Key), func(w io.Writer) error { return report.WriteJSON(w, r) })
}

// Others is how many records are in the directory besides those of the given cells.
func (s *Store) Others(cells []Cell, keys []json.RawMessage) int {
	own := map[string]bool{}
	for i, c := range cells {
		own[filepath.Base(s.path(c, keys[i]))] = true
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return 0
	}
	n := 0
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".json") && !own[e.Name()] {
			n++
		}
	}
	return n
}
