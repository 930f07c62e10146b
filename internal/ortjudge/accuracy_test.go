package ortjudge

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeNPY stores an array in C order, version 1.0 of the format.
func writeNPY(t *testing.T, path, descr, shape string, data any) {
	t.Helper()
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, shape)
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	b := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
	b = append(b, header...)
	b, err := binary.Append(b, binary.LittleEndian, data)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
}

// writeDataset stores five images [N,2,1,1] in two shards. After normalisation
// with (x/10 − [0,1])/[1,0.5] the second channel is larger in images 1 and 4.
func writeDataset(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	writeNPY(t, file("input-00000.npy"), "|u1", "3, 2, 1, 1", []uint8{50, 10, 10, 20, 9, 14})
	writeNPY(t, file("label-00000.npy"), "<i8", "3,", []int64{0, 1, 1})
	writeNPY(t, file("input-00001.npy"), "<f4", "2, 2, 1, 1", []float32{30, 20, 19, 20})
	writeNPY(t, file("label-00001.npy"), "<i8", "2,", []int64{0, 1})
	text := `{"scale": 0.1, "mean": [0, 1], "std": [1, 0.5]}`
	if err := os.WriteFile(file("dataset.json"), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// flatten classifies an image [2,1,1] by its larger channel.
func flatten(batch int64) testGraph {
	return testGraph{
		nodes:   [][]byte{node("Flatten", []string{"x"}, []string{"y"})},
		inputs:  [][]byte{value("x", onnxFloat, batch, 2, 1, 1)},
		outputs: [][]byte{value("y", onnxFloat, batch, 2)},
	}
}

func TestAccuracy(t *testing.T) {
	Require(t)
	dir := writeDataset(t)
	for _, tt := range []struct{ fixed, batch int }{{-1, 1}, {-1, 2}, {-1, 100}, {1, 100}, {2, 1}} {
		path := flatten(int64(tt.fixed)).write(t)
		correct, total, err := Accuracy(path, dir, tt.batch, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if correct != 4 || total != 5 {
			t.Errorf("model batch %d, batch %d: got %d/%d, want 4/5", tt.fixed, tt.batch, correct, total)
		}
	}
}

func TestAccuracyErrors(t *testing.T) {
	Require(t)
	path := flatten(-1).write(t)
	tests := []struct {
		name   string
		change func(file func(string) string)
		want   string
	}{
		{"no shards", func(file func(string) string) {
			os.Remove(file("input-00000.npy"))
			os.Remove(file("input-00001.npy"))
		}, "no shards"},
		{"no labels", func(file func(string) string) { os.Remove(file("label-00001.npy")) }, "label-00001.npy"},
		{"too few labels", func(file func(string) string) {
			writeNPY(t, file("label-00001.npy"), "<i8", "1,", []int64{0})
		}, "label-00001.npy: labels have shape [1], expected [2]"},
		{"channels", func(file func(string) string) {
			os.WriteFile(file("dataset.json"), []byte(`{"scale": 1, "mean": [0]}`), 0o666)
		}, "inputs have 2 channels, dataset.json has mean or std for 1"},
		{"rank", func(file func(string) string) {
			writeNPY(t, file("input-00001.npy"), "<f4", "2,", []float32{0, 1})
		}, "input-00001.npy: inputs have shape [2], expected [N,C,...]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := writeDataset(t)
			tt.change(func(name string) string { return filepath.Join(dir, name) })
			if _, _, err := Accuracy(path, dir, 2, Options{}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}
