package main

import (
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/onnxprune/onnxprune/onnxio"
)

// exitInterrupted is the exit code after SIGINT and SIGTERM.
const exitInterrupted = 130

// interruption is what signals and the running command share.
type interruption struct {
	// asked is set by the first signal while the command can end by itself.
	asked atomic.Bool
	// patient is set while the command looks at asked.
	patient atomic.Bool
	// resume is the command that goes on with the run, nil where there is no checkpoint.
	resume atomic.Pointer[string]
}

var signals interruption

// watch ends the program on a signal that asks for it, without half-written files: a
// command that writes checkpoints finishes its step and writes one first, unless it is
// asked a second time.
func (i *interruption) watch() {
	c := make(chan os.Signal, 2)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
	for range c {
		if i.patient.Load() && !i.asked.Swap(true) {
			continue
		}
		onnxio.RemoveTemporaries()
		if dir := scratch.Load(); dir != nil {
			os.RemoveAll(*dir)
		}
		i.say(os.Stderr)
		os.Exit(exitInterrupted)
	}
}

// say tells how to go on.
func (i *interruption) say(w *os.File) {
	fmt.Fprintln(w, "onnxprune: interrupted")
	if cmd := i.resume.Load(); cmd != nil {
		fmt.Fprintf(w, "hint: %s goes on\n", *cmd)
	}
}
