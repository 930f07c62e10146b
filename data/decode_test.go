package data

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestRoundTrip writes random rows of every dtype, in C or Fortran order, over several
// shards, and reads them with and without memory mapping.
func TestRoundTrip(t *testing.T) {
	roundTrip[uint8](t, "uint8", false)
	roundTrip[float32](t, "float32", false)
	roundTrip[float64](t, "float64", false)
	roundTrip[uint8](t, "uint8 ids", true)
	roundTrip[int32](t, "int32", true)
	roundTrip[int64](t, "int64", true)
}

func roundTrip[T Element](t *testing.T, name string, integer bool) {
	t.Run(name, func(t *testing.T) {
		base := t.TempDir()
		runs := 0
		rapid.Check(t, func(r *rapid.T) {
			runs++
			dir := filepath.Join(base, fmt.Sprint(runs))
			if err := os.Mkdir(dir, 0o755); err != nil {
				r.Fatal(err)
			}
			shape := rapid.SliceOfN(rapid.IntRange(1, 4), 0, 3).Draw(r, "shape")
			rows, perShard := rapid.IntRange(1, 9).Draw(r, "rows"), rapid.IntRange(1, 5).Draw(r, "per shard")
			elems := 1
			for _, n := range shape {
				elems *= n
			}
			values := make([]T, rows*elems)
			want := make([]float32, len(values))
			for i := range values {
				values[i] = T(rapid.IntRange(0, 255).Draw(r, "value"))
				want[i] = float32(values[i])
			}
			if rapid.Bool().Draw(r, "fortran") {
				writeFortran(r, dir, shape, elems, perShard, values)
			} else {
				w, err := NewWriter[T](dir, "input", shape, perShard)
				if err != nil {
					r.Fatal(err)
				}
				cut := rapid.IntRange(0, rows).Draw(r, "cut") * elems
				if w.Write(values[:cut]) != nil || w.Write(values[cut:]) != nil || w.Close() != nil {
					r.Fatal("writing failed")
				}
			}
			d, err := Open(dir, []InputSpec{{Name: "x", Shape: shape, Integer: integer}}, Options{NoLabels: true})
			if err != nil {
				r.Fatal(err)
			}
			defer d.Close()
			if rapid.Bool().Draw(r, "unmapped") {
				unmap(r, d)
			}
			b, err := d.Batches(BatchOptions{Size: rows})
			if err != nil {
				r.Fatal(err)
			}
			defer b.Close()
			got, err := b.Next()
			if err != nil || !slices.Equal(got.Inputs[0], want) {
				r.Fatalf("read %v, %v; want %v", got, err, want)
			}
		})
	})
}

type fataler interface{ Fatal(...any) }

// unmap makes every shard read its file instead of the map.
func unmap(t fataler, d *Dataset) {
	for _, s := range d.streams() {
		for _, sh := range s.shards {
			if sh.mapped == nil {
				continue
			}
			err := unmapFile(sh.mapped)
			sh.mapped = nil
			if err == nil {
				sh.file, err = os.Open(filepath.Join(d.dir, sh.name))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// writeFortran writes shards of input in Fortran order.
func writeFortran[T Element](t fataler, dir string, shape []int, elems, perShard int, values []T) {
	for i := 0; len(values) > 0; i++ {
		rows := min(perShard, len(values)/elems)
		full := append([]int{rows}, shape...)
		out := make([]T, rows*elems)
		index := make([]int, len(full))
		for c := range out {
			at, stride := 0, 1
			for k, n := range full {
				at += index[k] * stride
				stride *= n
			}
			out[at] = values[c]
			for k := len(full) - 1; k >= 0; k-- {
				if index[k]++; index[k] < full[k] {
					break
				}
				index[k] = 0
			}
		}
		head, err := formatHeader(Header{DType: dtypeOf[T](), Fortran: true, Shape: full})
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, shardName("input", i)), appendElements(head, out), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		values = values[rows*elems:]
	}
}

// TestNormalisation compares every dtype with (x·scale − mean)/std and with each other.
func TestNormalisation(t *testing.T) {
	m := Meta{Scale: 1.0 / 255, Mean: []float64{0.485, 0.456}, Std: []float64{0.229, 0.224}}
	raw8 := count[uint8](256)
	shape := []int{2, 64}
	var first []float32
	for name, raw := range map[string][]byte{
		"uint8":   raw8,
		"float32": appendElements(nil, count[float32](256)),
		"float64": appendElements(nil, count[float64](256)),
	} {
		types := map[string]DType{"uint8": Uint8, "float32": Float32, "float64": Float64}
		d, err := newDecoder(types[name], shape[0], 128, m)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float32, 256)
		half := len(raw) / 2
		if d.row(got[:128], raw[:half]) != nil || d.row(got[128:], raw[half:]) != nil {
			t.Fatal("decoding failed")
		}
		for i, y := range got {
			c := i / 64 % 2
			want := (float64(i)/255 - m.Mean[c]) / m.Std[c]
			if diff := float64(y) - want; diff < -1e-6 || diff > 1e-6 {
				t.Fatalf("%s: %d becomes %v, want %v", name, i, y, want)
			}
		}
		if first == nil {
			first = slices.Clone(got)
		}
		if !slices.Equal(got, first) {
			t.Errorf("%s: other bits than another dtype", name)
		}
	}
}

// TestManyChannels takes the way without tables.
func TestManyChannels(t *testing.T) {
	m := Meta{Mean: make([]float64, 100), Std: []float64{2}}
	m.Mean[99] = 1
	d, err := newDecoder(Uint8, 100, 200, m)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 200)
	if err := d.row(got, slices.Repeat([]byte{8}, 200)); err != nil {
		t.Fatal(err)
	}
	if d.table != nil || got[0] != 4 || got[197] != 4 || got[198] != 3.5 || got[199] != 3.5 {
		t.Errorf("table %d, values %v", len(d.table), got[195:])
	}
}
