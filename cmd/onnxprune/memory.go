package main

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/onnxprune/onnxprune/engine"
)

// memoryFlag bounds the memory of a run.
type memoryFlag struct {
	MemoryLimit string `help:"Refuse to begin what takes more memory than this, as 4GiB (default: what is free)." placeholder:"SIZE"`

	limit int64
}

func (m *memoryFlag) check() (err error) {
	if m.MemoryLimit != "" {
		if m.limit, err = parseBytes(m.MemoryLimit); err != nil {
			return fmt.Errorf("--memory-limit is %q, wants a size as 500MB or 4GiB", m.MemoryLimit)
		}
	}
	return nil
}

// parseBytes reads a size: a number and a unit, of 1000 (kB, MB, …) or 1024 (KiB, K, …).
func parseBytes(text string) (int64, error) {
	at := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if at < 0 {
		at = len(text)
	}
	n, err := strconv.ParseFloat(text[:at], 64)
	if err != nil {
		return 0, err
	}
	unit := strings.ToLower(strings.TrimSpace(text[at:]))
	power := strings.IndexByte("kmgt", (unit + " ")[0]) + 1
	if power > 0 {
		unit = unit[1:]
	}
	base := 1024.0
	switch unit {
	case "", "ib":
	case "b":
		base = 1000
	default:
		return 0, errors.New("no unit")
	}
	for range power {
		n *= base
	}
	if !(n >= 1 && n < 1<<62) {
		return 0, errors.New("no size")
	}
	return int64(n), nil
}

// settledMemory is what the process has, in bytes, without what it needs no more.
func settledMemory() int64 {
	debug.FreeOSMemory()
	if now, _, ok := engine.UsedMemory(); ok {
		return now
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased)
}

// spare is the memory in bytes that garbage may take before it is collected, beside a
// total: a tenth, at least 4 MiB.
func spare(total int64) int64 { return max(total/10, 4<<20) }

// allow returns the most memory that the process will take if it needs that much more than
// it has. Where there is less, the error says how to get along.
func (m *memoryFlag) allow(name string, has, need int64, batch int) (int64, error) {
	total := has + need
	total += spare(total)
	advice := "smaller --dim sizes"
	if batch > 1 {
		advice = fmt.Sprintf("a smaller --batch (now %d)", batch)
	}
	free, known := engine.FreeMemory()
	switch {
	case m.limit > 0 && total > m.limit:
		return 0, fmt.Errorf("%s: about %s of memory are needed, --memory-limit is %s\nhint: try %s", name, mebibytes(total), mebibytes(m.limit), advice)
	case m.limit == 0 && known && total-has > free:
		return 0, fmt.Errorf("%s: about %s of memory are needed, %s are free\nhint: try %s", name, mebibytes(total), mebibytes(free+has), advice)
	}
	// Most of the heap are few large vectors, so that collecting often costs little.
	debug.SetGCPercent(int(max(5, min(100, 100*spare(total)/max(1, total-rest)))))
	return total, nil
}

// rest is about what a process has besides its heap.
const rest = 12 << 20

// mebibytes writes a number of bytes for people.
func mebibytes(n int64) string {
	if n >= 10<<30 {
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%d MiB", (n+1<<19)>>20)
}
