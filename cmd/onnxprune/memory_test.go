package main

import (
	"encoding/json"
	"path/filepath"
	"testing"
)

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "512": 512, "2k": 2048, "2kB": 2000, "1.5MiB": 3 << 19, "500MB": 500e6, "4GiB": 4 << 30, "4 G": 4 << 30, "1T": 1 << 40, "3b": 3,
		"": -1, "G": -1, "-1G": -1, "1X": -1, "1GiBs": -1, "0": -1, "1e9": -1, "NaN": -1, "9999999999T": -1, "1..2": -1,
	} {
		if got, err := parseBytes(text); (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q is %d, %v, wants %d", text, got, err, want)
		}
	}
}

// TestBenchEstimatesMemory: the estimate is within 15 % of what the process took, or within the
// few MiB that differ from machine to machine.
func TestBenchEstimatesMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has memory of its own")
	}
	model := filepath.Join("..", "..", "testdata", "models", "glyphs_resnet_bn.onnx")
	cmd, out := program(t.TempDir())
	abs, err := filepath.Abs(model)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Args = append(cmd.Args, "bench", abs, "--train", "--batch", "2048", "--runs", "1", "--json")
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var m measurement
	if err := json.Unmarshal(out.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	if m.PeakBytes == 0 {
		t.Skip("the system does not tell the memory of a process")
	}
	if d := float64(m.EstimateBytes)/float64(m.PeakBytes) - 1; d < -0.15 || d > 0.15 {
		t.Errorf("estimated %d MiB, took %d MiB: %+.1f %%", m.EstimateBytes>>20, m.PeakBytes>>20, 100*d)
	}
}
