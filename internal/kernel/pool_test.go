package kernel

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestPoolLateWorker: the last worker of a run was taken off its processor before it looked
// whether the caller sleeps, and looks when the caller sleeps in the next run. That one must go on
// sleeping until its own tasks have ended.
func TestPoolLateWorker(t *testing.T) {
	p := NewPool(3)
	defer p.Close()
	release, ended := make(chan struct{}), make(chan struct{})
	var done atomic.Int32
	var all sync.WaitGroup
	all.Add(3)
	go func() {
		p.Run(3, func(_, worker int) {
			all.Done()
			all.Wait() // a task for each worker
			if worker != 0 {
				<-release
			}
			done.Add(1)
		})
		close(ended)
	}()
	early := func() bool {
		select {
		case <-ended:
			return true
		case <-time.After(time.Millisecond):
			return false
		}
	}
	for range 3 {
		for !p.waiting.Load() {
			if early() {
				t.Fatalf("the run ended with %d of 3 tasks done", done.Load())
			}
		}
		p.wakeCaller()
	}
	close(release)
	<-ended
	if n := done.Load(); n != 3 {
		t.Errorf("%d of 3 tasks done", n)
	}
}

// TestPoolAbsentWorkers: workers that get no processor hold nothing up, and take part when they come.
func TestPoolAbsentWorkers(t *testing.T) {
	p := newPool(3)
	defer p.Close()
	var tasks atomic.Int32
	ended := make(chan struct{})
	go func() {
		for range 5 {
			p.Run(7, func(_, worker int) {
				if worker != 0 {
					t.Errorf("worker %d was never started", worker)
				}
				tasks.Add(1)
			})
		}
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatalf("the runs wait, with %d of 35 tasks done", tasks.Load())
	}
	if n := tasks.Load(); n != 35 {
		t.Errorf("%d of 35 tasks done", n)
	}
	go p.work(1)
	go p.work(2)
	var all sync.WaitGroup
	all.Add(3)
	p.Run(3, func(_, _ int) {
		all.Done()
		all.Wait() // a task for each worker
	})
}

// TestPoolEveryTask: every task of every run is done once before the run ends, also where workers are more
// than processors and come late.
func TestPoolEveryTask(t *testing.T) {
	p := NewPool(2 * runtime.GOMAXPROCS(0))
	defer p.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		counts := make([]int32, 1+rng.IntN(40))
		fails := round%100 == 99
		func() {
			defer func() {
				if v := recover(); (v != nil) != fails {
					t.Fatalf("round %d: panic %v", round, v)
				}
			}()
			p.Run(len(counts), func(task, worker int) {
				if counts[task]++; task%10 == 0 {
					runtime.Gosched()
				}
				if fails && task == len(counts)/2 {
					panic("as asked")
				}
			})
		}()
		for task, n := range counts {
			if n > 1 || n == 0 && !fails {
				t.Fatalf("round %d: task %d was done %d times", round, task, n)
			}
		}
	}
	if len(p.runs) > p.threads+2 {
		t.Errorf("%d runs are kept for %d workers", len(p.runs), p.threads)
	}
}
