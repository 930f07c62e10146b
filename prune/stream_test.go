package prune

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/onnxprune/onnxprune/internal/kernel"
	"pgregory.net/rapid"
)

// floats is a Source of float32 elements in memory.
type floats []float32

func (f floats) Read(p []byte, first int) error {
	for i := range len(p) / 4 {
		binary.LittleEndian.PutUint32(p[4*i:], math.Float32bits(f[first+i]))
	}
	return nil
}

func (f floats) Magnitudes(to []uint32, p []byte) {
	for i := range to {
		to[i] = binary.LittleEndian.Uint32(p[4*i:]) &^ (1 << 31)
	}
}

func (f floats) Pattern(key uint32) uint32 { return min(key, 1<<31) }

// stream makes one of slices, in portions of an odd size.
func stream(pool *kernel.Pool, slices [][]float32, size int) *Stream {
	s := &Stream{name: "test.onnx", pool: pool}
	for i, v := range slices {
		s.Layers = append(s.Layers, StreamLayer{Name: string(rune('a' + i)), Source: floats(v), Len: len(v), Size: 4, decoding: new(sync.Once)})
		for lo := 0; lo < len(v); lo += size {
			s.chunks = append(s.chunks, portion{i, lo, min(len(v), lo+size)})
		}
		s.total += len(v)
	}
	return s
}

// TestStreamSelects compares with the definition: sort by magnitude, of equal ones the first stay.
func TestStreamSelects(t *testing.T) {
	pool := kernel.NewPool(3)
	defer pool.Close()
	rapid.Check(t, func(t *rapid.T) {
		element := rapid.OneOf(
			rapid.SampledFrom([]float32{0, 1, -1, 0.5, float32(math.Copysign(0, -1)), 1e-40, -1e-40, math.MaxFloat32, float32(math.Inf(-1))}),
			rapid.Float32Range(-2, 2))
		v := rapid.SliceOfN(rapid.SliceOfN(element, 1, 40), 1, 4).Draw(t, "slices")
		total := 0
		for _, x := range v {
			total += len(x)
		}
		k := rapid.IntRange(1, total).Draw(t, "k")
		want := sortedMask(v, k, func(x float32) float32 { return float32(math.Abs(float64(x))) })
		s := stream(pool, v, rapid.IntRange(1, 30).Draw(t, "portion"))
		if err := s.Select(k, nil); err != nil {
			t.Fatal(err)
		}
		got := make([][]float32, len(v))
		for i := range v {
			got[i] = make([]float32, len(v[i]))
		}
		var mu sync.Mutex
		if err := s.Mask(func(layer int, p []byte, first int) error {
			mu.Lock()
			defer mu.Unlock()
			for i := range len(p) / 4 {
				got[layer][first+i] = math.Float32frombits(binary.LittleEndian.Uint32(p[4*i:]))
			}
			return nil
		}, nil); err != nil {
			t.Fatal(err)
		}
		for i := range v {
			nonzero := 0
			for j, x := range v[i] {
				if want[i][j] == 0 {
					x = 0
				}
				if math.Float32bits(x) != math.Float32bits(got[i][j]) {
					t.Fatalf("layer %d, element %d is %g, want %g", i, j, got[i][j], x)
				}
				if x != 0 {
					nonzero++
				}
			}
			if s.Layers[i].Kept != nonzero {
				t.Fatalf("layer %d keeps %d, want %d", i, s.Layers[i].Kept, nonzero)
			}
		}
		open := func(name string) (Source, error) { return floats(got[name[0]-'a']), nil }
		if err := s.Check(open); err != nil {
			t.Fatal(err)
		}
		// Any change is found.
		layer := rapid.IntRange(0, len(v)-1).Draw(t, "layer")
		at := rapid.IntRange(0, len(v[layer])-1).Draw(t, "at")
		got[layer][at] += 0.25
		if x := got[layer][at]; x == x && !math.IsInf(float64(x), 0) && x < 1e30 && s.Check(open) == nil {
			t.Fatalf("a changed element passes the check")
		}
	})
}

// TestStreamLarge has a sample, a bracket, and distributions that mislead it.
func TestStreamLarge(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	const n = 1 << 22
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i%4096) - 2047.5
	}
	sorted := slices.Clone(v)
	for i, x := range sorted {
		sorted[i] = max(x, -x)
	}
	slices.Sort(sorted)
	ramp := slices.Clone(v)
	for i := range ramp {
		ramp[i] = 1 + float32(i%16384)/(1<<23) // neighbours alike: the sample sees few values
	}
	for _, x := range []struct {
		name   string
		values []float32
		ratio  float64
	}{{"steps", v, 0.8}, {"few", v, 0.9999}, {"ramp", ramp, 0.5}} {
		s := stream(pool, [][]float32{x.values}, portionSize)
		k := s.Keep(x.ratio)
		if err := s.Select(k, nil); err != nil {
			t.Fatal(err)
		}
		above, equal := 0, 0
		for _, y := range x.values {
			switch key := math.Float32bits(max(y, -y)); {
			case key > s.threshold:
				above++
			case key == s.threshold:
				equal++
			}
		}
		if above >= k || above+equal < k || s.ties != k-above {
			t.Errorf("%s: threshold %x: %d above, %d equal, %d of them stay, want %d", x.name, s.threshold, above, equal, s.ties, k)
		}
	}
}

func TestStreamNaN(t *testing.T) {
	pool := kernel.NewPool(2)
	defer pool.Close()
	nan := float32(math.NaN())
	s := stream(pool, [][]float32{{1, 2}, {1, 2, 3, nan, 5, nan}}, 2)
	err := s.Select(3, nil)
	if err == nil || !strings.Contains(err.Error(), `test.onnx: initializer "b": element 3 is NaN`) {
		t.Errorf("error %v", err)
	}
}

// TestCountFloats compares both ways of counting float32, on all kernel variants: lengths around
// whole blocks and words, zeros, infinities and NaNs.
func TestCountFloats(t *testing.T) {
	active := kernel.Active()
	defer kernel.Force(active)
	for _, variant := range kernel.Variants() {
		if err := kernel.Force(variant); err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(3, 3))
		for _, n := range []int{2, 6, 14, 16, 18, 62, 64, 66, markSize - 2, markSize, markSize + 2, 3*markSize + 22} {
			v := kernel.Floats(n)
			for i := range v {
				switch rng.IntN(12) {
				case 0:
					v[i] = 0
				case 1:
					v[i] = float32(math.Copysign(0, -1))
				case 2:
					v[i] = float32(math.Inf(1 - 2*rng.IntN(2)))
				case 3:
					v[i] = float32(math.NaN())
				default:
					v[i] = float32(rng.NormFloat64())
				}
			}
			p := make([]byte, 4*n)
			for i, x := range v {
				binary.LittleEndian.PutUint32(p[4*i:], math.Float32bits(x))
			}
			for _, bounds := range [][2]float32{{0.5, 1}, {0, 0.25}, {1, 1}, {2, float32(math.Inf(1))}} {
				lo, hi := magnitude.Key(bounds[0]), magnitude.Key(bounds[1])
				type counts struct {
					nonzero, above, nan int
					near                []uint32
				}
				var a, b counts
				a.nonzero, a.above, a.nan = countFloats(v, lo, hi, func(key uint32) { a.near = append(a.near, key) })
				b.nonzero, b.above, b.nan = lanes32.count(p, lo, hi+1, infinity+1, func(key uint32) { b.near = append(b.near, key) })
				a.nan, b.nan = min(a.nan, 1), min(b.nan, 1)
				if !reflect.DeepEqual(a, b) {
					t.Fatalf("%s, %d elements from %v to %v: %v, want %v", variant, n, bounds[0], bounds[1], a, b)
				}
			}
		}
	}
	aligned, b := 0, make([]byte, 12)
	for i := range 4 {
		if kernel.AsFloats(b[i:]) != nil {
			aligned++
		}
	}
	if aligned > 1 {
		t.Errorf("%d of 4 neighbouring bytes begin a float, want 1", aligned)
	}
}
