package data

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"
)

// InputSpec is one input of the model.
type InputSpec struct {
	Name    string
	Shape   []int // without the batch axis; -1 where the model leaves it free
	Integer bool  // token ids and the like: integer shards, never normalised
	Below   int   // made-up integers are below it; 0: they are 0 or 1
	Dims    []int // Shape with the batch axis, for a hint where rows lack another one; may be nil
}

// Options says what Open expects besides the inputs.
type Options struct {
	NoLabels bool // label shards are neither needed nor read
	Classes  int  // labels are 0 to Classes-1; 0: as many as dataset.json names, or any
}

// Dataset is an open directory of shards. Its methods may be called by several
// goroutines.
type Dataset struct {
	dir     string
	meta    Meta
	inputs  []*stream
	labels  *stream  // nil without labels
	classes int      // labels are below it; 0: not known
	starts  []int    // first row of each shard, and at the end the number of rows
	rows    []int32  // numbers of the rows that it has; nil for all
	of      *Dataset // owner of the files, where it is another

	mu     sync.Mutex
	live   map[*Batches]struct{}
	closed bool
}

// stream is the sequence of shards that hold one input, or the labels.
type stream struct {
	spec   InputSpec
	file   string // shard names are file-00000.npy and so on
	shape  []int  // of one row
	dtype  DType
	shards []*shard
	decode decoder
}

// Label says what a dataset's labels are.
type Label struct {
	Present bool
	Float   bool  // float32 targets rather than class numbers
	Shape   []int // of one row; empty for one class number
}

// Len is the number of rows.
func (d *Dataset) Len() int {
	if d.rows != nil {
		return len(d.rows)
	}
	return d.starts[len(d.starts)-1]
}

// Meta is the content of dataset.json.
func (d *Dataset) Meta() Meta { return d.meta }

// Inputs is the number of inputs.
func (d *Dataset) Inputs() int { return len(d.inputs) }

// InputShape is the shape of one row of input i, without free dimensions.
func (d *Dataset) InputShape(i int) []int { return slices.Clone(d.inputs[i].shape) }

// Label says what the labels are.
func (d *Dataset) Label() Label {
	if d.labels == nil {
		return Label{}
	}
	return Label{Present: true, Float: d.labels.dtype == Float32, Shape: slices.Clone(d.labels.shape)}
}

// Files are the paths of all files that the dataset reads; a generated one and a held out one
// have none.
func (d *Dataset) Files() []string {
	var files []string
	if d.Generated() || d.of != nil {
		return nil
	}
	for _, s := range d.streams() {
		for _, sh := range s.shards {
			files = append(files, filepath.Join(d.dir, sh.name))
		}
	}
	if meta := filepath.Join(d.dir, MetaFile); exists(meta) {
		files = append(files, meta)
	}
	return files
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Close ends the iterators that are still open and releases the files.
func (d *Dataset) Close() error {
	d.mu.Lock()
	d.closed = true
	live := make([]*Batches, 0, len(d.live))
	for b := range d.live {
		live = append(live, b)
	}
	d.mu.Unlock()
	for _, b := range live {
		b.Close()
	}
	if d.of != nil {
		return nil
	}
	return d.closeShards()
}

func (d *Dataset) closeShards() error {
	var first error
	for _, s := range d.streams() {
		for _, sh := range s.shards {
			if sh == nil {
				continue
			}
			if err := sh.close(); err != nil && first == nil {
				first = err
			}
		}
		s.shards = nil
	}
	return first
}

func (d *Dataset) streams() []*stream {
	all := slices.Clone(d.inputs)
	if d.labels != nil {
		all = append(all, d.labels)
	}
	return all
}

// locate finds the shard of a row and the row's number within it.
func (d *Dataset) locate(row int) (shard, within int) {
	shard = sort.SearchInts(d.starts, row+1) - 1
	return shard, row - d.starts[shard]
}

func (s *stream) rowElems() int {
	n := 1
	for _, d := range s.shape {
		n *= d
	}
	return n
}

// Open opens the dataset in directory dir for a model with the given inputs. A model
// with one input reads input-00000.npy, or <name>-00000.npy where that is absent; one
// with several reads <name>-00000.npy for each, with any of /\:*?"<>| in a name
// written as _.
//
// All that the shards' headers, sizes and labels can show to be wrong is reported in
// one error. Values are checked when they are read.
func Open(dir string, inputs []InputSpec, opts Options) (*Dataset, error) {
	meta, err := ReadMeta(dir)
	if err != nil {
		return nil, err
	}
	d := &Dataset{dir: dir, meta: meta, live: map[*Batches]struct{}{}}
	d.classes = opts.Classes
	if n := len(meta.Classes); opts.Classes > 0 && n > opts.Classes {
		return nil, fmt.Errorf("%s: %s names %d classes, the model has %d", dir, MetaFile, n, opts.Classes)
	}
	if n := len(meta.Classes); n > 0 && (d.classes == 0 || n < d.classes) {
		d.classes = n
	}
	if err := d.open(inputs, opts); err != nil {
		d.closeShards()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return d, nil
}
