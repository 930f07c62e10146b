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

	// The current run. Written by Run before epoch advances.
	f       func(task, worker int)
	n       int64
	next    atomic.Int64
	pending atomic.Int32
	failed  atomic.Pointer[taskPanic]
	asleep  []atomic.Bool
	done    chan struct{}
	waiting atomic.Bool

	buffers [][]float32 // one for each worker
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
	p := &Pool{
		threads: threads,
		wake:    make([]chan struct{}, threads),
		asleep:  make([]atomic.Bool, threads),
		done:    make(chan struct{}, 1),
		buffers: make([][]float32, threads),
	}
	for w := 1; w < threads; w++ {
		p.wake[w] = make(chan struct{}, 1)
		go p.work(w)
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
	p.f, p.n = f, int64(n)
	p.next.Store(0)
	p.failed.Store(nil)
	p.pending.Store(int32(p.threads - 1))
	p.epoch.Add(1)
	for w := 1; w < p.threads; w++ {
		p.rouse(w)
	}
	p.drain(0)
	for i := 0; p.pending.Load() != 0; i++ {
		if keepPolling(i) {
			continue
		}
		p.waiting.Store(true)
		if p.pending.Load() != 0 || !p.waiting.CompareAndSwap(true, false) {
			<-p.done
		}
		// It may have been a worker of the run before, on its way from pending to waiting.
		i = 0
	}
	p.f = nil
	failed := p.failed.Load()
	p.busy.Store(false)
	if failed != nil {
		panic(failed.value)
	}
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
		p.drain(w)
		if p.pending.Add(-1) == 0 {
			p.wakeCaller()
		}
	}
}

// wakeCaller ends the sleep of Run, where it sleeps.
func (p *Pool) wakeCaller() {
	if p.waiting.CompareAndSwap(true, false) {
		p.done <- struct{}{}
	}
}

func (p *Pool) drain(w int) {
	defer func() {
		if r := recover(); r != nil {
			if w != 0 {
				buf := make([]byte, 8<<10)
				r = fmt.Sprintf("%v\nin worker %d:\n%s", r, w, buf[:runtime.Stack(buf, false)])
			}
			p.failed.CompareAndSwap(nil, &taskPanic{r})
			p.next.Store(p.n)
		}
	}()
	f, n := p.f, p.n
	for {
		t := p.next.Add(1) - 1
		if t >= n {
			return
		}
		f(int(t), w)
	}
}
