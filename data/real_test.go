package data

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// openSet opens a dataset of images outside of this package, or skips.
func openSet(t testing.TB, dir string, shape ...int) *Dataset {
	t.Helper()
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("%s is not there", dir)
	}
	d, err := Open(dir, []InputSpec{{Name: "input", Shape: shape}}, Options{Classes: 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// histogram reads one epoch and returns the classes' counts and the values' mean and
// variance.
func histogram(t *testing.T, d *Dataset) (classes [10]int, mean, variance float64) {
	var n, sum, square float64
	for _, b := range readAll(t, d, BatchOptions{Size: 500, Shuffle: true}) {
		for _, l := range b.Labels {
			classes[l]++
		}
		for _, v := range b.Inputs[0] {
			sum += float64(v)
			square += float64(v) * float64(v)
		}
		n += float64(len(b.Inputs[0]))
	}
	mean = sum / n
	return classes, mean, square/n - mean*mean
}

func TestGlyphs(t *testing.T) {
	for part, rows := range map[string]int{"train": 4000, "test": 1000} {
		d := openSet(t, filepath.Join("..", "testdata", "data", "glyphs", part), 1, 16, 16)
		classes, mean, variance := histogram(t, d)
		if d.Len() != rows || slices.Min(classes[:]) != rows/10 || slices.Max(classes[:]) != rows/10 {
			t.Errorf("%s: %d rows in classes of %v, want %d of equal size", part, d.Len(), classes, rows)
		}
		if mean < -0.3 || mean > 0.3 || variance < 0.5 || variance > 2 {
			t.Errorf("%s: mean %.3f, variance %.3f, want about 0 and 1", part, mean, variance)
		}
		if a, err := d.ResolveAugment(AugmentAuto); err != nil || a != AugmentNone {
			t.Errorf("%s: augmentation %v, %v; want none", part, a, err)
		}
	}
}

func TestCIFAR10(t *testing.T) {
	for part, rows := range map[string]int{"train": 25000, "test": 10000} {
		d := openSet(t, filepath.Join("..", "..", "shared", "data", "cifar10", part), 3, 32, 32)
		classes, mean, variance := histogram(t, d)
		if d.Len() != rows || slices.Min(classes[:]) < rows*95/1000 || slices.Max(classes[:]) > rows*105/1000 {
			t.Errorf("%s: %d rows in classes of %v, want %d of about equal size", part, d.Len(), classes, rows)
		}
		if mean < -0.3 || mean > 0.3 || variance < 0.8 || variance > 1.5 {
			t.Errorf("%s: mean %.3f, variance %.3f, want about 0 and 1", part, mean, variance)
		}
		if a, err := d.ResolveAugment(AugmentAuto); err != nil || a != AugmentCropFlip {
			t.Errorf("%s: augmentation %v, %v; want crop-flip", part, a, err)
		}
	}
}

// BenchmarkEpoch reads augmented batches of 128 color images.
func BenchmarkEpoch(b *testing.B) {
	d := images(b, 2048, 1024, 32, 32)
	b.SetBytes(int64(d.Len()) * 3 * 32 * 32)
	for b.Loop() {
		it, err := d.Batches(BatchOptions{Size: 128, Shuffle: true, Augment: AugmentAuto})
		if err != nil {
			b.Fatal(err)
		}
		for range it.Count() {
			batch, err := it.Next()
			if err != nil {
				b.Fatal(err)
			}
			batch.Release()
		}
		it.Close()
	}
}
