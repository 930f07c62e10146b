package data

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// images writes a dataset of rows uint8 images [3,h,w] in shards of perShard and opens it.
func images(t testing.TB, rows, perShard, h, w int) *Dataset {
	t.Helper()
	dir := t.TempDir()
	x, err := NewWriter[uint8](dir, "input", []int{3, h, w}, perShard)
	if err != nil {
		t.Fatal(err)
	}
	y, err := NewWriter[int64](dir, "label", nil, perShard)
	if err != nil {
		t.Fatal(err)
	}
	rng := newKeyed(99)
	row := make([]uint8, 3*h*w)
	for i := range rows {
		for j := range row {
			row[j] = uint8(1 + rng.below(255))
		}
		if err := x.Write(row); err != nil {
			t.Fatal(err)
		}
		if err := y.Write([]int64{int64(i % 10)}); err != nil {
			t.Fatal(err)
		}
	}
	if x.Close() != nil || y.Close() != nil {
		t.Fatal("writing failed")
	}
	if err := WriteMeta(dir, Meta{Scale: 1.0 / 255, Mean: []float64{0.5, 0.4, 0.3}, Std: []float64{0.2, 0.25, 0.3}}); err != nil {
		t.Fatal(err)
	}
	d, err := Open(dir, []InputSpec{{Name: "x", Shape: []int{3, -1, -1}}}, Options{Classes: 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestSameBatchesForAnyWorkers(t *testing.T) {
	d := images(t, 103, 20, 8, 8)
	o := BatchOptions{Size: 10, Shuffle: true, Augment: AugmentCropFlip, Seed: 5, Epoch: 2, Workers: 1, Ahead: 1}
	want := readAll(t, d, o)
	if len(want) != 11 || want[10].Rows != 3 {
		t.Fatalf("%d batches, the last of %d rows", len(want), want[len(want)-1].Rows)
	}
	for _, o.Workers = range []int{2, 7} {
		for _, o.Ahead = range []int{1, 3, 50} {
			if got := readAll(t, d, o); !reflect.DeepEqual(got, want) {
				t.Errorf("%d workers, %d ahead: other batches", o.Workers, o.Ahead)
			}
		}
	}
	for name, change := range map[string]func(*BatchOptions){
		"seed": func(o *BatchOptions) { o.Seed++ }, "epoch": func(o *BatchOptions) { o.Epoch++ },
	} {
		o := o
		change(&o)
		got := readAll(t, d, o)
		if slices.Equal(got[0].Index, want[0].Index) {
			t.Errorf("another %s gives the same order", name)
		}
	}
}

func TestShuffleIsAPermutation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(t, "rows")
		p := permutation(n, rapid.Uint64().Draw(t, "seed"), rapid.IntRange(0, 1000).Draw(t, "epoch"))
		slices.Sort(p)
		for i, v := range p {
			if int(v) != i {
				t.Fatalf("place %d holds %d", i, v)
			}
		}
	})
}

// TestShuffleIsUniform counts where each of 4 rows goes over 24,000 seeds: a χ² of all 24
// orders with 23 degrees of freedom exceeds 49.7 once in a thousand fair generators.
func TestShuffleIsUniform(t *testing.T) {
	seen := map[string]int{}
	for seed := range 24000 {
		seen[fmt.Sprint(permutation(4, uint64(seed), 0))]++
	}
	chi := 0.0
	for _, n := range seen {
		chi += float64((n-1000)*(n-1000)) / 1000
	}
	if len(seen) != 24 || chi > 49.7 {
		t.Errorf("%d orders, chi-square %.1f", len(seen), chi)
	}
}

func TestDropLastAndOrder(t *testing.T) {
	d := images(t, 25, 10, 4, 4)
	got := readAll(t, d, BatchOptions{Size: 10, DropLast: true})
	if len(got) != 2 || !slices.Equal(got[1].Index, []int{10, 11, 12, 13, 14, 15, 16, 17, 18, 19}) {
		t.Errorf("%d batches, second %v", len(got), got[len(got)-1].Index)
	}
	for _, o := range []BatchOptions{{Size: 0}, {Size: 26, DropLast: true}, {Size: 1, Augment: 9}} {
		if _, err := d.Batches(o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	if got := readAll(t, d, BatchOptions{Size: 1 << 40}); len(got) != 1 || got[0].Rows != 25 {
		t.Errorf("a batch larger than the dataset gives %d batches", len(got))
	}
}

func TestNoGoroutineStays(t *testing.T) {
	before := runtime.NumGoroutine()
	d := images(t, 200, 50, 8, 8)
	for i := range 20 {
		it, err := d.Batches(BatchOptions{Size: 3, Shuffle: true, Workers: 4, Ahead: 8})
		if err != nil {
			t.Fatal(err)
		}
		for range i {
			if _, err := it.Next(); err != nil {
				t.Fatal(err)
			}
		}
		it.Close()
		it.Close()
		if _, err := it.Next(); err == nil || err == io.EOF {
			t.Errorf("Next after Close: %v", err)
		}
	}
	if _, err := d.Batches(BatchOptions{Size: 3}); err != nil {
		t.Fatal(err)
	}
	d.Close()
	if _, err := d.Batches(BatchOptions{Size: 3}); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("Batches after Close: %v", err)
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}

func TestReleaseReusesMemory(t *testing.T) {
	d := images(t, 400, 100, 16, 16)
	it, err := d.Batches(BatchOptions{Size: 4, Workers: 2, Ahead: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	buffers := map[*float32]bool{}
	for {
		b, err := it.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		buffers[&b.Inputs[0][0]] = true
		b.Release()
		b.Release()
	}
	if len(buffers) > 6 {
		t.Errorf("%d buffers for %d batches", len(buffers), it.Count())
	}
}

func TestFileThatShrinks(t *testing.T) {
	dir := t.TempDir()
	writeShard(t, dir, "input-00000.npy", []int{100, 2, 2}, count[float32](400))
	d, err := Open(dir, image, Options{NoLabels: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := os.Truncate(filepath.Join(dir, "input-00000.npy"), 0); err != nil {
		t.Fatal(err)
	}
	it, err := d.Batches(BatchOptions{Size: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	if _, err := it.Next(); err == nil || !strings.Contains(err.Error(), "input-00000.npy: row 0: ") {
		t.Errorf("error %v", err)
	}
}

func TestRandomBatch(t *testing.T) {
	specs := []InputSpec{{Name: "x", Shape: []int{3, 50}}, {Name: "ids", Shape: []int{4}, Integer: true}, {Name: "tokens", Shape: []int{40}, Integer: true, Below: 30}}
	a, err := RandomBatch(specs, 100, 7, 3)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := RandomBatch(specs, 40, 7, 3)
	if !slices.Equal(a.Inputs[0][:40*150], b.Inputs[0]) || !slices.Equal(a.Labels[:40], b.Labels) {
		t.Error("rows depend on the batch size")
	}
	var sum, square float64
	for _, v := range a.Inputs[0] {
		sum += float64(v)
		square += float64(v) * float64(v)
	}
	n := float64(len(a.Inputs[0]))
	if m, v := sum/n, square/n; m < -0.04 || m > 0.04 || v < 0.94 || v > 1.06 {
		t.Errorf("mean %v, mean square %v of standard normal values", m, v)
	}
	if slices.Max(a.Labels) != 6 || slices.Min(a.Labels) != 0 || slices.Max(a.Inputs[1]) != 1 || slices.Min(a.Inputs[1]) != 0 || slices.Max(a.Inputs[2]) != 29 || slices.Min(a.Inputs[2]) != 0 {
		t.Error("labels or integers out of range")
	}
	if _, err := RandomBatch([]InputSpec{{Name: "x", Shape: []int{-1}}}, 1, 0, 0); err == nil {
		t.Error("free dimension: no error")
	}
	if _, err := RandomBatch(specs, 0, 0, 0); err == nil {
		t.Error("no rows: no error")
	}
}
