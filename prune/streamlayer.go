package prune

import (
	"encoding/binary"
	mathbits "math/bits"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// contents are counts over elements: those that are not zero, those at a threshold or above it, among these the ones
// equal to it, and the sum of the encodings as 64-bit words.
type contents struct {
	nonzero, kept, ties int
	sum                 uint64
}

// lanes returns how elements of 2 and 4 bytes are compared; nil for others.
func (l *StreamLayer) lanes() *lanes {
	switch l.Size {
	case 2:
		return &lanes16
	case 4:
		return &lanes32
	}
	return nil
}

// The methods below take p as whole words, filled up with zeros.

// count returns how many elements are not zero and how many are above hi, and 0 for nan where none is NaN; near gets the
// magnitudes from lo to hi.
func (l *StreamLayer) count(p []byte, lo, hi uint32, near func(key uint32)) (nonzero, above, nan int) {
	if v := kernel.AsFloats(p); v != nil && l.Size == 4 {
		return countFloats(v, lo, hi, near)
	}
	if n := l.lanes(); n != nil {
		decode := near
		if n.bits == 16 {
			table := l.magnitudes()
			decode = func(lane uint32) { near(table[lane]) }
		}
		return n.count(p, l.Source.Pattern(lo), l.Source.Pattern(hi+1), l.Source.Pattern(infinity+1), decode)
	}
	l.each(p, func(_ []byte, key uint32) {
		switch {
		case key > infinity:
			nan++
		case key > hi:
			above++
		case key >= lo:
			near(key)
		}
		if key != 0 {
			nonzero++
		}
	})
	return nonzero, above, nan
}

// countFloats is count for float32.
func countFloats(v []float32, lo, hi uint32, near func(key uint32)) (nonzero, above, nan int) {
	var marks, others [markSize / 8]uint8
	for len(v) > 0 {
		part := v[:min(len(v), markSize)]
		v = v[len(part):]
		n := (len(part) + 7) / 8
		nonzero += kernel.CountKeys(part, others[:n], magnitude, 0, 0)
		nan += kernel.CountKeys(part, others[:n], magnitude, infinity, infinity)
		above += kernel.CountKeys(part, marks[:n], magnitude, lo, hi)
		clear(marks[n:])
		for w := 0; w < n; w += 8 {
			for b := binary.LittleEndian.Uint64(marks[w:]); b != 0; b &= b - 1 {
				near(magnitude.Key(part[8*w+mathbits.TrailingZeros64(b)]))
			}
		}
	}
	return nonzero, above, nan
}

// magnitudes are those of all encodings of two bytes without sign.
func (l *StreamLayer) magnitudes() []uint32 {
	l.decoding.Do(func() {
		p := make([]byte, 2<<15)
		for i := range 1 << 15 {
			binary.LittleEndian.PutUint16(p[2*i:], uint16(i))
		}
		l.table = make([]uint32, 1<<15)
		l.Source.Magnitudes(l.table, p)
	})
	return l.table
}

// mask clears those of n elements that are below the threshold.
func (l *StreamLayer) mask(p []byte, n int, threshold uint32) contents {
	if ln := l.lanes(); ln != nil && threshold > 0 {
		t, after := l.Source.Pattern(threshold), l.Source.Pattern(threshold+1)
		kept, above, sum := ln.mask(p, t, after)
		return contents{nonzero: kept, kept: kept, ties: kept - above, sum: sum}
	}
	if threshold > 0 {
		l.each(p, func(x []byte, key uint32) {
			if key < threshold {
				clear(x)
			}
		})
	}
	c := l.contents(p, threshold)
	l.each(p[:n*l.Size], func(_ []byte, key uint32) {
		if key == threshold {
			c.ties++
		}
	})
	return c
}

// contents counts all but ties.
func (l *StreamLayer) contents(p []byte, threshold uint32) (c contents) {
	if n := l.lanes(); n != nil {
		c.nonzero, c.kept, c.sum = n.contents(p, l.Source.Pattern(threshold))
		return c
	}
	l.each(p, func(x []byte, key uint32) {
		if key != 0 {
			c.nonzero++
		}
		if key >= threshold {
			c.kept++
		}
		c.sum += binary.LittleEndian.Uint64(x)
	})
	return c
}

// dropTies clears the elements whose magnitude is the threshold but for the first quota of them.
func (l *StreamLayer) dropTies(p []byte, threshold uint32, quota int) {
	l.each(p, func(x []byte, key uint32) {
		switch {
		case key != threshold:
		case quota > 0:
			quota--
		default:
			clear(x)
		}
	})
}

// firstNaN is the index of the first element that is NaN.
func (l *StreamLayer) firstNaN(p []byte) int {
	first, at := -1, 0
	l.each(p, func(_ []byte, key uint32) {
		if key > infinity && first < 0 {
			first = at
		}
		at++
	})
	return first
}

// each calls f for every element with its encoding and magnitude.
func (l *StreamLayer) each(p []byte, f func(x []byte, key uint32)) {
	var keys [1 << 10]uint32
	for len(p) > 0 {
		n := min(len(p)/l.Size, len(keys))
		l.Source.Magnitudes(keys[:n], p)
		for i, key := range keys[:n] {
			f(p[i*l.Size:(i+1)*l.Size], key)
		}
		p = p[n*l.Size:]
	}
}
