package prune

import (
	"github.com/onnxprune/onnxprune/internal/kernel"
)

// projection moves masks, one per layer, to the best place that a structure allows
// for scores, of which the largest stay. Of equal scores those that come first stay.
type projection interface {
	project(scores, masks [][]float32)
	// aim sets how many elements stay from now on; N:M has its own number.
	aim(keep int)
}

// projection returns that of a structure which removes the fraction ratio of the
// masked weights (N:M has its own), with scores in the given order.
func (m *Masks) projection(s Structure, ratio float64, pool *kernel.Pool, order order) projection {
	switch s.Kind {
	case KindNM:
		return newPattern(m, s.N, s.M, pool, order)
	case KindBlock:
		return newBlocks(m, s.Rows, s.Columns, m.Keep(ratio), pool, order)
	}
	return &topK{m.selector(pool, order), m.Keep(ratio)}
}

// topK keeps the k best of all weights together.
type topK struct {
	selector *Selector
	keep     int
}

func (t *topK) project(scores, masks [][]float32) { t.selector.Select(scores, masks, t.keep) }

func (t *topK) aim(keep int) { t.keep = keep }

// pattern keeps n of every m neighbours along the input axis of a weight, per tap. The
// last group of an axis that m does not divide counts as filled up with zeros: it keeps
// up to n.
type pattern struct {
	n, m   int
	layers []Layer
	pool   *kernel.Pool
	order  order
}

func newPattern(ms *Masks, n, m int, pool *kernel.Pool, order order) *pattern {
	return &pattern{n: n, m: m, layers: ms.Layers, pool: pool, order: order}
}

func (p *pattern) aim(int) {}

func (p *pattern) project(scores, masks [][]float32) {
	for i := range p.layers {
		l := &p.layers[i]
		length, inner := l.Shape[l.In], 1
		for _, d := range l.Shape[l.In+1:] {
			inner *= d
		}
		block := length * inner
		if block == 0 {
			continue
		}
		per := max(1, (1<<14)/block)
		outer := len(scores[i]) / block
		p.pool.Run((outer+per-1)/per, func(task, _ int) {
			best := make([]int, p.n)
			for o := task * per; o < min(outer, (task+1)*per); o++ {
				s, m := scores[i][o*block:(o+1)*block], masks[i][o*block:(o+1)*block]
				for c := range inner {
					for lo := 0; lo < length; lo += p.m {
						p.group(s[lo*inner+c:], m[lo*inner+c:], min(p.m, length-lo), inner, best)
					}
				}
			}
		})
	}
}

// group selects among size elements that lie stride apart.
func (p *pattern) group(s, m []float32, size, stride int, best []int) {
	if size <= p.n {
		for k := range size {
			m[k*stride] = 1
		}
		return
	}
	best = best[:0]
	for k := range size {
		m[k*stride] = 0
		key := p.order.Key(s[k*stride])
		at := len(best)
		for at > 0 && key > p.order.Key(s[best[at-1]*stride]) {
			at--
		}
		if at == p.n {
			continue
		}
		if len(best) < p.n {
			best = append(best, 0)
		}
		copy(best[at+1:], best[at:len(best)-1])
		best[at] = k
	}
	for _, k := range best {
		m[k*stride] = 1
	}
}

// blocks keeps the best blocks of rows outputs by columns inputs over all weights
// together. A weight is a matrix of its outputs times all its other axes in file
// order; blocks at its edges are smaller. The score of a block is the mean over its
// elements.
type blocks struct {
	rows, columns int
	keep          int // elements, reached as nearly as blocks allow
	layers        []Layer
	pool          *kernel.Pool
	order         order
	means, sums   []float32
	sizes         []int
	marks         []float32
	selector      *Selector
}

func (b *blocks) aim(keep int) { b.keep = keep }

func newBlocks(ms *Masks, rows, columns, keep int, pool *kernel.Pool, order order) *blocks {
	b := &blocks{rows: rows, columns: columns, keep: keep, layers: ms.Layers, pool: pool, order: order}
	for i := range b.layers {
		b.each(&b.layers[i], func(outs, ins [2]int) { b.sizes = append(b.sizes, (outs[1]-outs[0])*(ins[1]-ins[0])) })
	}
	b.means, b.marks = make([]float32, len(b.sizes)), make([]float32, len(b.sizes))
	b.selector = NewSelector(pool, []int{len(b.sizes)}, value)
	return b
}

// each visits the blocks of a layer: its outputs and matrix columns from [0] to [1].
func (b *blocks) each(l *Layer, f func(outs, ins [2]int)) {
	o := l.Shape[l.Out]
	if o == 0 {
		return
	}
	width := len(l.Mask) / o
	for r := 0; r < o; r += b.rows {
		for c := 0; c < width; c += b.columns {
			f([2]int{r, min(o, r+b.rows)}, [2]int{c, min(width, c+b.columns)})
		}
	}
}

// elements visits the positions of a block in its tensor.
func elements(l *Layer, outs, ins [2]int, f func(at int)) {
	inner := 1
	for _, d := range l.Shape[l.Out+1:] {
		inner *= d
	}
	o := l.Shape[l.Out]
	for r := outs[0]; r < outs[1]; r++ {
		for c := ins[0]; c < ins[1]; c++ {
			f((c/inner*o+r)*inner + c%inner)
		}
	}
}

func (b *blocks) project(scores, masks [][]float32) {
	n := 0
	for i := range b.layers {
		l := &b.layers[i]
		b.each(l, func(outs, ins [2]int) {
			sum := 0.0
			elements(l, outs, ins, func(at int) {
				v := float64(scores[i][at])
				if b.order == magnitude {
					v = max(v, -v)
				}
				sum += v
			})
			b.means[n] = float32(sum / float64(b.sizes[n]))
			n++
		})
	}
	b.choose()
	n = 0
	for i := range b.layers {
		l := &b.layers[i]
		b.each(l, func(outs, ins [2]int) {
			elements(l, outs, ins, func(at int) { masks[i][at] = b.marks[n] })
			n++
		})
	}
}

// choose marks the best blocks so that the kept elements come nearest to keep.
func (b *blocks) choose() {
	lo, hi := 0, len(b.sizes)
	kept := func(k int) int {
		b.selector.Select([][]float32{b.means}, [][]float32{b.marks}, k)
		n := 0
		for i, m := range b.marks {
			if m != 0 {
				n += b.sizes[i]
			}
		}
		return n
	}
	for lo < hi {
		mid := (lo + hi) / 2
		if kept(mid) < b.keep {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if above := kept(lo); lo > 0 {
		if below := kept(lo - 1); above-b.keep < b.keep-below {
			kept(lo)
		}
	}
}
