package kernel

import (
	"fmt"
	"runtime"
	"sync/atomic"
)

// Pool is a fixed set of workers that share out numbered tasks.
//
// The goroutine that calls Run works as worker 0; a pool of t threads keeps
// t-1 goroutines of its own. Tasks are handed out in increasing order as
// workers become free, so a task must not depend on which worker runs it.
type Pool struct {
	threads int
	wake    []chan struct{}
	busy    atomic.Bool
	epoch   atomic.Uint32
	closed  atomic.Bool
	asleep  []atomic.Bool
	done    chan struct{}
	waiting atomic.Bool

	// now is the present run, or the last. Workers that come late, having been off their
	// processors, may still look at earlier ones, whose tasks are all taken.
	now  atomic.Pointer[run]
	runs []*run

	buffers [][]float32 // one for each worker
}

// run is a call of Pool.Run. It ends when its tasks have ended, whether or not all workers have
// seen it: on a busy machine a worker may get no processor for longer than all tasks take.
type run struct {
	f      func(task, worker int)
	n      int64
	next   atomic.Int64
	ended  atomic.Int64
	failed atomic.Pointer[taskPanic]
	// holders are workers that look at it. It is written only while it has none and is not
	// the pool's present one.
	holders atomic.Int32
}

type taskPanic struct{ value any }

// An idle worker polls for spinRounds, then for yieldRounds more in which it lets
// others have the processor, and sleeps: after some tenths of a millisecond,
// which bridges what runs on one thread between two kernels. Waking a sleeping
// thread takes as long as a small layer.
const (
	spinRounds  = 20000
	yieldRounds = 1000
)

// keepPolling passes the time of round i; false means that it is time to sleep.
func keepPolling(i int) bool {
	if i >= spinRounds {
		if i >= spinRounds+yieldRounds {
			return false
		}
		yield()
	}
	return true
}

// NewPool starts a pool of the given number of threads; values below 1 mean
// runtime.GOMAXPROCS(0).
func NewPool(threads int) *Pool {
	if threads < 1 {
		threads = runtime.GOMAXPROCS(0)
	}
	p := newPool(threads)
	for w := 1; w < threads; w++ {
		go p.work(w)
	}
	return p
}

// newPool is a pool whose workers are not there yet.
func newPool(threads int) *Pool {
	p := &Pool{
		threads: threads,
		wake:    make([]chan struct{}, threads),
		asleep:  make([]atomic.Bool, threads),
		done:    make(chan struct{}, 1),
		buffers: make([][]float32, threads),
	}
	for w := 1; w < threads; w++ {
		p.wake[w] = make(chan struct{}, 1)
	}
	return p
}

// Threads returns the number of workers, the caller of Run included.
func (p *Pool) Threads() int { return p.threads }

// Close ends the workers. The pool must be idle and must not be used again.
func (p *Pool) Close() {
	if p.closed.Swap(true) {
		return
	}
	p.epoch.Add(1)
	for w := 1; w < p.threads; w++ {
		p.rouse(w)
	}
}

// Run calls f(task, worker) once for every task in [0,n) and returns when all
// calls have returned. worker is in [0,Threads()) and no two calls that run at
// the same time share it. A panic in a task is raised again here.
//
// A Run that starts while another is in progress on the same pool (from inside
// a task, say) is executed by its caller alone, with worker -1.
func (p *Pool) Run(n int, f func(task, worker int)) {
	if n <= 0 {
		return
	}
	if !p.busy.CompareAndSwap(false, true) {
		for t := 0; t < n; t++ {
			f(t, -1)
		}
		return
	}
	if n == 1 || p.threads == 1 {
		defer p.busy.Store(false)
		for t := 0; t < n; t++ {
			f(t, 0)
		}
		return
	}
	if p.closed.Load() {
		panic("kernel: run on a closed pool")
	}
	r := p.free()
	r.f, r.n = f, int64(n)
	r.next.Store(0)
	r.ended.Store(0)
	r.failed.Store(nil)
	p.now.Store(r)
	p.epoch.Add(1)
	for w := 1; w < p.threads; w++ {
		p.rouse(w)
	}
	r.drain(0)
	for i := 0; r.ended.Load() != r.n; i++ {
		if keepPolling(i) {
			continue
		}
		p.waiting.Store(true)
		if r.ended.Load() != r.n || !p.waiting.CompareAndSwap(true, false) {
			<-p.done
		}
		// It may have been a worker of the run before, on its way from ended to waiting.
		i = 0
	}
	failed := r.failed.Load()
	r.f = nil
	p.busy.Store(false)
	if failed != nil {
		panic(failed.value)
	}
}

// free is a run that nobody holds.
func (p *Pool) free() *run {
	now := p.now.Load()
	for _, r := range p.runs {
		if r != now && r.holders.Load() == 0 {
			return r
		}
	}
	r := &run{}
	p.runs = append(p.runs, r)
	return r
}

// scratch returns n floats that are the worker's own until its task ends.
func (p *Pool) scratch(worker, n int) []float32 {
	if worker < 0 {
		return make([]float32, n)
	}
	if len(p.buffers[worker]) < n {
		p.buffers[worker] = make([]float32, max(n, 64<<10))
	}
	return p.buffers[worker][:n]
}

func (p *Pool) rouse(w int) {
	if p.asleep[w].CompareAndSwap(true, false) {
		p.wake[w] <- struct{}{}
	}
}

func (p *Pool) work(w int) {
	seen := uint32(0)
	for {
		for i := 0; p.epoch.Load() == seen; i++ {
			if keepPolling(i) {
				continue
			}
			p.asleep[w].Store(true)
			if p.epoch.Load() == seen || !p.asleep[w].CompareAndSwap(true, false) {
				<-p.wake[w]
			}
			i = 0
		}
		seen = p.epoch.Load()
		if p.closed.Load() {
			return
		}
		r := p.now.Load()
		r.holders.Add(1)
		// A run that is no longer the present one may be about to become another.
		if p.now.Load() == r && r.drain(w) {
			p.wakeCaller()
		}
		r.holders.Add(-1)
	}
}

// wakeCaller ends the sleep of Run, where it sleeps.
func (p *Pool) wakeCaller() {
	if p.waiting.CompareAndSwap(true, false) {
		p.done <- struct{}{}
	}
}

// drain takes tasks as long as there are any, and reports whether the last of all has
// ended with one of them.
func (r *run) drain(w int) (last bool) {
	ended := int64(0)
	defer func() {
		if v := recover(); v != nil {
			if w != 0 {
				buf := make([]byte, 8<<10)
				v = fmt.Sprintf("%v\nin worker %d:\n%s", v, w, buf[:runtime.Stack(buf, false)])
			}
			r.failed.CompareAndSwap(nil, &taskPanic{v})
			// With the one that failed, those that nobody has taken and nobody will.
			ended += 1 + max(0, r.n-r.next.Swap(r.n))
		}
		last = ended > 0 && r.ended.Add(ended) == r.n
	}()
	for {
		t := r.next.Add(1) - 1
		if t >= r.n {
			return
		}
		r.f(int(t), w)
		ended++
	}
}
