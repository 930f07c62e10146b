package prune

import (
	"math"
	mathbits "math/bits"
	"slices"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Selector finds the k largest elements over several slices, exactly: k, not about
// k. Of equal ones those that come first stay. The threshold of the call before, or a
// sample, brackets the k-th largest; one pass counts what lies above the bracket
// and collects what lies inside, and the bits of the few collected are counted.
type Selector struct {
	pool   *kernel.Pool
	order  order
	chunks []span
	sample []uint32
	every  int // distance of the elements in the sample
	total  int

	// The selection in progress.
	scores, masks [][]float32
	lo, hi        uint32
	threshold     uint32
	reach         uint32 // half the bracket around the next threshold; 0 before the first
	gatherTask    func(task, worker int)
	markTask      func(task, worker int)
}

// span is a piece of one slice.
type span struct {
	slice, lo, hi int
	near          []uint32 // inside the bracket
	above         int      // elements above it
	ties          int      // elements equal to the threshold that stay
}

const (
	radixBits  = 11
	spanSize   = 1 << 16
	sampleSize = 1 << 14
	markSize   = 1 << 12
)

type order = kernel.KeyOrder

// magnitude orders by |v|, value by v; NaN is largest, or lowest where negative.
var (
	magnitude = order{Keep: math.MaxUint32 >> 1}
	value     = order{Flip: math.MaxUint32 >> 1, Toggle: 1 << 31, Keep: math.MaxUint32}
)

// NewSelector prepares a selection over slices of these lengths, by magnitude or
// by value.
func NewSelector(pool *kernel.Pool, lengths []int, order order) *Selector {
	s := &Selector{pool: pool, order: order}
	for i, n := range lengths {
		for lo := 0; lo < n; lo += spanSize {
			s.chunks = append(s.chunks, span{slice: i, lo: lo, hi: min(n, lo+spanSize)})
		}
		s.total += n
	}
	s.every = max(1, s.total/sampleSize)
	s.gatherTask, s.markTask = s.gather, s.mark
	return s
}

// Select sets masks to 1 at the k largest scores and to 0 elsewhere. Slices are
// those of NewSelector.
func (s *Selector) Select(scores, masks [][]float32, k int) {
	if k <= 0 {
		for _, m := range masks {
			clear(m)
		}
		return
	}
	s.scores, s.masks = scores, masks
	rest, near, ok := s.nearLast(k)
	if !ok {
		s.bracket(k)
		rest, near, ok = s.count(k)
	}
	if !ok {
		s.lo, s.hi = 0, math.MaxUint32
		rest, near, _ = s.count(k)
	}
	s.adapt(near)
	s.resolve(rest)
	s.pool.Run(len(s.chunks), s.markTask)
	s.scores, s.masks = nil, nil
}

// nearLast tries the bracket around the last threshold.
func (s *Selector) nearLast(k int) (rest, near int, ok bool) {
	if s.reach == 0 {
		return 0, 0, false
	}
	s.lo, s.hi = s.threshold-min(s.threshold, s.reach), s.threshold+min(math.MaxUint32-s.threshold, s.reach)
	rest, near, ok = s.count(k)
	if !ok {
		s.reach = min(s.reach, 1<<26) * 16
	}
	return rest, near, ok
}

// adapt keeps the number of elements in the bracket small.
func (s *Selector) adapt(near int) {
	if s.reach == 0 {
		s.reach = 1 << 18
	} else if near > s.total/32 && s.reach > 1 {
		s.reach /= 2
	}
}

// bracket guesses bounds of the k-th largest element from a sample: its rank there
// with six standard deviations to both sides.
func (s *Selector) bracket(k int) {
	s.lo, s.hi = 0, math.MaxUint32
	if s.every < 4 {
		return
	}
	s.sample = s.sample[:0]
	skip := 0
	for _, v := range s.scores {
		for ; skip < len(v); skip += s.every {
			s.sample = append(s.sample, s.order.Key(v[skip]))
		}
		skip -= len(v)
	}
	slices.Sort(s.sample)
	n := float64(len(s.sample))
	p := 1 - float64(k)/float64(s.total)
	width := 6*math.Sqrt(n*p*(1-p)) + 6
	if i := int(n*p - width); i >= 0 {
		s.lo = s.sample[i]
	}
	if i := int(n*p + width); i < len(s.sample) {
		s.hi = s.sample[i]
	}
}

// count collects the elements inside the bracket, near in number. It returns how
// many of them are among the k largest, and whether the k-th largest is one of them.
func (s *Selector) count(k int) (rest, near int, ok bool) {
	s.pool.Run(len(s.chunks), s.gatherTask)
	above := 0
	for i := range s.chunks {
		above += s.chunks[i].above
		near += len(s.chunks[i].near)
	}
	return k - above, near, above < k && k <= above+near
}

func (s *Selector) gather(i, _ int) {
	c := &s.chunks[i]
	c.near, c.above = c.near[:0], 0
	var bits [markSize / 8]uint8
	v := s.scores[c.slice][c.lo:c.hi]
	for lo := 0; lo < len(v); lo += markSize {
		part := v[lo:min(len(v), lo+markSize)]
		marks := bits[:(len(part)+7)/8]
		c.above += kernel.CountKeys(part, marks, s.order, s.lo, s.hi)
		for at, b := range marks {
			for ; b != 0; b &= b - 1 {
				c.near = append(c.near, s.order.Key(part[8*at+mathbits.TrailingZeros8(b)]))
			}
		}
	}
}

// resolve finds the threshold, the rest-th largest of the collected elements, digit
// by digit, and how many of those equal to it stay in every chunk.
func (s *Selector) resolve(rest int) {
	var counts [1 << radixBits]int
	prefix, shift := uint32(0), 32
	for _, bits := range []int{radixBits, radixBits, 32 - 2*radixBits} {
		high := shift
		shift -= bits
		clear(counts[:])
		for i := range s.chunks {
			for _, key := range s.chunks[i].near {
				if uint64(key)>>high == uint64(prefix)>>high {
					counts[key>>shift&(1<<bits-1)]++
				}
			}
		}
		digit := 1<<bits - 1
		for ; digit > 0 && rest > counts[digit]; digit-- {
			rest -= counts[digit]
		}
		prefix |= uint32(digit) << shift
	}
	s.threshold = prefix
	for i := range s.chunks {
		c := &s.chunks[i]
		c.ties = 0
		for _, key := range c.near {
			if key == prefix && rest > 0 {
				c.ties++
				rest--
			}
		}
	}
}

func (s *Selector) mark(i, _ int) {
	c, left := &s.chunks[i], s.chunks[i].ties
	m, v := s.masks[c.slice][c.lo:c.hi], s.scores[c.slice][c.lo:c.hi]
	for lo := 0; lo < len(v); lo += markSize {
		hi := min(len(v), lo+markSize)
		if kernel.MarkKeys(m[lo:hi], v[lo:hi], s.order, s.threshold) == 0 || left == 0 {
			continue
		}
		for j := lo; j < hi && left > 0; j++ {
			if s.order.Key(v[j]) == s.threshold {
				m[j] = 1
				left--
			}
		}
	}
}
