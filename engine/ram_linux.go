package engine

import (
	"bufio"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// memoryLimit is the machine's memory, in bytes: a plan that needs more is refused
// before it is made.
var memoryLimit = sync.OnceValue(func() int {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return math.MaxInt
	}
	return int(min(uint64(info.Totalram)*uint64(info.Unit), math.MaxInt))
})

// FreeMemory is what the system, or the control group of this process, has left for it, in
// bytes; false where that is not known.
func FreeMemory() (int64, bool) {
	free, ok := procField("/proc/meminfo", "MemAvailable:")
	if left, limited := groupMemory("/proc/self/cgroup", "/sys/fs/cgroup"); limited && (!ok || left < free) {
		return left, true
	}
	return free, ok
}

// UsedMemory is the memory of this process that is in RAM now, and the most that was, in
// bytes; false where that is not known.
func UsedMemory() (now, peak int64, ok bool) {
	now, a := procField("/proc/self/status", "VmRSS:")
	peak, b := procField("/proc/self/status", "VmHWM:")
	return now, peak, a && b
}

// procField reads a line of the form "name: 123 kB".
func procField(path, name string) (int64, bool) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 3 && words[0] == name {
			n, err := strconv.ParseInt(words[1], 10, 64)
			return n << 10, err == nil
		}
	}
	return 0, false
}

// groupMemory is what control groups (version 2, or 1 for memory) leave of their limits.
func groupMemory(groups, root string) (left int64, limited bool) {
	text, err := os.ReadFile(groups)
	if err != nil {
		return 0, false
	}
	number := func(path ...string) (int64, bool) {
		b, err := os.ReadFile(filepath.Join(path...))
		if err != nil {
			return 0, false
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		return n, err == nil
	}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		parts := strings.SplitN(line, ":", 3)
		if len(parts) != 3 {
			continue
		}
		dir, most, used := root, "memory.max", "memory.current"
		switch parts[1] {
		case "":
		case "memory":
			dir, most, used = filepath.Join(root, "memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"
		default:
			continue
		}
		// A group's limit holds for those within it.
		for at := filepath.Clean("/" + parts[2]); ; at = filepath.Dir(at) {
			limit, a := number(dir, at, most)
			now, b := number(dir, at, used)
			if a && b && limit < 1<<60 && (!limited || limit-now < left) {
				left, limited = max(0, limit-now), true
			}
			if at == "/" {
				break
			}
		}
	}
	return left, limited
}
