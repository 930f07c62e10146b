package onnxio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// kind is a message type of onnx.proto, as far as nesting goes.
type kind int

const (
	leafMessage kind = iota + 1 // holds no further messages
	modelMessage
	graphMessage
	nodeMessage
	attributeMessage
	tensorMessage
	sparseMessage
	functionMessage
	trainingMessage
	valueMessage
	typeMessage
	typeTensorMessage
	typeElemMessage
	typeMapMessage
	shapeMessage
	annotationMessage
	nodeDeviceMessage
	shardingMessage
	shardedDimMessage
)

// children says which fields of a message hold which messages.
var children = map[kind]map[int]kind{
	leafMessage: {},
	modelMessage: {7: graphMessage, 8: leafMessage, 14: leafMessage, 20: trainingMessage, 25: functionMessage,
		26: leafMessage},
	graphMessage: {1: nodeMessage, 5: tensorMessage, 11: valueMessage, 12: valueMessage, 13: valueMessage,
		14: annotationMessage, 15: sparseMessage, 16: leafMessage},
	nodeMessage: {5: attributeMessage, 9: leafMessage, 10: nodeDeviceMessage},
	attributeMessage: {5: tensorMessage, 6: graphMessage, 10: tensorMessage, 11: graphMessage, 14: typeMessage,
		15: typeMessage, 22: sparseMessage, 23: sparseMessage},
	tensorMessage:     {3: leafMessage, 13: leafMessage, 16: leafMessage},
	sparseMessage:     {1: tensorMessage, 2: tensorMessage},
	functionMessage:   {7: nodeMessage, 9: leafMessage, 11: attributeMessage, 12: valueMessage, 14: leafMessage},
	trainingMessage:   {1: graphMessage, 2: graphMessage, 3: leafMessage, 4: leafMessage},
	valueMessage:      {2: typeMessage, 4: leafMessage},
	typeMessage:       {1: typeTensorMessage, 4: typeElemMessage, 5: typeMapMessage, 7: leafMessage, 8: typeTensorMessage, 9: typeElemMessage},
	typeTensorMessage: {2: shapeMessage},
	typeElemMessage:   {1: typeMessage},
	typeMapMessage:    {2: typeMessage},
	shapeMessage:      {1: leafMessage},
	annotationMessage: {2: leafMessage},
	nodeDeviceMessage: {2: shardingMessage},
	shardingMessage:   {3: leafMessage, 4: shardedDimMessage},
	shardedDimMessage: {2: leafMessage},
}

// Bounds on what a file may ask of the parser.
const (
	maxDepth        = 100      // nested messages, the limit of protobuf's own parsers
	maxMemoryFactor = 3        // memory for messages per byte of file
	freeMemory      = 96 << 20 // memory for messages that any file may use
)

// messageCosts are the bytes that a message takes in memory, that of its node or value in a graph included; those that
// are not listed take otherCost.
var messageCosts = map[kind]int{nodeMessage: 1500, tensorMessage: 700, valueMessage: 600, attributeMessage: 400, leafMessage: 150}

const (
	otherCost  = 250
	stringCost = 40 // of an entry of a repeated string
)

// entryCosts are the bytes that each entry of a repeated field takes, by message and field: of strings, and of varints,
// which are as short as one byte in the file.
var entryCosts = map[kind]map[int]int{
	nodeMessage:      {1: stringCost, 2: stringCost},
	functionMessage:  {4: stringCost, 5: stringCost, 6: stringCost},
	attributeMessage: {8: 8, 9: stringCost},
	tensorMessage:    {tensorDims: 8, tensorInt32Data: 4, tensorStringData: stringCost, tensorInt64Data: 8, tensorUint64Data: 8},
	sparseMessage:    {3: 8},
}

// entries is the number of entries that a field adds, strings or varints.
func entries(f field, each int) int {
	if f.wire != wireBytes || each == stringCost {
		return 1
	}
	n := 0
	for _, b := range f.payload {
		if b < 0x80 {
			n++
		}
	}
	return n
}

// checkWire verifies that data is a well-formed ModelProto whose nesting is within bounds, and whose messages take no
// more memory than a small multiple of its size, so that parsing it cannot exhaust the stack or the memory.
func checkWire(data []byte) error {
	c := wireCheck{left: maxMemoryFactor*len(data) + freeMemory}
	return c.message(modelMessage, data, 1)
}

type wireCheck struct {
	left  int // memory
	count int // messages
}

var errTooMuch = errors.New("asks for too much memory")

var errTooDeep = fmt.Errorf("messages are nested deeper than %d levels", maxDepth)

func (c *wireCheck) message(k kind, b []byte, depth int) error {
	if depth > maxDepth {
		return errTooDeep
	}
	c.count++
	cost, ok := messageCosts[k]
	if !ok {
		cost = otherCost
	}
	if err := c.spend(cost); err != nil {
		return err
	}
	inner, costs := children[k], entryCosts[k]
	for len(b) > 0 {
		f, rest, err := nextField(b)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("a message ends in the middle of a field")
		}
		if err != nil {
			if f.num == 0 {
				return err
			}
			return fmt.Errorf("field %d %w", f.num, err)
		}
		if each := costs[f.num]; each > 0 {
			if err := c.spend(each * entries(f, each)); err != nil {
				return err
			}
		}
		if child, ok := inner[f.num]; ok && f.wire == wireBytes {
			if err := c.message(child, f.payload, depth+1); err != nil {
				return err
			}
		}
		b = rest
	}
	return nil
}

func (c *wireCheck) spend(cost int) error {
	if c.left -= cost; c.left < 0 {
		return fmt.Errorf("%w: its nodes, values and numbers need more than %d times its size and %d MiB of memory, at message %d",
			errTooMuch, maxMemoryFactor, freeMemory>>20, c.count)
	}
	return nil
}

// mapTensors returns msg, a well-formed message of kind k, with the content of every TensorProto in it, at any depth,
// replaced by what edit returns. Where edit returns its argument, nothing changes.
func mapTensors(k kind, msg []byte, edit func(tensor []byte) ([]byte, error)) ([]byte, error) {
	if k == tensorMessage {
		return edit(msg)
	}
	var out []byte // the rewritten part of msg, nil as long as it is the same
	for pos := 0; pos < len(msg); {
		f, _, err := nextField(msg[pos:])
		if err != nil {
			return nil, err
		}
		raw := f.raw
		if child, ok := children[k][f.num]; ok && child != leafMessage && f.wire == wireBytes {
			payload, err := mapTensors(child, f.payload, edit)
			if err != nil {
				return nil, err
			}
			if !sameSlice(payload, f.payload) {
				if out == nil {
					out = append(make([]byte, 0, len(msg)), msg[:pos]...)
				}
				raw = appendBytesField(nil, f.num, payload)
			}
		}
		if out != nil {
			out = append(out, raw...)
		}
		pos += len(f.raw)
	}
	if out == nil {
		return msg, nil
	}
	return out, nil
}

func sameSlice(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// varints reads packed or single varints.
func varints(f field, to []uint64) ([]uint64, error) {
	for b := f.payload; len(b) > 0; {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, io.ErrUnexpectedEOF
		}
		to, b = append(to, v), b[n:]
	}
	return to, nil
}
