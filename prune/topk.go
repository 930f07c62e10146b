package prune

import (
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Selector finds the k largest elements over several slices, exactly: k, not about
// k. Of equal ones those that come first stay. It counts float bits by radix
// instead of sorting, and keeps its tables between calls.
type Selector struct {
	pool   *kernel.Pool
	order  func(v float32) uint32
	counts [][]int32
	chunks []span
}

// span is a piece of one slice.
type span struct {
	slice, lo, hi int
	above, equal  int
}

const (
	radixBits = 11
	buckets   = 1 << radixBits
	spanSize  = 1 << 16
)

// NewSelector prepares a selection over slices of these lengths, by magnitude or
// by value.
func NewSelector(pool *kernel.Pool, lengths []int, order func(v float32) uint32) *Selector {
	s := &Selector{pool: pool, order: order}
	for i, n := range lengths {
		for lo := 0; lo < n; lo += spanSize {
			s.chunks = append(s.chunks, span{slice: i, lo: lo, hi: min(n, lo+spanSize)})
		}
	}
	s.counts = make([][]int32, len(s.chunks))
	for i := range s.counts {
		s.counts[i] = make([]int32, buckets)
	}
	return s
}

// magnitude orders by |v|, value by v; NaN is largest, or lowest where negative.
func magnitude(v float32) uint32 { return math.Float32bits(v) &^ (1 << 31) }

func value(v float32) uint32 {
	b := math.Float32bits(v)
	if b>>31 != 0 {
		return ^b
	}
	return b | 1<<31
}

// Select sets masks to 1 at the k largest scores and to 0 elsewhere. Slices are
// those of NewSelector.
func (s *Selector) Select(scores, masks [][]float32, k int) {
	// Three passes fix the threshold's bits from the top: 11, 11 and 10 of 32.
	var prefix uint32
	shift := 32
	rest := k
	for _, bits := range []int{11, 11, 10} {
		shift -= bits
		s.count(scores, prefix, shift, bits)
		b := 1<<bits - 1
		for ; b > 0; b-- {
			n := 0
			for _, c := range s.counts {
				n += int(c[b])
			}
			if rest <= n {
				break
			}
			rest -= n
		}
		prefix |= uint32(b) << shift
	}
	// prefix is the k-th largest value; rest of those equal to it stay.
	s.pool.Run(len(s.chunks), func(i, _ int) {
		c := &s.chunks[i]
		c.equal = 0
		for _, v := range scores[c.slice][c.lo:c.hi] {
			if s.order(v) == prefix {
				c.equal++
			}
		}
	})
	for i := range s.chunks {
		c := &s.chunks[i]
		c.above = min(rest, c.equal)
		rest -= c.above
	}
	s.pool.Run(len(s.chunks), func(i, _ int) {
		c := s.chunks[i]
		m := masks[c.slice][c.lo:c.hi]
		left := c.above
		for j, v := range scores[c.slice][c.lo:c.hi] {
			switch o := s.order(v); {
			case k == 0 || o < prefix:
				m[j] = 0
			case o > prefix:
				m[j] = 1
			case left > 0:
				m[j] = 1
				left--
			default:
				m[j] = 0
			}
		}
	})
}

// count fills, per chunk, how many values that agree with the prefix above
// shift+bits have each digit.
func (s *Selector) count(scores [][]float32, prefix uint32, shift, bits int) {
	s.pool.Run(len(s.chunks), func(i, _ int) {
		c := s.chunks[i]
		n := s.counts[i]
		clear(n)
		high := shift + bits
		digit := uint32(1<<bits - 1)
		for _, v := range scores[c.slice][c.lo:c.hi] {
			o := s.order(v)
			if uint64(o)>>high == uint64(prefix)>>high {
				n[o>>shift&digit]++
			}
		}
	})
}
