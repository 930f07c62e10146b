package prune

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Source gives access to the elements of a weight tensor piece by piece; several goroutines read it at once.
type Source interface {
	// Read fills p with the encoded elements from index first on.
	Read(p []byte, first int) error
	// Magnitudes decodes elements that Read gave to the bits of |v| in float32.
	Magnitudes(to []uint32, p []byte)
	// Pattern is the least encoded magnitude, the bits below the sign, that Magnitudes maps to key or more; the
	// sign bit alone where there is none. It is needed for elements of 2 and 4 bytes.
	Pattern(key uint32) uint32
}

// Stream is one-shot magnitude pruning, as [OMP] with single weights, of tensors that are not in memory: they are read
// once to find the threshold, sometimes more often, and once to be written. Threshold and masks are exactly those of
// OMP. It holds 32 MiB of counters and some 2 MiB per thread.
type Stream struct {
	Layers []StreamLayer
	// Excluded are the names of prunable weights that were left out.
	Excluded []string

	name      string
	pool      *kernel.Pool
	total     int
	chunks    []portion
	threshold uint32 // magnitudes above it stay
	ties      int    // and so do that many equal to it, the first ones
}

// StreamLayer is one weight tensor of a stream.
type StreamLayer struct {
	Name   string
	Nodes  []string
	Shape  []int
	Source Source
	// Len is the number of elements, Size the bytes of each in Source.
	Len, Size int
	// Nonzero is the number of elements other than zero as Select finds it, Kept that after Mask.
	Nonzero, Kept int

	sum      uint64   // of the encoded elements that stay
	table    []uint32 // of magnitudes, for elements of two bytes
	decoding *sync.Once
}

// portion is a range of elements of one layer.
type portion struct{ layer, lo, hi int }

const (
	portionSize  = 1 << 18 // elements
	sampleRun    = 1 << 8  // elements in each place of the sample
	streamBits   = 22      // logarithm of the number of counters
	streamBlocks = 1 << 12 // places where the sample is taken
	infinity     = 0xff << 23
)

// NewStream collects the prunable weights of g like [NewMasks]; open returns the elements of one.
func NewStream(g *graph.Graph, exclude []*regexp.Regexp, pool *kernel.Pool, open func(name string) (source Source, size int, err error)) (*Stream, error) {
	s := &Stream{name: g.Name, pool: pool}
	weights := g.Weights()
	for _, w := range weights {
		l := layerOf(w)
		if excluded(exclude, &l) {
			s.Excluded = append(s.Excluded, l.Name)
			continue
		}
		source, size, err := open(l.Name)
		if err != nil {
			return nil, err
		}
		n := w.Value.Init.Size()
		for lo := 0; lo < n; lo += portionSize {
			s.chunks = append(s.chunks, portion{len(s.Layers), lo, min(n, lo+portionSize)})
		}
		s.total += n
		s.Layers = append(s.Layers, StreamLayer{Name: l.Name, Nodes: l.Nodes, Shape: l.Shape, Source: source, Len: n, Size: size, decoding: new(sync.Once)})
	}
	return s, nothing(g.Name, s.total, len(weights), s.Excluded)
}

// Total is the number of elements of all layers.
func (s *Stream) Total() int { return s.total }

// Keep is how many elements stay at a ratio, as [Masks.Keep].
func (s *Stream) Keep(ratio float64) int { return keep(ratio, s.total) }

// Select finds the threshold at which k elements stay, 0 < k, and counts Nonzero. A NaN is an error. progress, if not
// nil, is called with the elements done and all of the pass.
func (s *Stream) Select(k int, progress func(done, total int)) error {
	lo, hi, err := s.bracket(k)
	if err != nil {
		return err
	}
	counters := make([]atomic.Uint64, 1<<streamBits)
	for first := true; ; first = false {
		shift := 0
		for (hi-lo)>>shift >= 1<<streamBits {
			shift++
		}
		clear(counters)
		above, err := s.count(lo, hi, shift, counters, first, progress)
		if err != nil {
			return err
		}
		rest, at := k-above, int(hi-lo)>>shift
		if rest <= 0 {
			lo, hi = hi+1, math.MaxInt32
			continue
		}
		for ; at >= 0 && rest > int(counters[at].Load()); at-- {
			rest -= int(counters[at].Load())
		}
		switch {
		case at < 0:
			lo, hi = 0, lo-1
		case shift > 0:
			lo += uint32(at) << shift
			hi = min(hi, lo+(1<<shift-1))
		default:
			s.threshold, s.ties = lo+uint32(at), rest
			for i := range s.Layers {
				s.Layers[i].Kept = s.Layers[i].Nonzero // until Mask
			}
			return nil
		}
	}
}

// bracket guesses bounds of the k-th largest magnitude from a sample, as [Selector] does. Neighbours resemble each
// other, so that the sample counts for an eighth of its elements.
func (s *Stream) bracket(k int) (lo, hi uint32, err error) {
	lo, hi = 0, math.MaxInt32
	every := s.total / streamBlocks
	if every < 16*sampleRun {
		return lo, hi, nil
	}
	var sample []uint32
	skip := 0
	keys := make([]uint32, sampleRun)
	for i := range s.Layers {
		l := &s.Layers[i]
		for ; skip < l.Len; skip += every {
			part := keys[:min(len(keys), l.Len-skip)]
			p := make([]byte, len(part)*l.Size)
			if err := l.Source.Read(p, skip); err != nil {
				return 0, 0, err
			}
			l.Source.Magnitudes(part, p)
			sample = append(sample, part...)
		}
		skip -= l.Len
	}
	slices.Sort(sample)
	n := float64(len(sample))
	p := 1 - float64(k)/float64(s.total)
	width := 6*math.Sqrt(8*n*p*(1-p)) + 48
	if i := int(n*p - width); i >= 0 {
		lo = sample[i]
	}
	if i := int(n*p + width); i < len(sample) {
		hi = sample[i]
	}
	return lo, hi, nil
}

// count reads all elements and counts magnitudes above hi, and in the counters those from lo to hi.
func (s *Stream) count(lo, hi uint32, shift int, counters []atomic.Uint64, first bool, progress func(done, total int)) (int, error) {
	above, nonzero := make([]int, len(s.chunks)), make([]int, len(s.chunks))
	near := func(key uint32) { counters[(key-lo)>>shift].Add(1) }
	err := s.each(progress, func(i int, l *StreamLayer, p []byte, err error) error {
		if err != nil {
			return err
		}
		nan := 0
		nonzero[i], above[i], nan = l.count(p, lo, hi, near)
		if nan > 0 {
			return errNaN(s.name, l.Name, s.chunks[i].lo+l.firstNaN(p))
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	all := 0
	for i, n := range above {
		all += n
		if first {
			s.Layers[s.chunks[i].layer].Nonzero += nonzero[i]
		}
	}
	return all, nil
}

// each calls f for all portions, in parallel, with the encoded elements, filled up with zeros to whole words, or the
// error of reading them. Of several errors that of the first portion is returned.
func (s *Stream) each(progress func(done, total int), f func(i int, l *StreamLayer, p []byte, err error) error) error {
	buffers := make([][]byte, s.pool.Threads())
	var mu sync.Mutex
	failed, done := len(s.chunks), 0
	var err error
	s.pool.Run(len(s.chunks), func(i, worker int) {
		c := s.chunks[i]
		l := &s.Layers[c.layer]
		n := (c.hi - c.lo) * l.Size
		words := (n + 7) &^ 7
		if len(buffers[worker]) < words {
			buffers[worker] = make([]byte, words)
		}
		p := buffers[worker][:words]
		clear(p[n:])
		e := l.Source.Read(p[:n], c.lo)
		e = f(i, l, p, e)
		mu.Lock()
		defer mu.Unlock()
		done += c.hi - c.lo
		if e != nil && i < failed {
			failed, err = i, e
		}
		if progress != nil {
			progress(done, s.total)
		}
	})
	return err
}

// Mask hands all layers to put, encoded, with the elements that go as zeros and all bits of the others as they were.
// Every call has a range of its own; they come from several goroutines. It counts Kept.
func (s *Stream) Mask(put func(layer int, p []byte, first int) error, progress func(done, total int)) error {
	var mu sync.Mutex
	turn := sync.NewCond(&mu)
	next, left := 0, s.ties // the portions before next have taken their ties
	for i := range s.Layers {
		s.Layers[i].Kept, s.Layers[i].sum = 0, 0
	}
	return s.each(progress, func(i int, l *StreamLayer, p []byte, err error) error {
		n := s.chunks[i].hi - s.chunks[i].lo
		c := contents{}
		if err == nil {
			c = l.mask(p, n, s.threshold)
		}
		mu.Lock()
		for next != i { // portions are begun in order, so that the one before is under way
			turn.Wait()
		}
		quota := min(left, c.ties)
		left -= quota
		next++
		turn.Broadcast()
		mu.Unlock()
		if err != nil {
			return err
		}
		if c.ties > quota {
			l.dropTies(p, s.threshold, quota)
			c = l.contents(p, s.threshold)
		}
		mu.Lock()
		l.Kept += c.nonzero
		l.sum += c.sum
		mu.Unlock()
		return put(s.chunks[i].layer, p[:n*l.Size], s.chunks[i].lo)
	})
}

// Check reads the layers again, from where open finds them after Mask, and verifies that exactly Kept elements are
// other than zero, all of them at or above the threshold, and that what stays has the bits it had.
func (s *Stream) Check(open func(name string) (Source, error)) error {
	again := *s
	again.Layers = slices.Clone(s.Layers)
	for i := range again.Layers {
		var err error
		if again.Layers[i].Source, err = open(again.Layers[i].Name); err != nil {
			return err
		}
	}
	found := make([]contents, len(s.Layers))
	var mu sync.Mutex
	err := again.each(nil, func(i int, l *StreamLayer, p []byte, err error) error {
		if err != nil {
			return err
		}
		c := l.contents(p, s.threshold)
		mu.Lock()
		defer mu.Unlock()
		f := &found[s.chunks[i].layer]
		f.nonzero, f.kept, f.sum = f.nonzero+c.nonzero, f.kept+c.kept, f.sum+c.sum
		return nil
	})
	if err != nil {
		return err
	}
	for i, l := range s.Layers {
		switch f := found[i]; {
		case f.nonzero != l.Kept:
			return fmt.Errorf("initializer %q: %d elements are not zero, %d were kept", l.Name, f.nonzero, l.Kept)
		case s.threshold > 0 && f.kept != f.nonzero:
			return fmt.Errorf("initializer %q: %d elements are not zero, and below the threshold", l.Name, f.nonzero-f.kept)
		case f.sum != l.sum:
			return fmt.Errorf("initializer %q: elements that were kept have changed", l.Name)
		}
	}
	return nil
}
