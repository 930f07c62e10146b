package op

import (
	"sort"
	"sync"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// grain is the number of elements that one parallel task covers. It is fixed,
// so that results do not depend on the number of threads.
const grain = 1 << 14

// Parallel calls f for consecutive ranges [lo,hi) that cover [0,n). The ranges
// depend on n and cost (elements of work per unit) only.
func (c *Context) Parallel(n, cost int, f func(lo, hi int)) {
	if n <= 0 {
		return
	}
	step := max(1, grain/max(1, cost))
	tasks := (n + step - 1) / step
	if tasks == 1 || c == nil || c.Pool == nil {
		f(0, n)
		return
	}
	j := rangeJobs.Get().(*rangeJob)
	j.f, j.n, j.step = f, n, step
	c.Pool.Run(tasks, j.task)
	j.f = nil
	rangeJobs.Put(j)
}

// rangeJob is a call of Parallel in progress.
type rangeJob struct {
	f       func(lo, hi int)
	n, step int
	task    func(task, worker int)
}

var rangeJobs = sync.Pool{New: func() any {
	j := &rangeJob{}
	j.task = func(task, _ int) {
		lo := task * j.step
		j.f(lo, min(j.n, lo+j.step))
	}
	return j
}}

// offsets are element offsets, or strides, of up to five operands.
type offsets [5]int

// walk visits a shape for several strided operands at once. Axes are ordered
// by the strides of operand 0 and merged where every operand allows it.
type walk struct {
	dims []int
	str  []offsets
}

func newWalk(shape []int, strides ...[]int) *walk {
	type axis struct {
		n int
		s offsets
	}
	var ax []axis
	for i, n := range shape {
		if n == 1 {
			continue
		}
		a := axis{n: n}
		for k, s := range strides {
			a.s[k] = s[i]
		}
		ax = append(ax, a)
	}
	sort.SliceStable(ax, func(i, j int) bool { return ax[i].s[0] > ax[j].s[0] })
	w := &walk{}
	for _, a := range ax {
		if last := len(w.dims) - 1; last >= 0 {
			ok := true
			for k := range strides {
				ok = ok && w.str[last][k] == a.s[k]*a.n
			}
			if ok {
				w.dims[last] *= a.n
				w.str[last] = a.s
				continue
			}
		}
		w.dims = append(w.dims, a.n)
		w.str = append(w.str, a.s)
	}
	if len(w.dims) == 0 {
		w.dims, w.str = []int{1}, []offsets{{}}
	}
	return w
}

// rows calls f for runs of n elements along the innermost merged axis, whose
// strides are s; o are the offsets of the first element. With a context the
// runs are spread over threads: then no two runs may write the same element.
func (w *walk) rows(c *Context, f func(o offsets, n int, s offsets)) {
	last := len(w.dims) - 1
	n, s := w.dims[last], w.str[last]
	outer := Size(w.dims[:last])
	if n*outer == 0 {
		return
	}
	if outer == 1 {
		c.Parallel(n, 1, func(lo, hi int) {
			var o offsets
			for k := range o {
				o[k] = lo * s[k]
			}
			f(o, hi-lo, s)
		})
		return
	}
	c.Parallel(outer, n, func(lo, hi int) {
		idx := make([]int, last)
		var o offsets
		for r, i := lo, last-1; i >= 0; i-- {
			idx[i] = r % w.dims[i]
			r /= w.dims[i]
			for k := range o {
				o[k] += idx[i] * w.str[i][k]
			}
		}
		for r := lo; r < hi; r++ {
			f(o, n, s)
			for i := last - 1; i >= 0; i-- {
				idx[i]++
				for k := range o {
					o[k] += w.str[i][k]
				}
				if idx[i] < w.dims[i] {
					break
				}
				for k := range o {
					o[k] -= w.dims[i] * w.str[i][k]
				}
				idx[i] = 0
			}
		}
	})
}

// spread returns the strides of t for a broadcast to shape: axes of length 1,
// and axes that t lacks, have stride 0.
func spread(t *Tensor, shape []int) []int {
	s := make([]int, len(shape))
	own := t.Strides()
	d := len(shape) - len(t.Shape)
	for i := range own {
		if t.Shape[i] != 1 {
			s[i+d] = own[i]
		}
	}
	return s
}

// move copies elements between two strided views of the same shape; strides
// may be negative.
func move[T any](c *Context, shape []int, dst []T, dstOff int, dstStr []int, src []T, srcOff int, srcStr []int) {
	newWalk(shape, dstStr, srcStr).rows(c, func(o offsets, n int, s offsets) {
		d, x := dstOff+o[0], srcOff+o[1]
		if s[0] == 1 && s[1] == 1 {
			copy(dst[d:d+n], src[x:x+n])
			return
		}
		for i := 0; i < n; i++ {
			dst[d+i*s[0]] = src[x+i*s[1]]
		}
	})
}

// moveAdd adds a strided view of src into a strided view of dst.
func moveAdd(c *Context, shape []int, dst []float32, dstOff int, dstStr []int, src []float32, srcOff int, srcStr []int) {
	newWalk(shape, dstStr, srcStr).rows(c, func(o offsets, n int, s offsets) {
		d, x := dstOff+o[0], srcOff+o[1]
		for i := 0; i < n; i++ {
			dst[d+i*s[0]] += src[x+i*s[1]]
		}
	})
}

// Relayout copies src into dst, which has the same shape and any layout.
func Relayout(c *Context, dst, src *Tensor) {
	if s := src.Shape; src.F != nil && len(s) >= 3 && len(src.F) > 0 {
		n, ch, inner := s[0], s[1], Size(s[2:])
		switch {
		case src.Layout == RowMajor && dst.Layout == ChannelsLast:
			kernel.NCHWToNHWC(c.pool(), dst.F, src.F, n, ch, inner)
			return
		case src.Layout == ChannelsLast && dst.Layout == RowMajor:
			kernel.NHWCToNCHW(c.pool(), dst.F, src.F, n, ch, inner)
			return
		}
	}
	if src.F != nil {
		move(c, src.Shape, dst.F, 0, dst.Strides(), src.F, 0, src.Strides())
	} else {
		move(c, src.Shape, dst.I, 0, dst.Strides(), src.I, 0, src.Strides())
	}
}
