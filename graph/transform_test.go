package graph

import (
	"math"
	"testing"

	"github.com/onnxprune/onnxprune/internal/onnxtest"
	"github.com/onnxprune/onnxprune/onnxio"
)

// table holds f(k,t) of count filters with length elements, filter by filter.
func table(count, length int, f func(k, t int) float64) []float32 {
	all := make([]float32, count*length)
	for i := range all {
		all[i] = float32(f(i/length, i%length))
	}
	return all
}

func transposed(f []float32, rows int) []float32 {
	cols := len(f) / rows
	return table(cols, rows, func(k, t int) float64 { return float64(f[t*cols+k]) })
}

// TestTransforms: what is taken for no learned weight, and what is not.
func TestTransforms(t *testing.T) {
	hann := func(t, n int) float64 { return 0.5 - 0.5*math.Cos(2*math.Pi*float64(t)/float64(n)) }
	angle := func(k, t, n int) float64 { return 2 * math.Pi * float64(k*t) / float64(n) }
	cosines := table(17, 32, func(k, t int) float64 { return hann(t, 32) * math.Cos(angle(k, t, 32)) })
	sines := table(17, 32, func(k, t int) float64 { return -hann(t, 32) * math.Sin(angle(k, t, 32)) })
	large := table(130, 128, func(k, t int) float64 {
		return math.Cos(angle(k%65, t, 128) + math.Pi/2*float64(k/65))
	})
	turns := table(34, 32, func(k, t int) float64 { return math.Cos(angle(k/2, t, 32) + math.Pi/2*float64(k%2)) })
	dct := table(13, 40, func(k, t int) float64 {
		scale := math.Sqrt(2.0 / 40)
		if k == 0 {
			scale = math.Sqrt(1.0 / 40)
		}
		return scale * math.Cos(math.Pi*float64(k)*(float64(t)+0.5)/40)
	})
	triangle := func(k, t int) float64 { // between ever wider edges
		edge := func(k int) float64 { return float64(k*(k-1)) / 3 }
		a, b, c := edge(k), edge(k+1), edge(k+2)
		return max(0, min((float64(t)-a)/max(b-a, 1e-9), (c-float64(t))/(c-b)))
	}
	mel := table(20, 129, triangle)
	noise := func(seed int) float64 { return math.Sin(float64(seed)*12.9898) * 43758.5453 }
	random := table(34, 32, func(k, t int) float64 { _, f := math.Modf(noise(k*32 + t)); return f })
	positive := table(20, 129, func(k, t int) float64 { _, f := math.Modf(noise(k*129 + t)); return math.Abs(f) })
	spoiled := table(34, 32, func(k, t int) float64 { return float64(turns[k*32+t]) * (1 + 0.01*float64(random[k*32+t])) })
	blur := table(6, 9, func(k, t int) float64 { return []float64{1, 2, 1, 2, 4, 2, 1, 2, 1}[t] / 16 })
	conv := func(f []float32, count int) func(b *onnxtest.Builder) string {
		return func(b *onnxtest.Builder) string {
			return b.Node("Conv", "y", []string{b.Input("x", -1, 1, 320), b.Floats("w", f, count, 1, len(f)/count)})
		}
	}
	matmul := func(f []float32, rows int) func(b *onnxtest.Builder) string {
		return func(b *onnxtest.Builder) string {
			return b.Node("MatMul", "y", []string{b.Input("x", -1, 5, int64(rows)), b.Floats("w", f, rows, len(f)/rows)})
		}
	}
	for _, c := range []struct {
		name string
		make func(b *onnxtest.Builder) string
		want string
	}{
		{"cosines then sines", conv(append(append([]float32{}, cosines...), sines...), 34), fourier},
		{"cosines alone", conv(cosines, 17), fourier},
		{"sines alone", conv(sines, 17), fourier},
		{"cosines and sines in turns", conv(turns, 34), fourier},
		{"larger than an outline has", conv(large, 130), fourier},
		{"as a matrix", matmul(transposed(cosines, 17), 32), fourier},
		{"in two dimensions", func(b *onnxtest.Builder) string {
			return b.Node("Conv", "y", []string{b.Input("x", -1, 1, 1, 320), b.Floats("w", cosines, 17, 1, 1, 32)})
		}, fourier},
		{"float16", func(b *onnxtest.Builder) string {
			y := conv(turns, 34)(b)
			half(b.Proto.Graph.Initializer[0], turns)
			return y
		}, fourier},
		{"cosine transform", matmul(transposed(dct, 13), 40), cosine},
		{"mel", matmul(transposed(mel, 20), 129), filterBank},
		{"mel by Gemm", func(b *onnxtest.Builder) string {
			return b.Node("Gemm", "y", []string{b.Input("x", -1, 129), b.Floats("w", mel, 20, 129)}, "transB", 1)
		}, filterBank},
		{"mel behind a transform", func(b *onnxtest.Builder) string {
			x := b.Node("Conv", "s", []string{b.Input("x", -1, 1, 320), b.Floats("dft", large[:65*128], 65, 1, 128)})
			return b.Node("MatMul", "y", []string{b.Floats("w", table(13, 65, triangle), 13, 65), x})
		}, filterBank},
		{"Fourier behind a learned layer", func(b *onnxtest.Builder) string {
			x := b.Node("Conv", "l", []string{b.Input("x", -1, 1, 320), b.Weight("learned", 1, 1, 1, 3)})
			return b.Node("Conv", "y", []string{x, b.Floats("w", cosines, 17, 1, 32)})
		}, ""},
		{"Fourier behind an embedding", func(b *onnxtest.Builder) string {
			b.Proto.Graph.Input = append(b.Proto.Graph.Input, onnxio.NewTensorValueInfo("ids", 7, []int64{1, 5}))
			x := b.Node("Gather", "e", []string{b.Weight("learned", 1, 10, 32), "ids"})
			return b.Node("MatMul", "y", []string{x, b.Floats("w", transposed(cosines, 17), 32, 17)})
		}, ""},
		{"random", conv(random, 34), ""},
		{"random and positive", matmul(transposed(positive, 20), 129), ""},
		{"one hundredth off", conv(spoiled, 34), ""},
		{"all one number", conv(table(34, 32, func(k, t int) float64 { return 0.1 }), 34), ""},
		{"nothing but zeros", conv(make([]float32, 34*32), 34), ""},
		{"identity", matmul(table(20, 20, func(k, t int) float64 {
			if k == t {
				return 1
			}
			return 0
		}), 20), ""},
		{"smoothing", func(b *onnxtest.Builder) string {
			x := b.Node("Conv", "l", []string{b.Input("x", -1, 3, 8, 8), b.Weight("learned", 1, 6, 3, 3, 3)})
			return b.Node("Conv", "y", []string{x, b.Floats("w", blur, 6, 1, 3, 3)}, "group", 6)
		}, smoothing},
		{"another filter for one channel", func(b *onnxtest.Builder) string {
			other := append(append([]float32{}, blur[:5*9]...), cosines[:9]...)
			return b.Node("Conv", "y", []string{b.Input("x", -1, 6, 8, 8), b.Floats("w", other, 6, 1, 3, 3)}, "group", 6)
		}, ""},
		{"averages, as an initialisation might be", func(b *onnxtest.Builder) string {
			same := table(6, 9, func(k, t int) float64 { return 1.0 / 9 })
			return b.Node("Conv", "y", []string{b.Input("x", -1, 6, 8, 8), b.Floats("w", same, 6, 1, 3, 3)}, "group", 6)
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := onnxtest.New(13, 1)
			b.Output(c.make(b))
			g := build(t, b)
			outline, err := Outline(b.Model(t), "test.onnx")
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range []*Graph{g, outline} {
				if dft := g.Value("dft"); dft != nil && dft.Transform != fourier {
					t.Errorf("what is before it is %q", dft.Transform)
				}
				w := g.Value("w")
				if w.Transform != c.want {
					t.Fatalf("is %q, want %q", w.Transform, c.want)
				}
				listed := false
				for _, x := range g.Weights() {
					listed = listed || x.Value == w
				}
				if trained := g.Roles()[w] == Trained; listed != (c.want == "") || trained != listed {
					t.Errorf("prunable is %v and trained %v", listed, trained)
				}
			}
		})
	}
}

// TestTablesOfSines: places in a sequence that were computed, beside learned ones.
func TestTablesOfSines(t *testing.T) {
	const places, width = 300, 16
	place := table(places, width, func(k, t int) float64 {
		return math.Sin(float64(float32(k)*float32(math.Pow(1e4, -float64(t/2*2)/width))) + math.Pi/2*float64(t%2))
	})
	rotary := table(places, width, func(k, t int) float64 { return math.Cos(float64(k) * math.Pow(1e4, -float64(t%8)/8)) })
	learned := table(places, width, func(k, t int) float64 { _, f := math.Modf(math.Sin(float64(k*width+t)*12.9898) * 43758.5453); return f })
	tuned := table(places, width, func(k, t int) float64 { return float64(place[k*width+t]) + 0.01*float64(learned[k*width+t]) })
	for _, c := range []struct {
		name     string
		operator string
		f        []float32
		shape    []int
		want     bool
	}{
		{"added", "Add", place, []int{1, places, width}, true},
		{"added, sequence first", "Add", place, []int{places, 1, width}, true},
		{"places last", "Mul", transposed(rotary, places), []int{1, width, places}, true},
		{"multiplied", "Mul", rotary, []int{places, width}, true},
		{"looked up", "Gather", place, []int{places, width}, true},
		{"learned", "Add", learned, []int{1, places, width}, false},
		{"learned and looked up", "Gather", learned, []int{places, width}, false},
		{"trained on from sines", "Add", tuned, []int{1, places, width}, false},
		{"one number for a place", "Mul", table(places, width, func(k, t int) float64 { return float64(learned[k]) }), []int{1, places, width}, false},
		{"ones", "Mul", table(places, width, func(k, t int) float64 { return 1 }), []int{1, places, width}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := onnxtest.New(13, 1)
			b.Floats("w", c.f, c.shape...)
			in := []string{b.Node("MatMul", "h", []string{b.Input("x", -1, 1), b.Weight("u", 1, 1, 1)}), "w"}
			if c.operator == "Gather" {
				b.Proto.Graph.Input = append(b.Proto.Graph.Input, onnxio.NewTensorValueInfo("ids", 7, []int64{-1}))
				in = []string{"w", "ids"}
			}
			y := b.Node(c.operator, "y", in)
			b.Output(b.Node("MatMul", "z", []string{y, b.Weight("v", 1, c.shape[len(c.shape)-1], 2)}))
			g := build(t, b)
			outline, err := Outline(b.Model(t), "test.onnx")
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range []*Graph{g, outline} {
				w := g.Value("w")
				if got := w.Transform == sines; got != c.want {
					t.Fatalf("a table of sines is %v, want %v", got, c.want)
				}
				if trained := g.Roles()[w] == Trained; trained == c.want {
					t.Errorf("trained is %v", trained)
				}
			}
		})
	}
}

// half stores elements as float16.
func half(x *onnxio.TensorProto, f []float32) {
	typ := int32(10)
	x.DataType, x.RawData = &typ, nil
	for _, v := range f {
		bits := math.Float32bits(v)
		exp := int(bits>>23&0xff) - 127
		var h uint16
		if exp >= -14 {
			h = uint16(exp+15)<<10 | uint16(bits>>13&0x3ff)
		}
		h |= uint16(bits >> 16 & 0x8000)
		x.RawData = append(x.RawData, byte(h), byte(h>>8))
	}
	x.FloatData = nil
}
