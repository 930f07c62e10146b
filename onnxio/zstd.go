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
	zstdFree   = 64 << 20
	zstdWindow = 64 << 20 // the largest window that is accepted; zstd -19 uses 8 MiB
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
	room := int64(0)
	if head.HasFCS {
		if head.FrameContentSize > uint64(limit) {
			return nil, tooLarge
		}
		room = int64(head.FrameContentSize)
	}
	d, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(uint64(limit)), zstd.WithDecoderMaxWindow(zstdWindow))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	out := bytes.NewBuffer(make([]byte, 0, room+bytes.MinRead))
	switch _, err = out.ReadFrom(io.LimitReader(d, limit+1)); {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded), err == nil && int64(out.Len()) > limit:
		return nil, tooLarge
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, fmt.Errorf("is compressed with a window of more than %d bytes\nhint: zstd -19 or less, without --long, is read", zstdWindow)
	case err != nil:
		return nil, fmt.Errorf("is cut short or not a Zstandard file: %w", err)
	}
	return out.Bytes(), nil
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
		e.ResetContentSize(w, m.size())
		return errors.Join(m.write(e), e.Close())
	}
}

// refuseZstd is the error for external data and a compressed file, which holds one file only.
func (m *Model) refuseZstd(path string) error {
	return fmt.Errorf("%s: %s cannot hold the model, its tensors are external data\n"+
		"hint: write a file without %s and compress it together with its data", m.name, path, zstdSuffix)
}
