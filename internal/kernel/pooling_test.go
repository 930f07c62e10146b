package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func TestPooling(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	for _, s := range []PoolShape{
		{N: 2, H: 8, W: 8, C: 5, OH: 4, OW: 4, KH: 2, KW: 2, StrideH: 2, StrideW: 2, DilH: 1, DilW: 1},
		{N: 2, H: 7, W: 9, C: 17, OH: 4, OW: 5, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadTop: 1, PadLeft: 1, DilH: 1, DilW: 1},
		{N: 1, H: 9, W: 9, C: 16, OH: 7, OW: 7, KH: 2, KW: 2, StrideH: 1, StrideW: 1, DilH: 2, DilW: 2},
		{N: 3, H: 4, W: 4, C: 33, OH: 1, OW: 1, KH: 4, KW: 4, StrideH: 1, StrideW: 1, DilH: 1, DilW: 1},
	} {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			eachVariant(t, func(t *testing.T) { testPooling(t, p, s) })
		})
	}
}

func testPooling(t *testing.T, p *Pool, s PoolShape) {
	r := rand.New(rand.NewPCG(19, 20))
	in, out := s.N*s.H*s.W*s.C, s.N*s.OH*s.OW*s.C
	x, dy := randoms(r, in), randoms(r, out)
	y, plain := newGuarded(out, 1), newGuarded(out, 2)
	arg := make([]int32, out)
	MaxPool(p, y.v, arg, x, s)
	MaxPool(p, plain.v, nil, x, s)
	same(t, "max without argmax", y.v, plain.v)
	avg, avgPad := newGuarded(out, 3), newGuarded(out, 4)
	AvgPool(p, avg.v, x, s, false)
	AvgPool(p, avgPad.v, x, s, true)
	dmax, davg, davgPad := newSum(in), newSum(in), newSum(in)
	for o := range out {
		n, px, c := o/(s.OH*s.OW*s.C), o/s.C%(s.OH*s.OW), o%s.C
		best, sum, count, where := float32(math.Inf(-1)), 0.0, 0, -1
		s.taps(px/s.OW, px%s.OW, func(i int) {
			v := x[(n*s.H*s.W+i)*s.C+c]
			if v > best {
				best, where = v, i
			}
			sum += float64(v)
			count++
		})
		if y.v[o] != best || arg[o] != int32(where) {
			t.Fatalf("max[%d] = %v at %d, want %v at %d", o, y.v[o], arg[o], best, where)
		}
		dmax.add((n*s.H*s.W+where)*s.C+c, dy[o], 1)
		full := float64(s.KH * s.KW)
		compare(t, "average", []float32{avg.v[o], avgPad.v[o]}, []float64{sum / float64(count), sum / full}, []float64{1, 1})
		s.taps(px/s.OW, px%s.OW, func(i int) {
			k := (n*s.H*s.W+i)*s.C + c
			davg.add(k, dy[o], float32(1/float64(count)))
			davgPad.add(k, dy[o], float32(1/full))
		})
	}
	dx := newGuarded(in, 5)
	for _, g := range []struct {
		name string
		want sum
		f    func(add bool)
	}{
		{"max", dmax, func(add bool) { MaxPoolGrad(p, dx.v, dy, arg, s, add) }},
		{"average", davg, func(add bool) { AvgPoolGrad(p, dx.v, dy, s, false, add) }},
		{"padded average", davgPad, func(add bool) { AvgPoolGrad(p, dx.v, dy, s, true, add) }},
	} {
		g.f(false)
		compare(t, g.name, dx.v, g.want.v, g.want.size)
		g.f(true)
		compare(t, g.name+" twice", dx.v, g.want.times(2), g.want.size)
		dx.check(t, g.name)
	}
	for _, g := range []guarded{y, plain, avg, avgPad} {
		g.check(t, "output")
	}

	hw := s.H * s.W
	mean, back := newGuarded(s.N*s.C, 1), newGuarded(in, 2)
	GlobalAvgPool(p, mean.v, x, s.N, hw, s.C)
	want := newSum(s.N * s.C)
	for i, v := range x {
		want.add(i/(hw*s.C)*s.C+i%s.C, v, 1/float32(hw))
	}
	compare(t, "global average", mean.v, want.v, want.size)
	for _, add := range []bool{false, true} {
		GlobalAvgPoolGrad(p, back.v, mean.v, s.N, hw, s.C, add)
		f := float32(1)
		if add {
			f = 2
		}
		for i, v := range back.v {
			if w := f * mean.v[i/(hw*s.C)*s.C+i%s.C] / float32(hw); !equal(v, w, 1e-6) {
				t.Fatalf("global average gradient [%d] = %v, want %v", i, v, w)
			}
		}
	}
	back.check(t, "global average gradient")
}

func TestLayout(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	for _, d := range [][3]int{{1, 1, 1}, {2, 3, 50}, {3, 17, 33}, {1, 64, 49}} {
		n, c, hw := d[0], d[1], d[2]
		src := randoms(rand.New(rand.NewPCG(21, 22)), n*c*hw)
		mid, back := newGuarded(len(src), 1), newGuarded(len(src), 2)
		NCHWToNHWC(p, mid.v, src, n, c, hw)
		for i, v := range mid.v {
			if w := src[i/(c*hw)*c*hw+i%c*hw+i/c%hw]; v != w {
				t.Fatalf("%v: [%d] = %v, want %v", d, i, v, w)
			}
		}
		NHWCToNCHW(p, back.v, mid.v, n, c, hw)
		same(t, "round trip", back.v, src)
		mid.check(t, "channels last")
		back.check(t, "channels first")
	}
}
