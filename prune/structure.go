package prune

import (
	"fmt"
	"strconv"
	"strings"
)

// Kind is the shape of what is removed together.
type Kind int

// The kinds of structure: single weights; output channels and input channels, each
// with all slices that are coupled to them; N weights kept of every M in a row; blocks.
const (
	KindWeight Kind = iota
	KindFilter
	KindChannel
	KindNM
	KindBlock
)

// Structure says what is removed together.
type Structure struct {
	Kind Kind
	// N of every M stay along the input channels.
	N, M int
	// Rows of outputs times Columns of inputs make a block.
	Rows, Columns int
}

// largestPattern bounds N, M, Rows and Columns.
const largestPattern = 1 << 16

// ParseStructure reads weight, filter, channel, N:M or block:RxC.
func ParseStructure(text string) (Structure, error) {
	switch text {
	case "weight":
		return Structure{Kind: KindWeight}, nil
	case "filter":
		return Structure{Kind: KindFilter}, nil
	case "channel":
		return Structure{Kind: KindChannel}, nil
	}
	if size, ok := strings.CutPrefix(text, "block:"); ok {
		r, c, ok := pair(size, "x")
		if !ok {
			return Structure{}, fmt.Errorf("--structure %s: wants block:RxC with R outputs and C inputs from 1 to %d, as block:4x1", text, largestPattern)
		}
		return Structure{Kind: KindBlock, Rows: r, Columns: c}, nil
	}
	if strings.Contains(text, ":") {
		n, m, ok := pair(text, ":")
		if !ok || n >= m {
			return Structure{}, fmt.Errorf("--structure %s: wants N:M with 1 ≤ N < M ≤ %d, as 2:4, which keeps two weights of four", text, largestPattern)
		}
		return Structure{Kind: KindNM, N: n, M: m}, nil
	}
	return Structure{}, fmt.Errorf("--structure is %q, wants weight, filter, channel, N:M or block:RxC", text)
}

// pair reads two positive numbers.
func pair(text, sep string) (a, b int, ok bool) {
	left, right, found := strings.Cut(text, sep)
	if !found {
		return 0, 0, false
	}
	a, errA := strconv.Atoi(left)
	b, errB := strconv.Atoi(right)
	good := errA == nil && errB == nil && a >= 1 && b >= 1 && a <= largestPattern && b <= largestPattern
	return a, b, good
}

// String is what ParseStructure reads.
func (s Structure) String() string {
	switch s.Kind {
	case KindFilter:
		return "filter"
	case KindChannel:
		return "channel"
	case KindNM:
		return fmt.Sprintf("%d:%d", s.N, s.M)
	case KindBlock:
		return fmt.Sprintf("block:%dx%d", s.Rows, s.Columns)
	}
	return "weight"
}

// Grouped reports whether whole channels are removed.
func (s Structure) Grouped() bool { return s.Kind == KindFilter || s.Kind == KindChannel }

// Share is the fraction of weights that N:M removes where M divides the axis; 0 for
// other structures.
func (s Structure) Share() float64 {
	if s.Kind != KindNM {
		return 0
	}
	return float64(s.M-s.N) / float64(s.M)
}

// Slack is how many weights a selection may be away from the ratio, since blocks go as
// a whole.
func (s Structure) Slack() int {
	if s.Kind == KindBlock {
		return s.Rows * s.Columns / 2
	}
	return 0
}

// Ramps reports whether bi-level pruning comes to its ratio step by step.
func (s Structure) Ramps() bool { return s.Kind != KindNM }
