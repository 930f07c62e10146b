package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

func newConsole() *console {
	c := &console{out: os.Stdout, err: os.Stderr}
	if fd := int(os.Stderr.Fd()); term.IsTerminal(fd) {
		c.terminal = true
		c.columns = 80
		if w, _, err := term.GetSize(fd); err == nil && w > 0 {
			c.columns = w
		}
	}
	return c
}

// silence drops all output but errors.
func (c *console) silence() {
	c.out, c.err, c.terminal = io.Discard, io.Discard, false
}

// bar shows how far a run is, on a terminal only.
type bar struct {
	c     *console
	start time.Time
	last  time.Time
	shown bool
	first float64
}

func (c *console) bar() *bar { return &bar{c: c} }

// update draws "title ████░░░ 62/195 note 0:12 left" at most ten times a second.
func (b *bar) update(title string, done, total int, note string) {
	now := time.Now()
	if done <= 1 || b.start.IsZero() {
		b.start = now
	}
	if !b.c.terminal || done < total && now.Sub(b.last) < 100*time.Millisecond {
		return
	}
	b.last, b.shown = now, true
	const width = 24
	full := width * done / max(1, total)
	line := fmt.Sprintf("%s %s%s %d/%d %s", title, strings.Repeat("█", full), strings.Repeat("░", width-full), done, total, note)
	if left := now.Sub(b.start).Seconds() / float64(max(1, done)) * float64(total-done); done > 1 && left >= 1 {
		line += fmt.Sprintf(" %d:%02d left", int(left)/60, int(left)%60)
	}
	if r := []rune(line); len(r) > b.c.columns-1 {
		line = string(r[:b.c.columns-1])
	}
	fmt.Fprint(b.c.err, "\r\x1b[K"+line)
}

// share draws "title ████░░░ 31 % note 0:12 left" for a whole of which a share is done; the
// time left is reckoned from the first call on.
func (b *bar) share(title string, done float64, note string) {
	now := time.Now()
	if b.start.IsZero() {
		b.start, b.first = now, done
	}
	if !b.c.terminal || now.Sub(b.last) < 100*time.Millisecond {
		return
	}
	b.last, b.shown = now, true
	const width = 24
	full := int(width * min(1, done))
	line := fmt.Sprintf("%s %s%s %.0f %%", title, strings.Repeat("█", full), strings.Repeat("░", width-full), 100*done)
	if made := done - b.first; made > 0 {
		left := int(now.Sub(b.start).Seconds() / made * (1 - done))
		line += fmt.Sprintf(" %d:%02d:%02d left", left/3600, left/60%60, left%60)
	}
	line += " " + note
	if r := []rune(line); len(r) > b.c.columns-1 {
		line = string(r[:b.c.columns-1])
	}
	fmt.Fprint(b.c.err, "\r\x1b[K"+line)
}

// hide takes the bar away for a line, and goes on counting.
func (b *bar) hide() {
	start := b.start
	b.clear()
	b.start = start
}

// clear takes the bar away, so that a line can be printed.
func (b *bar) clear() {
	if b.shown {
		fmt.Fprint(b.c.err, "\r\x1b[K")
		b.shown = false
	}
	b.start = time.Time{}
}
