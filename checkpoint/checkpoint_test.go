package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

func sampleState() *State {
	s := &State{Run: json.RawMessage(`{"a":1}`), Position: json.RawMessage(`[2]`)}
	s.AddFloats("x", []float32{1, float32(math.Inf(-1)), float32(math.Copysign(0, -1))})
	s.AddDoubles("y", []float64{math.NaN(), math.Pi})
	s.AddBits("z", 9, func(i int) bool { return i%3 == 0 })
	s.AddFloats("again", []float32{1, float32(math.Inf(-1)), float32(math.Copysign(0, -1))})
	s.AddFloats("none", nil)
	s.AddFloats("\xff\x00", []float32{7})
	return s
}

func encoded(t interface{ Fatal(...any) }, s *State) []byte {
	var b bytes.Buffer
	n, err := s.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatal(n, b.Len(), err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	b := encoded(t, sampleState())
	s, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if again := encoded(t, s); !bytes.Equal(again, b) {
		t.Errorf("written again it has %d bytes, had %d", len(again), len(b))
	}
	x, y, n := make([]float32, 3), make([]float64, 2), make([]float32, 1)
	var z []bool
	err = errors.Join(s.Floats("again", x), s.Doubles("y", y), s.Bits("z", 9, func(_ int, v bool) { z = append(z, v) }), s.Floats("none", nil), s.Floats("\xff\x00", n))
	if err != nil {
		t.Fatal(err)
	}
	if !math.IsInf(float64(x[1]), -1) || math.Float32bits(x[2]) != 1<<31 || !math.IsNaN(y[0]) || y[1] != math.Pi || n[0] != 7 {
		t.Errorf("read %v %v %v", x, y, n)
	}
	if !slices.Equal(z, []bool{true, false, false, true, false, false, true, false, false}) {
		t.Errorf("bits %v", z)
	}
	if string(s.Run) != `{"a":1}` || string(s.Position) != `[2]` {
		t.Errorf("%s %s", s.Run, s.Position)
	}
	// Equal vectors are stored once.
	var m manifest
	if err := json.Unmarshal(b[headerSize:headerSize+binary.LittleEndian.Uint64(b[16:])], &m); err != nil {
		t.Fatal(err)
	}
	if len(m.Tensors) != 6 || len(m.Blobs) != 5 {
		t.Errorf("%d tensors in %d blobs", len(m.Tensors), len(m.Blobs))
	}
	for want, err := range map[string]error{
		`"w" is missing`: s.Floats("w", x),
		`"x" has 3 elements of type float32, wants 2 of type float32`: s.Floats("x", x[:2]),
		`"x" has 3 elements of type float32, wants 3 of type float64`: s.Doubles("x", make([]float64, 3)),
	} {
		if err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// TestEveryByteCounts: a file that was cut anywhere, or has one bit changed, is refused.
func TestEveryByteCounts(t *testing.T) {
	b := encoded(t, sampleState())
	for n := range b {
		if _, err := Parse(b[:n]); err == nil {
			t.Fatalf("cut to %d of %d bytes it is read", n, len(b))
		}
	}
	if _, err := Parse(append(slices.Clone(b), 0)); err == nil {
		t.Error("with a byte more it is read")
	}
	rapid.Check(t, func(t *rapid.T) {
		c := slices.Clone(b)
		at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
		c[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := Parse(c); err == nil {
			t.Fatalf("with byte %d changed it is read", at)
		}
	})
}

// withManifest is a file whose hash of the manifest holds.
func withManifest(text string, rest ...byte) []byte {
	b := append([]byte(magic), 1, 0, 0, 0, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(text)))
	sum := sha256.Sum256([]byte(text))
	return append(append(append(b, sum[:]...), text...), rest...)
}

var nothing = fmt.Sprintf("%x", sha256.Sum256(nil))

// bad are manifests that nobody of ours writes.
var bad = map[string]string{
	`nonsense`:    "manifest: invalid character",
	`{} {}`:       "more than one JSON value",
	`{"extra":1}`: "unknown field",
	`{"blobs":[{"bytes":-1,"sha256":"` + nothing + `"}]}`: "-1 bytes",
	`{"blobs":[{}]}`: "0 bytes with SHA-256",
	`{"blobs":[{"bytes":9223372036854775807,"sha256":"` + nothing + `"}]}`: "the file was cut",
	`{"blobs":{}}`: "no list",
	`{"tensors":[{"name":"a","type":"float32","count":-4,"blob":0}]}`:                                                                                          "-4 elements",
	`{"tensors":[{"name":"a","type":"float32","count":4611686018427387904,"blob":0}]}`:                                                                         "4611686018427387904 elements",
	`{"tensors":[{"name":"a","type":"int8","count":0,"blob":0}]}`:                                                                                              `type "int8"`,
	`{"tensors":[{"name":"a","type":"bit","count":0,"blob":0}]}`:                                                                                               "is in blob 0, there are 0",
	`{"blobs":[{"bytes":0,"sha256":"` + nothing + `"}],"tensors":[{"name":"a","type":"bit","count":9223372036854775807,"blob":0}]}`:                            "takes 1152921504606846976 bytes, its blob has 0",
	`{"blobs":[{"bytes":0,"sha256":"` + nothing + `"}],"tensors":[{"name":"a","type":"bit","count":0,"blob":0},{"name":"a","type":"bit","count":0,"blob":0}]}`: "is there twice",
}

func TestBadManifests(t *testing.T) {
	for text, want := range bad {
		if _, err := Parse(withManifest(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", text, err, want)
		}
	}
	b := withManifest(`{}`)
	b[8] = 2
	if _, err := Parse(b); err == nil || err.Error() != "format version 2, this program reads version 1" {
		t.Errorf("error %v", err)
	}
}

func write(t *testing.T, d *Dir, n int) {
	t.Helper()
	s := sampleState()
	s.AddFloats("x", []float32{float32(n)})
	if err := d.Write(s); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestDir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	d := open(t, path)
	if _, _, err := Latest(path); !errors.Is(err, ErrNone) {
		t.Errorf("error %v", err)
	}
	for n := range 4 {
		write(t, d, n)
	}
	if _, err := OpenDir(path); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("another onnxprune (process %d) is writing it", os.Getpid())) {
		t.Errorf("error %v", err)
	}
	d.Close()
	os.WriteFile(filepath.Join(path, ".checkpoint-00000009.ckpt.77.0.tmp"), nil, 0o666)
	os.WriteFile(filepath.Join(path, "checkpoint-x.ckpt"), nil, 0o666)
	d = open(t, path)
	write(t, d, 4)
	d.Close()
	if got := names(t, path); !slices.Equal(got, []string{"checkpoint-00000004.ckpt", "checkpoint-00000005.ckpt", "checkpoint-x.ckpt"}) {
		t.Errorf("files %v", got)
	}
	last := filepath.Join(path, "checkpoint-00000005.ckpt")
	x := make([]float32, 1)
	s, name, err := Latest(path)
	if err != nil || name != last || s.Floats("x", x) != nil || x[0] != 4 {
		t.Errorf("%s has %v, error %v", name, x, err)
	}
	if err := os.Truncate(last, 100); err != nil {
		t.Fatal(err)
	}
	before := filepath.Join(path, "checkpoint-00000004.ckpt")
	_, _, err = Latest(path)
	if err == nil || !strings.HasPrefix(err.Error(), last+": no good checkpoint: ") || !strings.HasSuffix(err.Error(), "\nhint: the last good checkpoint is "+before+", onnxprune resume "+before+" goes on from it") {
		t.Errorf("error %v", err)
	}
	if err := os.Truncate(before, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err = Latest(path); err == nil || !strings.HasSuffix(err.Error(), "\nhint: there is no other good checkpoint in "+path+", start the run again") {
		t.Errorf("error %v", err)
	}
	d = open(t, path)
	if err := d.Write(&State{Complete: true}); err != nil {
		t.Fatal(err)
	}
	if s, _, err := Latest(path); err != nil || !s.Complete {
		t.Errorf("%v, error %v", s, err)
	}
}

// TestFullDisk: the checkpoints before the one that does not fit stay as they were.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("mounting a small tmpfs: ", err)
	}
	defer syscall.Unmount(dir, 0)
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	write(t, d, 1)
	s := sampleState()
	s.AddFloats("large", make([]float32, 1<<16))
	if err := d.Write(s); !errors.Is(err, syscall.ENOSPC) || !strings.HasPrefix(err.Error(), filepath.Join(dir, "checkpoint-00000002.ckpt")+": ") {
		t.Errorf("error %v", err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{".checkpoints.lock", "checkpoint-00000001.ckpt"}) {
		t.Errorf("files %v", got)
	}
	if _, _, err := Latest(dir); err != nil {
		t.Error(err)
	}
	write(t, d, 2)
}
