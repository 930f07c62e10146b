package data

import (
	"slices"
	"strings"
	"testing"
)

func TestHoldOut(t *testing.T) {
	pixels := map[int][]float32{}
	whole := images(t, 50, 20, 4, 4)
	for _, b := range readAll(t, whole, BatchOptions{Size: 1}) {
		pixels[b.Index[0]] = b.Inputs[0]
	}
	rows := func(d *Dataset, o BatchOptions) (index []int) {
		t.Helper()
		for _, b := range readAll(t, d, o) {
			for i, row := range b.Index {
				if !slices.Equal(part(b.Inputs[0], i, b.Rows), pixels[row]) || b.Labels[i] != int64(row%10) {
					t.Fatalf("row %d has other values", row)
				}
			}
			index = append(index, b.Index...)
		}
		return index
	}
	d := images(t, 50, 20, 4, 4)
	held, err := d.HoldOut(11, 7)
	if err != nil {
		t.Fatal(err)
	}
	a, b := rows(held, BatchOptions{Size: 4}), rows(d, BatchOptions{Size: 4})
	if len(a) != 11 || len(b) != 39 || held.Len() != 11 || d.Len() != 39 || !slices.IsSorted(a) || !slices.IsSorted(b) {
		t.Fatalf("%v and %v, want 11 and 39 in file order", a, b)
	}
	all := slices.Concat(a, b)
	slices.Sort(all)
	for i, row := range all {
		if i != row {
			t.Fatalf("%v and %v are not all rows once", a, b)
		}
	}
	mixed := rows(d, BatchOptions{Size: 4, Shuffle: true, Seed: 3})
	if slices.Equal(mixed, b) {
		t.Error("the rest is not shuffled")
	}
	slices.Sort(mixed)
	if !slices.Equal(mixed, b) {
		t.Errorf("shuffled %v, in order %v", mixed, b)
	}
	again := images(t, 50, 20, 4, 4)
	if same, err := again.HoldOut(11, 7); err != nil || !slices.Equal(rows(same, BatchOptions{Size: 4}), a) {
		t.Errorf("the same seed holds out others (%v)", err)
	}
	other := images(t, 50, 20, 4, 4)
	if x, err := other.HoldOut(11, 8); err != nil || slices.Equal(rows(x, BatchOptions{Size: 4}), a) {
		t.Errorf("another seed holds out the same (%v)", err)
	}
	second, err := d.HoldOut(9, 7)
	if err != nil {
		t.Fatal(err)
	}
	if c := rows(second, BatchOptions{Size: 4}); slices.ContainsFunc(c, func(row int) bool { return !slices.Contains(b, row) }) || d.Len() != 30 {
		t.Errorf("held out second: %v, not of %v, or not taken out", c, b)
	}
	if files := held.Files(); files != nil {
		t.Errorf("held out rows list files %v, which are the other's", files)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	rows(d, BatchOptions{Size: 4})
	for _, n := range []int{-1, 0, 30, 31} {
		if _, err := d.HoldOut(n, 1); err == nil || !strings.Contains(err.Error(), "want 1 to 29") {
			t.Errorf("%d of 30 rows: error %v", n, err)
		}
	}
}
