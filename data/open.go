package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// problems collects what is wrong, to be said in one error of one line.
type problems []string

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

const maxProblems = 20

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	if n := len(p) - maxProblems; n > 0 {
		p = append(slices.Clone(p[:maxProblems]), fmt.Sprintf("and %d more", n))
	}
	return errors.New(strings.Join(p, "; "))
}

const labelStream = "label"

var shardPattern = regexp.MustCompile(`^(.+)-(\d{5,9})\.npy$`)

// listShards returns the shard numbers of every stream in dir, ascending, and the names
// of all NPY files.
func listShards(dir string) (numbers map[string][]int, names []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, nil, err
	}
	numbers = map[string][]int{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".npy") {
			continue
		}
		names = append(names, e.Name())
		if m := shardPattern.FindStringSubmatch(e.Name()); m != nil {
			i, _ := strconv.Atoi(m[2])
			if shardName(m[1], i) == e.Name() {
				numbers[m[1]] = append(numbers[m[1]], i)
			}
		}
	}
	for _, n := range numbers {
		slices.Sort(n)
	}
	return numbers, names, nil
}

// fileName is the name of an input's shards without number.
func fileName(input string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, input)
}

func (d *Dataset) open(inputs []InputSpec, opts Options) error {
	if len(inputs) == 0 {
		return errors.New("the model has no inputs to read data for")
	}
	numbers, names, err := listShards(d.dir)
	if err != nil {
		return err
	}
	var bad problems
	for _, spec := range inputs {
		s := &stream{spec: spec, file: fileName(spec.Name)}
		if len(inputs) == 1 && (len(numbers["input"]) > 0 || len(numbers[s.file]) == 0) {
			s.file = "input"
		}
		for _, other := range d.inputs {
			if other.file == s.file {
				bad.add("inputs %q and %q would both be read from %s", other.spec.Name, spec.Name, shardName(s.file, 0))
			}
		}
		if s.file == labelStream && !opts.NoLabels {
			bad.add("input %q has the name of the label shards", spec.Name)
		}
		d.inputs = append(d.inputs, s)
	}
	if !opts.NoLabels {
		d.labels = &stream{spec: InputSpec{Name: labelStream}, file: labelStream}
	}
	if err := bad.err(); err != nil {
		return err
	}
	count, err := d.countShards(numbers, names)
	if err != nil {
		return err
	}
	for _, s := range d.streams() {
		s.open(d.dir, count, &bad)
	}
	if err := bad.err(); err != nil {
		for _, s := range d.inputs {
			if axis := s.otherAxis(); axis >= 0 {
				err = fmt.Errorf("%w\nhint: if the batch of %q is its axis %d, say so in the file: dynamic_axes={%q: {%d: \"batch\"}} at export", err, s.spec.Name, axis, s.spec.Name, axis)
			}
		}
		return err
	}
	d.checkRows(count, &bad)
	d.prepare(&bad)
	d.checkLabels(&bad)
	return bad.err()
}

// countShards checks that every stream has the shards 0 to n-1 and returns n.
func (d *Dataset) countShards(numbers map[string][]int, names []string) (int, error) {
	present := map[int]bool{}
	for _, s := range d.streams() {
		for _, i := range numbers[s.file] {
			present[i] = true
		}
	}
	var union []int
	for i := range present {
		union = append(union, i)
	}
	slices.Sort(union)
	if len(union) == 0 {
		found := "no NPY files"
		if len(names) > 0 {
			found = strings.Join(names[:min(len(names), maxProblems)], ", ")
		}
		return 0, fmt.Errorf("no shards: found %s, want %s", found, shardName(d.inputs[0].file, 0))
	}
	var bad problems
	next := 0
	for _, i := range union {
		if i == next+1 {
			bad.add("shard %05d is missing, the next is %05d", next, i)
		} else if i > next {
			bad.add("shards %05d to %05d are missing, the next is %05d", next, i-1, i)
		}
		next = i + 1
		for _, s := range d.streams() {
			if _, ok := slices.BinarySearch(numbers[s.file], i); !ok {
				bad.add("%s is missing", shardName(s.file, i))
			}
		}
	}
	return len(union), bad.err()
}

// open opens the stream's shards and checks each against the model's input and the
// first shard.
func (s *stream) open(dir string, count int, bad *problems) {
	s.shards = make([]*shard, count)
	var first *shard
	for i := range s.shards {
		name := shardName(s.file, i)
		sh, err := openShard(dir, name)
		if err != nil {
			var pe *os.PathError
			if errors.As(err, &pe) {
				err = pe.Err
			}
			bad.add("%s: %v", name, err)
			continue
		}
		s.shards[i] = sh
		switch {
		case s.file == labelStream:
			s.checkLabel(sh, bad)
		default:
			s.checkInput(sh, bad)
		}
		if first == nil {
			first = sh
			s.shape, s.dtype = sh.rowShape(), sh.head.DType
			if s.file == labelStream && s.dtype != Float32 {
				s.dtype = Int64
				if s.rowElems() == 1 {
					s.shape = nil // [N,1] is class numbers in a column
				}
			}
			continue
		}
		if sh.head.DType != first.head.DType {
			bad.add("%s: dtype %s, %s has %s", name, sh.head.DType, first.name, first.head.DType)
		}
		if !slices.Equal(sh.rowShape(), first.rowShape()) {
			bad.add("%s: rows of %v, %s has rows of %v", name, sh.rowShape(), first.name, first.rowShape())
		}
	}
}

// fits reports whether rows are as the model wants them, which leaves dimensions below 0 free.
func fits(shape, want []int) bool {
	return slices.EqualFunc(shape, want, func(have, want int) bool { return want < 0 || have == want })
}

// otherAxis is the axis that rows of the first shard lack instead of the batch, else -1.
func (s *stream) otherAxis() int {
	if len(s.shards) == 0 || s.shards[0] == nil || fits(s.shards[0].rowShape(), s.spec.Shape) {
		return -1
	}
	for axis := range s.spec.Dims {
		if fits(s.shards[0].rowShape(), slices.Delete(slices.Clone(s.spec.Dims), axis, axis+1)) {
			return axis
		}
	}
	return -1
}

func (s *stream) checkInput(sh *shard, bad *problems) {
	t := sh.head.DType
	if s.spec.Integer && (t == Float32 || t == Float64) {
		bad.add("%s: dtype %s, model input %q is integer and wants uint8, int32 or int64", sh.name, t, s.spec.Name)
	}
	if !s.spec.Integer && (t == Int32 || t == Int64) {
		bad.add("%s: dtype %s, model input %q is float and wants uint8, float32 or float64", sh.name, t, s.spec.Name)
	}
	shape := sh.rowShape()
	if !fits(shape, s.spec.Shape) {
		bad.add("%s: rows of %v, model input %q has rows of %v", sh.name, shape, s.spec.Name, s.spec.Shape)
	}
}

func (s *stream) checkLabel(sh *shard, bad *problems) {
	switch t := sh.head.DType; t {
	case Int32, Int64, Float32:
	case Uint8:
		if len(sh.rowShape()) == 0 {
			bad.add("%s: dtype %s, want int64 or int32 class numbers or float32 targets", sh.name, t)
		}
	default:
		bad.add("%s: dtype %s, want int64 or int32 class numbers or float32 targets", sh.name, t)
	}
}

// checkRows compares the row counts of the streams and sums them up.
func (d *Dataset) checkRows(count int, bad *problems) {
	d.starts = make([]int, 1, count+1)
	total := 0
	for i := range count {
		first := d.inputs[0].shards[i]
		for _, s := range d.streams()[1:] {
			if sh := s.shards[i]; sh.rows != first.rows {
				bad.add("%s: %d rows, %s has %d", sh.name, sh.rows, first.name, first.rows)
			}
		}
		if total += first.rows; total > math.MaxInt32 {
			bad.add("more than %d rows", math.MaxInt32)
			return
		}
		d.starts = append(d.starts, total)
	}
	if total == 0 {
		bad.add("the shards have no rows")
	}
}

// prepare sets up the decoding of every stream; float labels are not normalised.
func (d *Dataset) prepare(bad *problems) {
	if s := d.labels; s != nil && s.dtype == Float32 {
		s.decode, _ = newDecoder(s.dtype, 1, s.rowElems(), Meta{})
	}
	for _, s := range d.inputs {
		channels := 1
		if len(s.shape) > 0 {
			channels = s.shape[0]
		}
		meta := d.meta
		if s.spec.Integer {
			meta = Meta{}
		}
		dec, err := newDecoder(s.dtype, channels, s.rowElems(), meta)
		if err != nil {
			bad.add("%s: input %q with rows of %v: %v", MetaFile, s.spec.Name, s.shape, err)
		}
		s.decode = dec
	}
}

// Ignored is the class number of positions that do not count, in batches.
const Ignored = -1

// ignored is the class number that PyTorch's cross-entropy leaves out.
const ignored = -100

// label is a class number of one position or of a row, read from raw, and whether it counts.
func (d *Dataset) label(raw []byte) (v int64, counts bool) {
	v = integer(raw)
	return v, len(d.labels.shape) == 0 || v != ignored && (d.meta.Ignore == nil || v != *d.meta.Ignore)
}

// checkLabels reads all class numbers.
func (d *Dataset) checkLabels(bad *problems) {
	if d.labels == nil || d.labels.dtype == Float32 {
		return
	}
	limit := int64(math.MaxInt64)
	want := "0 or more"
	if d.classes > 0 {
		limit = int64(d.classes)
		want = fmt.Sprintf("0 to %d", d.classes-1)
	}
	per := d.labels.rowElems()
	if per == 0 {
		bad.add("%s: rows of %v hold no class number", d.labels.shards[0].name, d.labels.shape)
		return
	}
	scratch := make([]byte, 8*per)
	for _, sh := range d.labels.shards {
		outside, firstRow, firstLabel := 0, 0, int64(0)
		err := catchFault(func() error {
			for r := range sh.rows {
				raw, err := sh.row(r, scratch)
				if err != nil {
					return err
				}
				size := len(raw) / per
				for at := 0; at < len(raw); at += size {
					v, counts := d.label(raw[at : at+size])
					if v >= 0 && v < limit || !counts {
						continue
					}
					if outside == 0 {
						firstRow, firstLabel = r, v
					}
					outside++
				}
			}
			return nil
		})
		if err != nil {
			bad.add("%s: %v", sh.name, err)
		}
		if outside > 0 {
			bad.add("%s: %d labels out of range, the first is %d in row %d, want %s", sh.name, outside, firstLabel, firstRow, want)
		}
	}
}

// integer reads a little-endian int32 or int64 or a byte, as long as raw is.
func integer(raw []byte) int64 {
	switch len(raw) {
	case 1:
		return int64(raw[0])
	case 4:
		return int64(int32(binary.LittleEndian.Uint32(raw)))
	}
	return int64(binary.LittleEndian.Uint64(raw))
}
