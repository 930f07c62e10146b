package prune

import (
	"math"
	"testing"
)

// TestMeanIoU: classes that occur neither as labels nor as outputs do not count.
func TestMeanIoU(t *testing.T) {
	for _, c := range []struct {
		name            string
		labels, outputs []int
		want            float64
	}{
		{"nothing", nil, nil, 0},
		{"all right", []int{0, 1, 1, 3}, []int{0, 1, 1, 3}, 1},
		{"all wrong", []int{0, 0}, []int{1, 1}, 0},
		{"some", []int{0, 0, 1, 1, 1, 2}, []int{0, 1, 1, 1, 0, 2}, (1.0/3 + 2.0/4 + 1) / 3},
		{"an output that is no label", []int{0, 0}, []int{0, 2}, (1.0/2 + 0) / 2},
	} {
		s := &Score{}
		for i, label := range c.labels {
			s.overlap(label, c.outputs[i], 4)
		}
		if got := s.meanIoU(); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
