package onnxio

import (
	"bytes"
	"slices"
	"testing"

	"github.com/gogo/protobuf/proto"
	"pgregory.net/rapid"
)

// unpack rewrites a packed field as single entries, as old writers did.
func unpack(msg []byte, num int) []byte {
	all, _ := fields(msg)
	var out []byte
	for _, f := range all {
		switch {
		case f.num != num:
			out = append(out, f.raw...)
		case num == tensorFloatData || num == tensorDoubleData:
			size, wire := 4, wireFixed32
			if num == tensorDoubleData {
				size, wire = 8, wireFixed64
			}
			for c := range slices.Chunk(f.payload, size) {
				out = append(append(out, byte(num<<3|wire)), c...)
			}
		default:
			values, _ := varints(f, nil)
			out = appendVarints(out, num, false, values)
		}
	}
	return out
}

type drawn struct {
	dt   int32
	dims []int64
	raw  []byte
	msg  []byte // the encoded TensorProto
}

// drawTensor makes a tensor of any numeric type in any encoding within the file.
func drawTensor(rt *rapid.T, types []int32) drawn {
	d := drawn{dt: rapid.SampledFrom(types).Draw(rt, "type")}
	n := 1
	for range rapid.IntRange(0, 3).Draw(rt, "rank") {
		dim := rapid.IntRange(0, 4).Draw(rt, "dim")
		n *= dim
		d.dims = append(d.dims, int64(dim))
	}
	size := (n*elemTypes[d.dt].bits + 7) / 8
	d.raw = rapid.SliceOfN(rapid.Byte(), size, size).Draw(rt, "raw")
	num := elemTypes[d.dt].field
	t := typedTensor(d.dt, d.dims, d.raw)
	encoding := rapid.IntRange(0, 2).Draw(rt, "encoding")
	if encoding == 0 {
		t = &TensorProto{Name: proto.String("t"), DataType: proto.Int32(d.dt), Dims: d.dims, RawData: d.raw}
	}
	d.msg, _ = t.Marshal()
	if encoding == 2 {
		d.msg = unpack(d.msg, num)
	}
	return d
}

func modelWith(tensor []byte) []byte {
	all, _ := fields(smallModel(nil))
	var out []byte
	for _, f := range all {
		if f.num == 7 {
			out = appendBytesField(out, 7, appendBytesField(bytes.Clone(f.payload), graphInitializer, tensor))
		} else {
			out = append(out, f.raw...)
		}
	}
	return out
}

// Masking keeps type, encoding and every bit of the kept elements; an all-true mask keeps the bytes of the file.
func TestMaskEveryTypeAndEncoding(t *testing.T) {
	types := slices.DeleteFunc(slices.Clone(numericTypes), func(dt int32) bool {
		return dt == Complex64 || dt == Complex128 || dt == Float8E8M0
	})
	rapid.Check(t, func(rt *rapid.T) {
		d := drawTensor(rt, types)
		data := modelWith(d.msg)
		m, err := LoadBytes("m.onnx", data)
		must(rt, err)
		_, n, _ := Shape(m.Initializer("t"))
		mask := rapid.SliceOfN(rapid.Bool(), n, n).Draw(rt, "mask")
		must(rt, m.MaskTensor("t", mask))
		again, err := LoadBytes("m.onnx", m.Bytes())
		must(rt, err)
		if !sameMessage(again.Proto, m.Proto) {
			rt.Fatal("Proto and bytes differ")
		}
		p := again.Initializer("t")
		raw, err := Raw(p, nil)
		must(rt, err)
		bits := elemTypes[d.dt].bits
		same := true
		for i, keep := range mask {
			was, is := bitsAt(d.raw, i, bits), bitsAt(raw, i, bits)
			if keep && is != was || !keep && is != 0 {
				rt.Fatalf("element %d is %x, was %x", i, is, was)
			}
			same = same && is == was
		}
		if same && !bytes.Equal(m.Bytes(), data) {
			rt.Fatal("nothing was masked, the bytes differ")
		}
		if unpacked := wireOf(d.msg, elemTypes[d.dt].field); unpacked != wireOf(again.entries[again.find(graphInitializer, 2)].payload(), elemTypes[d.dt].field) {
			rt.Fatal("the encoding changed")
		}
	})
}

// wireOf returns the wire type of the first field num, −1 where there is none.
func wireOf(msg []byte, num int) int {
	all, _ := fields(msg)
	for _, f := range all {
		if f.num == num {
			return f.wire
		}
	}
	return -1
}

func TestSetTensorKeepsBitsOfSameValues(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := drawTensor(rt, []int32{Float, Double, Float16, Bfloat16})
		data := modelWith(d.msg)
		m, err := LoadBytes("m.onnx", data)
		must(rt, err)
		_, v, err := m.Float32s(m.Initializer("t"))
		must(rt, err)
		must(rt, m.SetTensor("t", v))
		if !bytes.Equal(m.Bytes(), data) {
			rt.Fatal("setting the same values changed the bytes")
		}
		for i := range v {
			v[i] = float32(i%5) - 2
		}
		must(rt, m.SetTensor("t", v))
		_, got, err := m.Float32s(m.Initializer("t"))
		must(rt, err)
		if !slices.Equal(got, v) {
			rt.Fatalf("values %v, want %v", got, v)
		}
	})
}
