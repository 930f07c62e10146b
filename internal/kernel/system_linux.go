package kernel

import "golang.org/x/sys/unix"

// wantHugePages is a hint: where the system has no huge pages, nothing changes.
func wantHugePages(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }

// yield lets another thread run, if one waits for the processor.
func yield() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
