package onnxio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Protobuf wire types.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireGroup   = 3
	wireEnd     = 4
	wireFixed32 = 5
)

// field is one field of an encoded message.
type field struct {
	num     int
	wire    int
	raw     []byte // tag, length and content
	payload []byte // content alone: the bytes, or the varint or fixed number itself
}

// nextField splits the first field off b.
func nextField(b []byte) (f field, rest []byte, err error) {
	tag, n := binary.Uvarint(b)
	if n <= 0 {
		return f, nil, io.ErrUnexpectedEOF
	}
	if tag>>3 == 0 || tag>>3 > 1<<29-1 {
		return f, nil, fmt.Errorf("no field has the number %d", tag>>3)
	}
	f.num, f.wire = int(tag>>3), int(tag&7)
	size, err := valueSize(f.wire, b[n:])
	if err != nil {
		return f, nil, err
	}
	end := n + size
	f.raw, f.payload = b[:end:end], b[n:end:end]
	if f.wire == wireBytes {
		_, k := binary.Uvarint(f.payload)
		f.payload = f.payload[k:]
	}
	return f, b[end:], nil
}

// valueSize returns how many bytes of b the value of a field takes.
func valueSize(wire int, b []byte) (int, error) {
	switch wire {
	case wireVarint:
		if _, n := binary.Uvarint(b); n > 0 {
			return n, nil
		}
		return 0, io.ErrUnexpectedEOF
	case wireFixed64, wireFixed32:
		n := 8
		if wire == wireFixed32 {
			n = 4
		}
		if len(b) < n {
			return 0, io.ErrUnexpectedEOF
		}
		return n, nil
	case wireBytes:
		size, n := binary.Uvarint(b)
		if n <= 0 {
			return 0, io.ErrUnexpectedEOF
		}
		if size > uint64(len(b)-n) {
			return 0, fmt.Errorf("needs %d bytes, %d remain", size, len(b)-n)
		}
		return n + int(size), nil
	case wireGroup:
		return groupSize(b)
	}
	return 0, fmt.Errorf("wire type %d is not known", wire)
}

// groupSize returns the length of a group up to and with its end tag.
func groupSize(b []byte) (int, error) {
	pos := 0
	for depth := 1; depth > 0; {
		tag, n := binary.Uvarint(b[pos:])
		if n <= 0 {
			return 0, io.ErrUnexpectedEOF
		}
		pos += n
		switch wire := int(tag & 7); wire {
		case wireGroup:
			depth++
		case wireEnd:
			depth--
		default:
			size, err := valueSize(wire, b[pos:])
			if err != nil {
				return 0, err
			}
			pos += size
		}
	}
	return pos, nil
}

// fields splits a message that is known to be well formed.
func fields(b []byte) ([]field, error) {
	var all []field
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if err != nil {
			return nil, err
		}
		all, b = append(all, f), rest
	}
	return all, nil
}

// appendBytesField appends a length-delimited field.
func appendBytesField(b []byte, num int, payload []byte) []byte {
	b = binary.AppendUvarint(b, uint64(num)<<3|wireBytes)
	b = binary.AppendUvarint(b, uint64(len(payload)))
	return append(b, payload...)
}

var errNoSuchField = errors.New("no such field")

// replaceNth returns a copy of msg in which the k-th length-delimited field num has another content.
func replaceNth(msg []byte, num, k int, payload []byte) ([]byte, error) {
	all, err := fields(msg)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(msg)+len(payload))
	for i, f := range all {
		if f.num != num || f.wire != wireBytes {
			out = append(out, f.raw...)
			continue
		}
		if k == 0 {
			out = appendBytesField(out, num, payload)
			for _, g := range all[i+1:] {
				out = append(out, g.raw...)
			}
			return out, nil
		}
		out, k = append(out, f.raw...), k-1
	}
	return nil, errNoSuchField
}

// nth returns the content of the k-th length-delimited field num.
func nth(msg []byte, num, k int) ([]byte, error) {
	all, err := fields(msg)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(f field) bool { return f.num != num || f.wire != wireBytes })
	if k >= len(all) {
		return nil, errNoSuchField
	}
	return all[k].payload, nil
}
