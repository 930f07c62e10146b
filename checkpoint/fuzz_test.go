package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"runtime"
	"testing"
)

// FuzzParse reads any bytes as a checkpoint, as they are and with checksums that fit, so that what is behind them is
// reached: an error is fine, a panic is not, nor memory beyond a multiple of the file, and what is accepted comes out
// the same when it is written and read again.
func FuzzParse(f *testing.F) {
	s := &State{Run: json.RawMessage(`{"a":1}`), Position: json.RawMessage(`{"step":3}`)}
	s.AddFloats("w", []float32{1, 2, 3})
	s.AddDoubles("d", []float64{1, 2})
	s.AddBits("m", 11, func(i int) bool { return i%3 == 0 })
	var b bytes.Buffer
	if _, err := s.WriteTo(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes(), false)
	f.Add(b.Bytes(), true)
	f.Add(b.Bytes()[:b.Len()-1], false)
	for text := range bad {
		f.Add(withManifest(text), false)
	}
	f.Fuzz(func(t *testing.T, file []byte, repair bool) {
		if repair && len(file) >= headerSize {
			file = bytes.Clone(file)
			copy(file, magic)
			binary.LittleEndian.PutUint32(file[8:], Version)
			binary.LittleEndian.PutUint32(file[12:], 0)
			size := min(binary.LittleEndian.Uint64(file[16:]), uint64(len(file)-headerSize))
			binary.LittleEndian.PutUint64(file[16:], size)
			sum := sha256.Sum256(file[headerSize : headerSize+int(size)])
			copy(file[24:], sum[:])
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s, err := Parse(file)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > uint64(200*len(file)+1<<20) {
			t.Fatalf("%d bytes allocated for a file of %d", n, len(file))
		}
		if err != nil {
			return
		}
		var once, twice bytes.Buffer
		if _, err := s.WriteTo(&once); err != nil {
			t.Fatal(err)
		}
		again, err := Parse(once.Bytes())
		if err != nil {
			t.Fatalf("written and not read: %v", err)
		}
		if _, err := again.WriteTo(&twice); err != nil || !bytes.Equal(once.Bytes(), twice.Bytes()) {
			t.Fatalf("written again it differs: %v", err)
		}
	})
}
