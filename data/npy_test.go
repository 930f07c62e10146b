package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// npyFile is an NPY file of the given version around a dictionary and elements.
func npyFile(major byte, dict string, body []byte) []byte {
	out := []byte{0x93, 'N', 'U', 'M', 'P', 'Y', major, 0}
	if major == 1 {
		out = binary.LittleEndian.AppendUint16(out, uint16(len(dict)))
	} else {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(dict)))
	}
	return append(append(out, dict...), body...)
}

func TestReadHeader(t *testing.T) {
	body := make([]byte, 48)
	dict := "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }          \n"
	for _, c := range []struct {
		name string
		file []byte
		want Header
	}{
		{"1.0", npyFile(1, dict, body), Header{Float32, false, []int{3, 4}, int64(10 + len(dict))}},
		{"2.0", npyFile(2, dict, body), Header{Float32, false, []int{3, 4}, int64(12 + len(dict))}},
		{"3.0 other key order", npyFile(3, `{"shape":(6,),"fortran_order":True,"descr":"<i8"}`, body), Header{Int64, true, []int{6}, 61}},
		{"python 2 longs", npyFile(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (48L, 1L), }\n", body), Header{Uint8, false, []int{48, 1}, 73}},
		{"scalar", npyFile(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (), }\n", body[:8]), Header{Float64, false, nil, 66}},
		{"no rows", npyFile(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (0, 4611686018427387904), }\n", nil), Header{Int32, false, []int{0, 4611686018427387904}, 88}},
	} {
		got, err := ReadHeader(bytes.NewReader(c.file), int64(len(c.file)))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
}

func TestReadHeaderErrors(t *testing.T) {
	body := make([]byte, 48)
	dict := func(s string) []byte { return npyFile(1, s, body) }
	good := npyFile(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }\n", body)
	for _, c := range []struct {
		file []byte
		want string
	}{
		{nil, "0 bytes, an NPY header needs at least 10"},
		{good[:11], "the NPY header alone needs 70"},
		{good[:len(good)-1], "47 bytes of elements, shape [3 4] of float32 needs 48"},
		{append(bytes.Clone(good), 0), "49 bytes of elements, shape [3 4] of float32 needs only 48"},
		{append([]byte("PK\x03\x04"), body...), "not an NPY file"},
		{npyFile(4, "{}", body), "NPY version 4.0 is not known"},
		{npyFile(2, "{}", body)[:11], "needs at least 12"},
		{[]byte("\x93NUMPY\x02\x00\xff\xff\xff\xff{}"), "NPY header of 4294967295 bytes"},
		{dict("{}"), `key "descr" is missing`},
		{dict("{'descr': '<f4', 'shape': (12,)}"), `key "fortran_order" is missing`},
		{dict("{'descr': '<f4', 'descr': '<f4'}"), `key "descr" twice`},
		{dict("{'descr': '>f4', 'fortran_order': False, 'shape': (12,)}"), `dtype ">f4" is not supported`},
		{dict("{'descr': '|b1', 'fortran_order': False, 'shape': (48,)}"), `dtype "|b1" is not supported`},
		{dict("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (12,)}"), "structured dtypes"},
		{dict("{'descr': '<f4', 'fortran_order': 0, 'shape': (12,)}"), "neither True nor False"},
		{dict("{'descr': '<f4', 'fortran_order': False, 'shape': 12}"), "shape is not a tuple"},
		{dict("{'descr': '<f4', 'fortran_order': False, 'shape': (-12,)}"), "no dimension at"},
		{dict("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}"), "no dimension at"},
		{dict("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807)}"), "needs more than"},
		{dict("{'descr': '<f4', 'fortran_order': False, 'shape': (" + strings.Repeat("1,", 65) + ")}"), "more than 64 dimensions"},
		{dict("{'descr': '<f4', 'fortran_order': False, 'shape': (3 4)}"), "no comma between dimensions"},
		{dict("{'descr': '<f4', 'fortran_order': False, 'shape': (12,), 'x': 1}"), `unknown key "x"`},
		{dict("{'descr': '<f4', 'fortran_order': False, 'shape': (12,)} {"), "after the dictionary"},
		{dict("{'descr': '<f4' 'shape': (12,)}"), `no comma after the value of "descr"`},
		{dict("{'descr' '<f4'}"), `no colon after key "descr"`},
		{dict("{'descr"), "string without an end"},
		{dict("[]"), "no dictionary"},
	} {
		_, err := ReadHeader(bytes.NewReader(c.file), int64(len(c.file)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: error %v, want %q", c.file, err, c.want)
		}
	}
	if _, err := ReadHeader(bytes.NewReader(good), int64(len(good)-4)); !errors.Is(err, ErrTruncated) {
		t.Errorf("short file: error %v does not wrap ErrTruncated", err)
	}
}

func FuzzReadHeader(f *testing.F) {
	f.Add(npyFile(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }\n", make([]byte, 48)))
	f.Add(npyFile(2, "{'descr': '|u1', 'fortran_order': True, 'shape': (2,), }\n", make([]byte, 2)))
	f.Fuzz(func(t *testing.T, file []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		h, err := ReadHeader(bytes.NewReader(file), int64(len(file)))
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Fatalf("%d bytes allocated for a file of %d", n, len(file))
		}
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("error of more than one line: %q", err)
			}
			return
		}
		n := h.DType.Size()
		for _, d := range h.Shape {
			n *= d
		}
		if h.Offset+int64(n) != int64(len(file)) {
			t.Fatalf("%+v does not describe a file of %d bytes", h, len(file))
		}
		if head, err := formatHeader(h); err == nil {
			back, err := ReadHeader(bytes.NewReader(append(head, file[h.Offset:]...)), int64(len(head)+n))
			if err != nil || back.DType != h.DType || back.Fortran != h.Fortran || !reflect.DeepEqual(back.Shape, h.Shape) {
				t.Fatalf("written again: %+v, %v; want %+v", back, err, h)
			}
		}
	})
}
