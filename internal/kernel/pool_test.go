package kernel

import (
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
