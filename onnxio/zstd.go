package onnxio

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// zstdSuffix marks files that hold a model compressed by Zstandard (RFC 8878). Such files are recognised by their
// content when read, and by their name when written.
const zstdSuffix = ".zst"

// Bounds on what a compressed file may decompress to, in bytes: zstdFactor times its size, and zstdFree. Models
// compress to an eighth where nine weights in ten are zero.
const (
	zstdFactor = 256
	zstdFree   = 32 << 20
	zstdWindow = 32 << 20 // the largest window that is accepted; zstd -19 uses 8 MiB
)

var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// decompressed returns the content of a compressed file, and any other as it is.
func decompressed(data []byte) ([]byte, error) {
	if !bytes.HasPrefix(data, zstdMagic) {
		return data, nil
	}
	limit := min(int64(MaxFileSize), zstdFactor*int64(len(data))+zstdFree)
	tooLarge := fmt.Errorf("decompresses to more than %d bytes, at most that is accepted of %d compressed ones", limit, len(data))
	var head zstd.Header
	if err := head.Decode(data); err != nil {
		return nil, fmt.Errorf("is cut short or not a Zstandard file: %w", err)
	}
	size := int64(-1)
	if head.HasFCS {
		if head.FrameContentSize > uint64(limit) {
			return nil, tooLarge
		}
		size = int64(head.FrameContentSize)
	}
	if size < 0 { // measure first, so that no buffer has to grow
		n, err := decompress(io.Discard, data, limit)
		switch {
		case err != nil:
			return nil, err
		case n > limit:
			return nil, tooLarge
		}
		size = n
	}
	out := bytes.NewBuffer(make([]byte, 0, size))
	switch n, err := decompress(out, data, size); {
	case err != nil:
		return nil, err
	case n > size:
		return nil, fmt.Errorf("decompresses to more than the %d bytes that its first frame says", size)
	}
	return out.Bytes(), nil
}

// decompress writes the content of a compressed file, but no more than limit bytes, and returns how many these are: one
// more than limit where there is more.
func decompress(w io.Writer, data []byte, limit int64) (int64, error) {
	d, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(zstdWindow))
	if err != nil {
		return 0, err
	}
	defer d.Close()
	n, err := io.Copy(w, io.LimitReader(d, limit))
	if err == nil && n == limit {
		var more [1]byte
		var k int
		k, err = io.ReadFull(d, more[:])
		n += int64(k)
		if err == io.EOF {
			err = nil
		}
	}
	switch {
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return 0, fmt.Errorf("is compressed with a window of more than %d bytes\nhint: zstd -19 or less, without --long, is read", zstdWindow)
	case err != nil:
		return 0, fmt.Errorf("is cut short or not a Zstandard file: %w", err)
	}
	return n, nil
}

func isZstd(path string) bool { return strings.EqualFold(filepath.Ext(path), zstdSuffix) }

// encode returns the function that writes the model as a file of that name holds it.
func (m *Model) encode(path string) func(io.Writer) error {
	if !isZstd(path) {
		return m.write
	}
	return func(w io.Writer) error {
		// One thread, so that the bytes do not depend on their number.
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
		if err != nil {
			return err
		}
		e.ResetContentSize(w, m.Size())
		return errors.Join(m.write(e), e.Close())
	}
}

// refuseZstd is the error for external data and a compressed file, which holds one file only.
func (m *Model) refuseZstd(path string) error {
	return fmt.Errorf("%s: %s cannot hold the model, its tensors are external data\n"+
		"hint: write a file without %s and compress it together with its data", m.name, path, zstdSuffix)
}
