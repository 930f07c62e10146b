package data

import (
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// writeShard writes one shard of [rows, shape…] under an explicit file name.
func writeShard[T Element](t testing.TB, dir, name string, shape []int, v []T) {
	t.Helper()
	head, err := formatHeader(Header{DType: dtypeOf[T](), Shape: shape})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), appendElements(head, v), 0o644); err != nil {
		t.Fatal(err)
	}
}

func count[T Element](n int) []T {
	v := make([]T, n)
	for i := range v {
		v[i] = T(i)
	}
	return v
}

// readAll collects an epoch.
func readAll(t testing.TB, d *Dataset, o BatchOptions) []*Batch {
	t.Helper()
	it, err := d.Batches(o)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	var all []*Batch
	for {
		b, err := it.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		c := &Batch{Rows: b.Rows, Labels: slices.Clone(b.Labels), Targets: slices.Clone(b.Targets), Index: slices.Clone(b.Index)}
		for _, x := range b.Inputs {
			c.Inputs = append(c.Inputs, slices.Clone(x))
		}
		all = append(all, c)
		b.Release()
	}
}

var image = []InputSpec{{Name: "x", Shape: []int{2, 2}}}

func TestOpenErrors(t *testing.T) {
	inputs := func(t *testing.T, dir string, rows ...int) {
		for i, n := range rows {
			writeShard(t, dir, shardName("input", i), []int{n, 2, 2}, count[float32](4*n))
		}
	}
	for _, c := range []struct {
		name  string
		specs []InputSpec
		opts  Options
		make  func(t *testing.T, dir string)
		want  []string
	}{
		{name: "empty directory", make: func(*testing.T, string) {},
			want: []string{"no shards: found no NPY files, want input-00000.npy"}},
		{name: "more classes than the model", opts: Options{Classes: 2}, make: func(t *testing.T, dir string) {
			inputs(t, dir, 2)
			writeShard(t, dir, "label-00000.npy", []int{2}, count[int64](2))
			if err := WriteMeta(dir, Meta{Classes: []string{"a", "b", "c"}}); err != nil {
				t.Fatal(err)
			}
		}, want: []string{"dataset.json names 3 classes, the model has 2"}},
		{name: "other names", make: func(t *testing.T, dir string) { writeShard(t, dir, "images.npy", []int{1}, count[uint8](1)) },
			want: []string{"found images.npy, want input-00000.npy"}},
		{name: "no label shards", make: func(t *testing.T, dir string) { inputs(t, dir, 2, 3) },
			want: []string{"label-00000.npy is missing", "label-00001.npy is missing"}},
		{name: "gaps", opts: Options{NoLabels: true}, make: func(t *testing.T, dir string) {
			writeShard(t, dir, "input-00001.npy", []int{1, 2, 2}, count[float32](4))
			writeShard(t, dir, "input-00005.npy", []int{1, 2, 2}, count[float32](4))
		}, want: []string{"shard 00000 is missing, the next is 00001", "shards 00002 to 00004 are missing, the next is 00005"}},
		{name: "row counts", make: func(t *testing.T, dir string) {
			inputs(t, dir, 2, 3, 4)
			writeShard(t, dir, "label-00000.npy", []int{3}, count[int64](3))
			writeShard(t, dir, "label-00001.npy", []int{3}, count[int64](3))
			writeShard(t, dir, "label-00002.npy", []int{1}, count[int64](1))
		}, want: []string{"label-00000.npy: 3 rows, input-00000.npy has 2", "label-00002.npy: 1 rows, input-00002.npy has 4"}},
		{name: "shapes", opts: Options{NoLabels: true}, make: func(t *testing.T, dir string) {
			writeShard(t, dir, "input-00000.npy", []int{1, 4}, count[float32](4))
			writeShard(t, dir, "input-00001.npy", []int{1, 2, 3}, count[float32](6))
		}, want: []string{`input-00000.npy: rows of [4], model input "x" has rows of [2 2]`, `input-00001.npy: rows of [2 3], model input`}},
		{name: "free shape that changes", specs: []InputSpec{{Name: "x", Shape: []int{-1}}}, opts: Options{NoLabels: true},
			make: func(t *testing.T, dir string) {
				writeShard(t, dir, "input-00000.npy", []int{1, 4}, count[float32](4))
				writeShard(t, dir, "input-00001.npy", []int{1, 5}, count[float32](5))
			}, want: []string{"input-00001.npy: rows of [5], input-00000.npy has rows of [4]"}},
		{name: "dtype that changes", opts: Options{NoLabels: true}, make: func(t *testing.T, dir string) {
			inputs(t, dir, 1)
			writeShard(t, dir, "input-00001.npy", []int{1, 2, 2}, count[uint8](4))
		}, want: []string{"input-00001.npy: dtype uint8, input-00000.npy has float32"}},
		{name: "integers for a float input", opts: Options{NoLabels: true}, make: func(t *testing.T, dir string) {
			writeShard(t, dir, "input-00000.npy", []int{1, 2, 2}, count[int64](4))
		}, want: []string{`input-00000.npy: dtype int64, model input "x" is float`}},
		{name: "floats for an integer input", specs: []InputSpec{{Name: "x", Shape: []int{2}, Integer: true}}, opts: Options{NoLabels: true},
			make: func(t *testing.T, dir string) {
				writeShard(t, dir, "input-00000.npy", []int{1, 2}, count[float64](2))
			}, want: []string{`input-00000.npy: dtype float64, model input "x" is integer`}},
		{name: "label dtype that changes", opts: Options{Classes: 3}, make: func(t *testing.T, dir string) {
			inputs(t, dir, 3, 3)
			writeShard(t, dir, "label-00000.npy", []int{3}, []int64{0, 1, 2})
			writeShard(t, dir, "label-00001.npy", []int{3}, []int32{0, 2, -1})
		}, want: []string{"label-00001.npy: dtype int32, label-00000.npy has int64"}},
		{name: "labels out of range", opts: Options{Classes: 3}, make: func(t *testing.T, dir string) {
			inputs(t, dir, 3, 3)
			writeShard(t, dir, "label-00000.npy", []int{3}, []int32{0, 3, 7})
			writeShard(t, dir, "label-00001.npy", []int{3}, []int32{0, 2, -1})
		}, want: []string{"label-00000.npy: 2 labels out of range, the first is 3 in row 1, want 0 to 2",
			"label-00001.npy: 1 labels out of range, the first is -1 in row 2, want 0 to 2"}},
		{name: "labels beyond the named classes", opts: Options{Classes: 1000}, make: func(t *testing.T, dir string) {
			inputs(t, dir, 2)
			writeShard(t, dir, "label-00000.npy", []int{2}, []int64{1, 2})
			WriteMeta(dir, Meta{Classes: []string{"a", "b"}})
		}, want: []string{"the first is 2 in row 1, want 0 to 1"}},
		{name: "label type", make: func(t *testing.T, dir string) {
			inputs(t, dir, 2)
			writeShard(t, dir, "label-00000.npy", []int{2}, []uint8{1, 2})
		}, want: []string{"label-00000.npy: dtype uint8, want int64 or int32 class numbers or float32 targets"}},
		{name: "labels of positions out of range", opts: Options{Classes: 3}, make: func(t *testing.T, dir string) {
			inputs(t, dir, 2)
			writeShard(t, dir, "label-00000.npy", []int{2, 3}, []int64{0, 1, 2, -100, -1, 3})
		}, want: []string{"label-00000.npy: 2 labels out of range, the first is -1 in row 1, want 0 to 2"}},
		{name: "labels of positions that are not ignored", opts: Options{Classes: 3}, make: func(t *testing.T, dir string) {
			inputs(t, dir, 2)
			writeShard(t, dir, "label-00000.npy", []int{2, 3}, []uint8{0, 1, 2, 255, 1, 2})
		}, want: []string{"label-00000.npy: 1 labels out of range, the first is 255 in row 1, want 0 to 2"}},
		{name: "truncated", opts: Options{NoLabels: true}, make: func(t *testing.T, dir string) {
			inputs(t, dir, 2, 2)
			for i, n := range []int64{headerSize + 31, 50} {
				if err := os.Truncate(filepath.Join(dir, shardName("input", i)), n); err != nil {
					t.Fatal(err)
				}
			}
		}, want: []string{"input-00000.npy: file is truncated: 31 bytes of elements, shape [2 2 2] of float32 needs 32",
			"input-00001.npy: file is truncated: 50 bytes, the NPY header alone needs 128"}},
		{name: "no rows", opts: Options{NoLabels: true}, make: func(t *testing.T, dir string) { inputs(t, dir, 0) },
			want: []string{"the shards have no rows"}},
		{name: "rows too large", specs: []InputSpec{{Name: "x", Shape: []int{-1, -1}}}, opts: Options{NoLabels: true},
			make: func(t *testing.T, dir string) {
				writeShard(t, dir, "input-00000.npy", []int{0, 1 << 20, 1 << 20}, []float32{})
			}, want: []string{"want rows of 1 to 2147483647 elements"}},
		{name: "scalar shard", opts: Options{NoLabels: true}, make: func(t *testing.T, dir string) {
			writeShard(t, dir, "input-00000.npy", nil, count[float32](1))
		}, want: []string{"input-00000.npy: a scalar"}},
		{name: "directory as shard", opts: Options{NoLabels: true}, make: func(t *testing.T, dir string) {
			os.Mkdir(filepath.Join(dir, "input-00000.npy"), 0o755)
		}, want: []string{"input-00000.npy: not a regular file"}},
		{name: "mean of another length", opts: Options{NoLabels: true}, make: func(t *testing.T, dir string) {
			inputs(t, dir, 1)
			WriteMeta(dir, Meta{Mean: []float64{1, 2, 3}, Std: []float64{1}})
		}, want: []string{`dataset.json: input "x" with rows of [2 2]: mean has 3 values, there are 2 channels`}},
		{name: "input named label", specs: []InputSpec{{Name: "a"}, {Name: "label"}}, make: func(*testing.T, string) {},
			want: []string{`input "label" has the name of the label shards`}},
		{name: "names that clash", specs: []InputSpec{{Name: "a/b"}, {Name: "a:b"}}, make: func(*testing.T, string) {},
			want: []string{`inputs "a/b" and "a:b" would both be read from a_b-00000.npy`}},
		{name: "no inputs", specs: []InputSpec{}, make: func(*testing.T, string) {},
			want: []string{"the model has no inputs"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.make(t, dir)
			specs := c.specs
			if specs == nil {
				specs = image
			}
			d, err := Open(dir, specs, c.opts)
			if err == nil {
				d.Close()
				t.Fatalf("no error, want %q", c.want)
			}
			if !strings.HasPrefix(err.Error(), dir+": ") || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q is not one line that names the directory", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q lacks %q", err, w)
				}
			}
		})
	}
	missing := filepath.Join(t.TempDir(), "none")
	if _, err := Open(missing, image, Options{}); err == nil || err.Error() != missing+": no such file or directory" {
		t.Errorf("missing directory: error %v", err)
	}
}

func TestManyProblemsAreCut(t *testing.T) {
	dir := t.TempDir()
	for i := range 30 {
		writeShard(t, dir, shardName("input", i), []int{1, 2, 2}, count[float32](4))
	}
	_, err := Open(dir, image, Options{})
	if err == nil || !strings.HasSuffix(err.Error(), "label-00019.npy is missing; and 10 more") {
		t.Errorf("error %v", err)
	}
}

func TestValueErrors(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(-1)
	for _, c := range []struct {
		name string
		make func(dir string)
		spec InputSpec
		want string
	}{
		{"NaN", func(dir string) {
			writeShard(t, dir, "input-00001.npy", []int{3, 1}, []float32{1, float32(nan), 2})
		}, InputSpec{Name: "x", Shape: []int{1}}, "input-00001.npy: row 1: value NaN, want finite numbers"},
		{"infinity", func(dir string) {
			writeShard(t, dir, "input-00001.npy", []int{2, 1}, []float32{1, float32(inf)})
		}, InputSpec{Name: "x", Shape: []int{1}}, "input-00001.npy: row 1: value -Inf, want finite numbers"},
		{"label NaN", func(dir string) {
			writeShard(t, dir, "input-00001.npy", []int{1, 1}, []float32{1})
			writeShard(t, dir, "label-00001.npy", []int{1}, []float32{float32(nan)})
		}, InputSpec{Name: "x", Shape: []int{1}}, "label-00001.npy: row 0: value NaN, want finite numbers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			writeShard(t, dir, "input-00000.npy", []int{1, 1}, []float32{1})
			writeShard(t, dir, "label-00000.npy", []int{1}, []float32{1})
			c.make(dir)
			_, err := os.Stat(filepath.Join(dir, "label-00001.npy"))
			checkFirstError(t, dir, c.spec, Options{NoLabels: err != nil}, c.want)
		})
	}
	t.Run("float64 overflow", func(t *testing.T) {
		dir := t.TempDir()
		writeShard(t, dir, "input-00000.npy", []int{1, 1}, []float64{1e39})
		checkFirstError(t, dir, InputSpec{Name: "x", Shape: []int{1}}, Options{NoLabels: true}, "row 0: value 1e+39 overflows float32")
	})
	t.Run("large integer", func(t *testing.T) {
		dir := t.TempDir()
		writeShard(t, dir, "input-00000.npy", []int{2, 1}, []int64{1 << 24, 1<<24 + 1})
		checkFirstError(t, dir, InputSpec{Name: "x", Shape: []int{1}, Integer: true}, Options{NoLabels: true}, "row 1: value 16777217 is beyond 2^24")
	})
}

func checkFirstError(t *testing.T, dir string, spec InputSpec, o Options, want string) {
	t.Helper()
	d, err := Open(dir, []InputSpec{spec}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	it, err := d.Batches(BatchOptions{Size: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for err == nil {
		_, err = it.Next()
	}
	if !strings.HasPrefix(err.Error(), dir+": ") || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
	if _, again := it.Next(); again != err {
		t.Errorf("after the error Next gives %v", again)
	}
}

func TestSeveralInputs(t *testing.T) {
	dir := t.TempDir()
	writeShard(t, dir, "a_0-00000.npy", []int{2, 3}, count[float32](6))
	writeShard(t, dir, "ids-00000.npy", []int{2, 2}, []int64{7, 8, 9, -1})
	writeShard(t, dir, "label-00000.npy", []int{2, 2}, []float32{1, 2, 3, 4})
	WriteMeta(dir, Meta{Scale: 2})
	d, err := Open(dir, []InputSpec{{Name: "a:0", Shape: []int{-1}}, {Name: "ids", Shape: []int{2}, Integer: true}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if l := d.Label(); !l.Present || !l.Float || !slices.Equal(l.Shape, []int{2}) || d.Len() != 2 {
		t.Errorf("label %+v, %d rows", l, d.Len())
	}
	if s := d.InputShape(0); !slices.Equal(s, []int{3}) {
		t.Errorf("shape of a:0 is %v", s)
	}
	got := readAll(t, d, BatchOptions{Size: 5})
	want := &Batch{Rows: 2, Inputs: [][]float32{{0, 2, 4, 6, 8, 10}, {7, 8, 9, -1}}, Targets: []float32{1, 2, 3, 4}, Index: []int{0, 1}}
	if len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("got %+v, want %+v", got[0], want)
	}
}

func TestSingleInputUnderItsName(t *testing.T) {
	dir := t.TempDir()
	writeShard(t, dir, "x-00000.npy", []int{1, 2, 2}, count[uint8](4))
	d, err := Open(dir, image, Options{NoLabels: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, d, BatchOptions{Size: 1}); !slices.Equal(got[0].Inputs[0], []float32{0, 1, 2, 3}) {
		t.Errorf("got %v", got[0].Inputs[0])
	}
	d.Close()
	writeShard(t, dir, "input-00000.npy", []int{1, 2, 2}, make([]uint8, 4))
	if d, err = Open(dir, image, Options{NoLabels: true}); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := readAll(t, d, BatchOptions{Size: 1}); !slices.Equal(got[0].Inputs[0], make([]float32, 4)) {
		t.Errorf("with input-00000.npy there, got %v", got[0].Inputs[0])
	}
}

// TestLabelsOfPositions: every element of a row is a class number, but for those that do not count.
func TestLabelsOfPositions(t *testing.T) {
	for _, c := range []struct {
		name  string
		write func(dir string)
		shape []int
		want  []int64
	}{
		{"masks with 255 for what does not count", func(dir string) {
			writeShard(t, dir, "label-00000.npy", []int{3, 2, 2}, []uint8{0, 1, 2, 255, 1, 1, 1, 1, 255, 255, 0, 2})
			ignore := int64(255)
			WriteMeta(dir, Meta{Ignore: &ignore})
		}, []int{2, 2}, []int64{0, 1, 2, Ignored, 1, 1, 1, 1, Ignored, Ignored, 0, 2}},
		{"tokens", func(dir string) {
			writeShard(t, dir, "label-00000.npy", []int{3, 2}, []int32{0, -100, 2, 1, 1, -100})
		}, []int{2}, []int64{0, Ignored, 2, 1, 1, Ignored}},
		{"a column of class numbers", func(dir string) {
			writeShard(t, dir, "label-00000.npy", []int{3, 1}, []int64{2, 0, 1})
		}, nil, []int64{2, 0, 1}},
		{"−1 as what does not count", func(dir string) {
			writeShard(t, dir, "label-00000.npy", []int{3, 2}, []int64{0, -1, 2, 1, 1, 0})
			ignore := int64(-1)
			WriteMeta(dir, Meta{Ignore: &ignore})
		}, []int{2}, []int64{0, Ignored, 2, 1, 1, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			writeShard(t, dir, "input-00000.npy", []int{3, 3, 24, 24}, count[float32](3*3*24*24))
			c.write(dir)
			d, err := Open(dir, []InputSpec{{Name: "x", Shape: []int{3, 24, 24}}}, Options{Classes: 3})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if l := d.Label(); l.Float || !slices.Equal(l.Shape, c.shape) {
				t.Errorf("label is %+v, want rows of %v", l, c.shape)
			}
			b, err := d.Batches(BatchOptions{Size: 3})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			batch, err := b.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(batch.Labels, c.want) {
				t.Errorf("labels are %v, want %v", batch.Labels, c.want)
			}
			if len(c.shape) == 0 {
				return
			}
			if _, err := d.ResolveAugment(AugmentFlip); err == nil || !strings.Contains(err.Error(), "cannot move labels") {
				t.Errorf("images would be mirrored without their labels: %v", err)
			}
			if a, err := d.ResolveAugment(AugmentAuto); err != nil || a != AugmentNone {
				t.Errorf("augmentation is %v: %v", a, err)
			}
		})
	}
}

// TestLabelsMoveWithImages: every pixel keeps its class number, and what comes in at the edges has none.
func TestLabelsMoveWithImages(t *testing.T) {
	const rows, h, w = 40, 9, 16
	dir := t.TempDir()
	pixels, labels := make([]uint8, rows*h*w), make([]int64, rows*h*w)
	for i := range pixels {
		pixels[i], labels[i] = uint8(1+i*7%250), int64(1+i*7%250)
	}
	writeShard(t, dir, "input-00000.npy", []int{rows, 1, h, w}, pixels)
	writeShard(t, dir, "label-00000.npy", []int{rows, h, w}, labels)
	d, err := Open(dir, []InputSpec{{Name: "x", Shape: []int{1, h, w}}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, way := range []Augment{AugmentFlip, AugmentCropFlip} {
		b, err := d.Batches(BatchOptions{Size: rows, Augment: way, Seed: 3})
		if err != nil {
			t.Fatal(err)
		}
		batch, err := b.Next()
		if err != nil {
			t.Fatal(err)
		}
		moved, outside := 0, 0
		for i, label := range batch.Labels {
			if label == Ignored {
				label = 0
				outside++
			}
			if batch.Inputs[0][i] != float32(label) {
				t.Fatalf("%s: pixel %d is %v, its label %d", way, i, batch.Inputs[0][i], label)
			}
			if label != labels[i] {
				moved++
			}
		}
		if moved == 0 || (outside > 0) != (way == AugmentCropFlip) {
			t.Errorf("%s: %d labels moved, %d came from outside", way, moved, outside)
		}
		b.Close()
	}
}
