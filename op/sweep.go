package op

import (
	"sync"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// sweepJob is a vector function on its way over equally long slices. Jobs are kept
// for reuse, so that a sweep allocates nothing.
type sweepJob struct {
	f          func(a, b, c, d []float32)
	a, b, c, d []float32
	n          int
	task       func(task, worker int)
}

var sweepJobs = sync.Pool{New: func() any {
	j := &sweepJob{}
	j.task = j.run
	return j
}}

// sweep calls f on pieces of up to four slices of n elements, or nil, spread over
// threads. f must not be a closure made for the call, which would be allocated.
func (c *Context) sweep(n int, f func(a, b, c, d []float32), s0, s1, s2, s3 []float32) {
	if n == 0 {
		return
	}
	j := sweepJobs.Get().(*sweepJob)
	j.f, j.a, j.b, j.c, j.d, j.n = f, s0, s1, s2, s3, n
	c.pool().Run((n+grain-1)/grain, j.task)
	j.f, j.a, j.b, j.c, j.d = nil, nil, nil, nil, nil
	sweepJobs.Put(j)
}

func (j *sweepJob) run(task, _ int) {
	lo := task * grain
	hi := min(j.n, lo+grain)
	part := func(s []float32) []float32 {
		if s == nil {
			return nil
		}
		return s[lo:hi]
	}
	j.f(part(j.a), part(j.b), part(j.c), part(j.d))
}

// AddTo adds src to dst, which has the same shape and layout.
func AddTo(c *Context, dst, src *Tensor) { c.sweep(len(dst.F), addVector, dst.F, src.F, nil, nil) }

func addVector(dst, src, _, _ []float32) { kernel.Add(dst, dst, src) }

func copyVector(dst, src, _, _ []float32) { copy(dst, src) }

// aligned reports whether two tensors have their elements in the same places.
func aligned(a, b *Tensor) bool {
	return EqualShape(a.Shape, b.Shape) && SameOrder(a.Shape, a.Layout, b.Layout)
}
