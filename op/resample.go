package op

import "github.com/onnxprune/onnxprune/internal/kernel"

// tap is an element of the source with its weight.
type tap struct {
	at     int
	weight float32
}

// axisTaps lists, for every position of a target axis, the positions of the
// source axis that it is a weighted sum of. nil stands for the identity.
type axisTaps [][]tap

// resample computes y = (⊗ A_a)·x for a sparse matrix A_a per axis a, in any
// layout that x and y share. Its transpose is the gradient.
type resample struct {
	axes []axisTaps
	// outside marks, per axis, target positions that get fill instead; nil if none.
	outside [][]bool
	fill    float32

	// Of the pass prepared for: axes from outermost to innermost in memory.
	order  []int
	shape  []int // of y
	xs, ys []int // strides
	line   func(lo, hi int)
	x, y   []float32
	xi, yi []int64
	add    bool
}

// transposed returns the resampling of gradients; source is the shape of x.
func (s *resample) transposed(source []int) *resample {
	t := &resample{axes: make([]axisTaps, len(s.axes))}
	for a, taps := range s.axes {
		if taps == nil {
			continue
		}
		back := make(axisTaps, source[a])
		for o, ts := range taps {
			for _, p := range ts {
				back[p.at] = append(back[p.at], tap{o, p.weight})
			}
		}
		t.axes[a] = back
	}
	return t
}

// prepare fixes shapes and layout for run.
func (s *resample) prepare(x, y *Tensor) {
	r := y.Rank()
	s.order = make([]int, r)
	for i := range s.order {
		s.order[i] = i
	}
	if y.Layout == ChannelsLast && r >= 3 {
		s.order = append(append(append(s.order[:0], 0), upTo(2, r)...), 1)
	}
	s.shape, s.xs, s.ys = y.Shape, x.Strides(), y.Strides()
	s.line = s.lines
}

func upTo(lo, hi int) []int {
	var v []int
	for i := lo; i < hi; i++ {
		v = append(v, i)
	}
	return v
}

// run computes y from x, or adds to y.
func (s *resample) run(c *Context, x, y *Tensor, add bool) {
	if y.Size() == 0 {
		return
	}
	s.x, s.y, s.xi, s.yi, s.add = x.F, y.F, x.I, y.I, add
	r := len(s.order)
	rows, n := 1, 1
	for i, a := range s.order {
		if i == r-1 {
			n = s.shape[a]
		} else {
			rows *= s.shape[a]
		}
	}
	c.Parallel(rows, 4*n, s.line)
	s.x, s.y, s.xi, s.yi = nil, nil, nil, nil
}

// lines computes the lines [lo,hi) of y along its innermost axis.
func (s *resample) lines(lo, hi int) {
	r := len(s.order)
	if r == 0 {
		s.point(0, 1)
		return
	}
	n := s.shape[s.order[r-1]]
	for l := lo; l < hi; l++ {
		yo := l * n
		if s.outside != nil && s.isOutside(l) {
			kernel.Fill(s.y[yo:][:n], s.fill)
			continue
		}
		if s.gather(l, r-2, yo, 0, 1, !s.add) && s.y != nil {
			clear(s.y[yo:][:n])
		}
	}
}

// isOutside reports whether an outer axis lies outside at line l.
func (s *resample) isOutside(l int) bool {
	for i := len(s.order) - 2; i >= 0; i-- {
		a := s.order[i]
		if o := s.outside[a]; o != nil && o[l%s.shape[a]] {
			return true
		}
		l /= s.shape[a]
	}
	return false
}

// gather walks the taps of the outer axes i, i−1, … of a line; l is the rest of
// its number, xo the offset in x and w the weight so far. fresh says that nothing
// is in the line yet, before and after.
func (s *resample) gather(l, i, yo, xo int, w float32, fresh bool) bool {
	if i < 0 {
		s.inner(yo, xo, w, fresh)
		return false
	}
	a := s.order[i]
	at := l % s.shape[a]
	l /= s.shape[a]
	if s.axes[a] == nil {
		return s.gather(l, i-1, yo, xo+at*s.xs[a], w, fresh)
	}
	for _, t := range s.axes[a][at] {
		fresh = s.gather(l, i-1, yo, xo+t.at*s.xs[a], w*t.weight, fresh)
	}
	return fresh
}

// point adds x[xo] to the only element of a scalar.
func (s *resample) point(xo int, w float32) {
	switch {
	case s.y == nil:
		s.yi[0] = s.xi[xo]
	case s.add:
		s.y[0] += w * s.x[xo]
	default:
		s.y[0] = w * s.x[xo]
	}
}

// inner adds the weighted line of x at xo to that of y at yo, or writes it if the
// line is fresh. Along the innermost axis both are contiguous.
func (s *resample) inner(yo, xo int, w float32, fresh bool) {
	a := s.order[len(s.order)-1]
	n, taps := s.shape[a], s.axes[a]
	switch {
	case s.y == nil && taps == nil:
		copy(s.yi[yo:][:n], s.xi[xo:])
	case s.y == nil:
		for i, ts := range taps {
			s.yi[yo+i] = s.xi[xo+ts[0].at]
		}
	case taps == nil && fresh && w == 1:
		copy(s.y[yo:][:n], s.x[xo:])
	case taps == nil && fresh:
		kernel.Scale(s.y[yo:][:n], s.x[xo:][:n], w)
	case taps == nil:
		kernel.Axpy(s.y[yo:][:n], s.x[xo:][:n], w)
	default:
		y, x := s.y[yo:][:n], s.x[xo:]
		for i, ts := range taps {
			if s.outside != nil && s.outside[a] != nil && s.outside[a][i] {
				y[i] = s.fill
				continue
			}
			sum := float32(0)
			for _, t := range ts {
				sum += t.weight * x[t.at]
			}
			if fresh {
				y[i] = w * sum
			} else {
				y[i] += w * sum
			}
		}
	}
}
