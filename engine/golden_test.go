package engine

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestPlans compares the calls of compiled plans with golden files.
func TestPlans(t *testing.T) {
	for _, name := range []string{"glyphs_resnet_bn", "glyphs_resnet", "tiny_mobile_bn", "tiny_attention_b1", "tiny_shuffle_b1", "tiny_shared"} {
		t.Run(name, func(t *testing.T) {
			g := load(t, "../testdata/models/"+name+".onnx")
			pool := kernel.NewPool(1)
			defer pool.Close()
			var b strings.Builder
			for _, loss := range []Loss{nil, CrossEntropy{}} {
				kind := "inference"
				if loss != nil {
					kind = "training"
					if probe, err := Compile(g, NewState(g), Options{Batch: 2, Pool: pool}); err == nil && probe.Scored(nil).Rank() != 2 {
						loss = MeanSquaredError{}
					}
				}
				p, err := Compile(g, NewState(g), Options{Batch: 2, Pool: pool, Loss: loss})
				if err != nil {
					t.Fatal(err)
				}
				b.WriteString("# " + kind + "\n" + strings.Join(p.Calls(), "\n") + "\n")
			}
			path := filepath.Join("testdata", "plans", name+".txt")
			if *update {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if string(want) != b.String() {
				t.Errorf("the plan differs from %s (go test ./engine -update rewrites it):\n%s", path, b.String())
			}
		})
	}
}

// TestPlaceNeverOverlaps: buffers that live at the same time have elements of their
// own, and those that do not share.
func TestPlaceNeverOverlaps(t *testing.T) {
	stores := []*storage{
		{size: 100, first: 0, last: 3}, {size: 50, first: 1, last: 2}, {size: 50, first: 3, last: 5}, {size: 7, first: 2, last: 9},
		{size: 1, first: 0, last: 9}, {size: 300, first: 6, last: 7}, {size: 16, first: 4, last: 6}, {size: 100, first: 4, last: 5},
	}
	total := place(stores)
	for i, a := range stores {
		if a.offset%align != 0 || a.offset+a.size > total {
			t.Errorf("buffer %d is at %d with %d elements, the arena has %d", i, a.offset, a.size, total)
		}
		for j, b := range stores[:i] {
			if a.first <= b.last && b.first <= a.last && a.offset < b.offset+b.size && b.offset < a.offset+a.size {
				t.Errorf("buffers %d and %d live together and overlap", i, j)
			}
		}
	}
	if total > 100+50+16+7+300 {
		t.Errorf("the arena has %d elements", total)
	}
}
