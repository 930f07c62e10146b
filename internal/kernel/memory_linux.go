package kernel

import "golang.org/x/sys/unix"

// wantHugePages is a hint: where the system has no huge pages, nothing changes.
func wantHugePages(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }
