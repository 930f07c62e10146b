//go:build !linux

package kernel

func wantHugePages([]byte) {}
