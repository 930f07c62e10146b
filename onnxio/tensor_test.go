package onnxio

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gogo/protobuf/proto"
	"pgregory.net/rapid"
)

var numericTypes = func() (all []int32) {
	for dt, et := range elemTypes {
		if et.bits > 0 {
			all = append(all, dt)
		}
	}
	slices.Sort(all)
	return all
}()

// typedTensor holds raw in the typed field of its type; int32 entries of signed types are sign-extended.
func typedTensor(dt int32, dims []int64, raw []byte) *TensorProto {
	t := &TensorProto{Name: proto.String("t"), DataType: proto.Int32(dt), Dims: dims}
	et := elemTypes[dt]
	for i := 0; i < len(raw); i += et.unit {
		u := bitsAt(raw[i:], 0, 8*et.unit)
		switch et.field {
		case tensorFloatData:
			t.FloatData = append(t.FloatData, math.Float32frombits(uint32(u)))
		case tensorDoubleData:
			t.DoubleData = append(t.DoubleData, math.Float64frombits(u))
		case tensorInt64Data:
			t.Int64Data = append(t.Int64Data, int64(u))
		case tensorUint64Data:
			t.Uint64Data = append(t.Uint64Data, u)
		case tensorInt32Data:
			v := int32(u)
			if dt == Int8 {
				v = int32(int8(u))
			} else if dt == Int16 {
				v = int32(int16(u))
			}
			t.Int32Data = append(t.Int32Data, v)
		}
	}
	return t
}

func TestRawOfEveryTypeAndEncoding(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := drawTensor(rt, numericTypes)
		p := &TensorProto{}
		must(rt, p.Unmarshal(d.msg))
		raw, err := Raw(p, nil)
		must(rt, err)
		if !bytes.Equal(raw, d.raw) {
			rt.Fatalf("raw %x, want %x", raw, d.raw)
		}
	})
}

func TestDecodeErrors(t *testing.T) {
	tensor := func(dt int32, dims []int64, edit func(*TensorProto)) *TensorProto {
		p := &TensorProto{Name: proto.String("w"), DataType: proto.Int32(dt), Dims: dims}
		edit(p)
		return p
	}
	rawBytes := func(n int) func(*TensorProto) { return func(p *TensorProto) { p.RawData = make([]byte, n) } }
	for _, c := range []struct {
		p    *TensorProto
		want string
	}{
		{tensor(Float, []int64{2, 2}, rawBytes(12)), "raw_data has 12 bytes, shape [2,2] of float needs 16"},
		{tensor(Float, []int64{1 << 40}, rawBytes(8)), "raw_data has 8 bytes, shape [1099511627776] of float needs 4398046511104"},
		{tensor(Float, []int64{1 << 40, 1 << 40}, rawBytes(8)), "more elements than can be counted"},
		{tensor(Float, []int64{math.MaxInt64}, rawBytes(8)), "more elements than can be counted"},
		{tensor(Float, []int64{2, -1}, rawBytes(8)), "shape [2,-1] has a negative dimension"},
		{tensor(Float, []int64{2}, rawBytes(0)), "has no data, shape [2] of float needs 8 bytes"},
		{tensor(Float, []int64{2}, func(p *TensorProto) { p.FloatData = []float32{1} }), "float_data has 1 entries, shape [2] of float needs 2"},
		{tensor(Float, []int64{1}, func(p *TensorProto) { p.Int32Data = []int32{1} }), "has int32_data, float needs float_data or raw_data"},
		{tensor(Float, []int64{1}, func(p *TensorProto) { p.FloatData = []float32{1}; p.RawData = make([]byte, 4) }), "has both float_data and raw_data"},
		{tensor(Float16, []int64{1}, func(p *TensorProto) { p.Int32Data = []int32{70000} }), "int32_data[0] is 70000, which float16 does not hold"},
		{tensor(Float, []int64{1}, func(p *TensorProto) { p.DataLocation = TensorProto_EXTERNAL.Enum() }), "has external data, which is not available here"},
		{tensor(Float, []int64{1}, func(p *TensorProto) { p.Segment = &TensorProto_Segment{} }), "is stored in segments, which are not supported"},
		{tensor(99, nil, rawBytes(1)), "element type data type 99 is not known"},
		{tensor(Int64, nil, rawBytes(8)), "element type is int64, floating point is needed"},
		{tensor(String, nil, rawBytes(8)), "string elements have no bytes of fixed width"},
	} {
		_, _, err := Float32s(c.p, nil)
		if err == nil || !strings.HasPrefix(err.Error(), `tensor "w": `) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v\nwant  %s", err, c.want)
		}
	}
	big := tensor(Uint64, nil, func(p *TensorProto) { p.Uint64Data = []uint64{math.MaxUint64} })
	if _, _, err := Int64s(big, nil); err == nil {
		t.Error("an uint64 beyond int64 is accepted")
	}
}

func TestDecodeInts(t *testing.T) {
	for _, c := range []struct {
		dt   int32
		dims []int64
		raw  []byte
		want []int64
	}{
		{Int4, []int64{3}, []byte{0x8f, 0x07}, []int64{-1, -8, 7}},
		{Uint4, []int64{3}, []byte{0x8f, 0x07}, []int64{15, 8, 7}},
		{Int2, []int64{5}, []byte{0b11_10_01_00, 2}, []int64{0, 1, -2, -1, -2}},
		{Uint2, []int64{5}, []byte{0b11_10_01_00, 2}, []int64{0, 1, 2, 3, 2}},
		{Int8, []int64{2}, []byte{0xff, 1}, []int64{-1, 1}},
		{Uint16, []int64{1}, []byte{0xff, 0xff}, []int64{65535}},
		{Int32, nil, []byte{0xfe, 0xff, 0xff, 0xff}, []int64{-2}},
		{Uint32, nil, []byte{0xfe, 0xff, 0xff, 0xff}, []int64{1<<32 - 2}},
		{Int64, []int64{0, 5}, nil, []int64{}},
	} {
		for _, p := range []*TensorProto{
			{DataType: proto.Int32(c.dt), Dims: c.dims, RawData: c.raw}, typedTensor(c.dt, c.dims, c.raw),
		} {
			_, got, err := Int64s(p, nil)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, %v, want %v", TypeName(c.dt), got, err, c.want)
			}
		}
	}
}

func TestDecodeBoolsStringsDoubles(t *testing.T) {
	_, b, err := Bools(typedTensor(Bool, []int64{2}, []byte{0, 1}), nil)
	if err != nil || !slices.Equal(b, []bool{false, true}) {
		t.Errorf("bools %v, %v", b, err)
	}
	s := &TensorProto{DataType: proto.Int32(String), Dims: []int64{2}, StringData: [][]byte{[]byte("a"), nil}}
	if _, v, err := Strings(s); err != nil || !slices.Equal(v, []string{"a", ""}) {
		t.Errorf("strings %v, %v", v, err)
	}
	s.Dims[0] = 3
	if _, _, err := Strings(s); err == nil || !strings.Contains(err.Error(), "string_data has 2 entries, shape [3] needs 3") {
		t.Errorf("strings: error %v", err)
	}
	d := &TensorProto{DataType: proto.Int32(Double), DoubleData: []float64{math.Pi}}
	if shape, v, err := Float64s(d, nil); err != nil || len(shape) != 0 || v[0] != math.Pi {
		t.Errorf("doubles %v, %v", v, err)
	}
}

func TestDense(t *testing.T) {
	values := NewFloatTensor("s", []int{2}, []float32{3, 4})
	for name, c := range map[string]struct {
		indices *TensorProto
		dims    []int64
		want    []float32
		err     string
	}{
		"linear":    {NewInt64Tensor("", []int{2}, []int64{1, 5}), []int64{2, 3}, []float32{0, 3, 0, 0, 0, 4}, ""},
		"pairs":     {NewInt64Tensor("", []int{2, 2}, []int64{0, 1, 1, 2}), []int64{2, 3}, []float32{0, 3, 0, 0, 0, 4}, ""},
		"descend":   {NewInt64Tensor("", []int{2}, []int64{5, 1}), []int64{2, 3}, nil, "index 1 is 1 after 5, indices must ascend"},
		"twice":     {NewInt64Tensor("", []int{2}, []int64{1, 1}), []int64{2, 3}, nil, "index 1 is 1 after 1"},
		"negative":  {NewInt64Tensor("", []int{2}, []int64{-1, 1}), []int64{2, 3}, nil, "index 0 is -1"},
		"beyond":    {NewInt64Tensor("", []int{2}, []int64{1, 6}), []int64{2, 3}, nil, "index 1 is 6, shape [2,3] has 6 elements"},
		"outside":   {NewInt64Tensor("", []int{2, 2}, []int64{0, 3, 1, 0}), []int64{2, 3}, nil, "coordinate 3 in dimension 1 of 3"},
		"mismatch":  {NewInt64Tensor("", []int{3}, []int64{0, 1, 2}), []int64{2, 3}, nil, "indices have shape [3]"},
		"too large": {NewInt64Tensor("", []int{2}, []int64{1, 5}), []int64{1 << 40}, nil, "too large for 24 bytes"},
	} {
		d, err := Dense(&SparseTensorProto{Values: values, Indices: c.indices, Dims: c.dims}, nil)
		if c.err != "" {
			if err == nil || !strings.HasPrefix(err.Error(), `sparse tensor "s": `) || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want %s", name, err, c.err)
			}
			continue
		}
		check(t, err)
		if _, v, err := Float32s(d, nil); err != nil || !slices.Equal(v, c.want) {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
}
