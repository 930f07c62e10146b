package engine

import (
	"math"
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
