package op

import (
	"fmt"
	"math"
)

// RotaryEmbedding turns pairs (a, b) of elements of every head by an angle θ of their
// position: (a·cos θ − b·sin θ, a·sin θ + b·cos θ). A pair is elements i and i+R/2 of the
// first R, or 2i and 2i+1 with interleaved; the elements from R (rotary_embedding_dim, 0
// for all) on stay. x [B,H,L,D], or [B,L,H·D] with num_heads. cos and sin (inputs 1 and
// 2) are [P,R/2] for positions (input 3) [B,L], or [B,L,R/2] without.
// https://onnx.ai/onnx/operators/onnx__RotaryEmbedding.html
func init() {
	turned := Attrs{"interleaved": IntAttr(1)}
	positions := Const(Ints([]int64{0, 3, 1, 2, 2, 4}, 2, 3))
	Register(Def{
		Name: "RotaryEmbedding", Since: 23,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			f := &rotary{interleaved: r.Bool("interleaved", false), heads: r.Int("num_heads", 0), dim: r.Int("rotary_embedding_dim", 0)}
			if min(f.heads, f.dim) < 0 || max(f.heads, f.dim) > math.MaxInt32 {
				r.keep(fmt.Errorf("%d heads, %d elements to turn, wants positive numbers", f.heads, f.dim))
			}
			return f, r.err
		},
		Reference: refRotary,
		Cases: []Case{
			{In: []Arg{Rand(2, 2, 3, 4), Rand(5, 2), Rand(5, 2), positions}},
			{Name: "interleaved", Attrs: turned, In: []Arg{Rand(2, 2, 3, 4), Rand(5, 2), Rand(5, 2), positions}},
			{Name: "no positions", In: []Arg{Rand(2, 2, 3, 4), Rand(2, 3, 2), Rand(2, 3, 2)}},
			{Name: "part", Attrs: Attrs{"rotary_embedding_dim": IntAttr(4), "num_heads": IntAttr(2)}, In: []Arg{Rand(2, 3, 12), Rand(5, 2), Rand(5, 2), positions}},
			{Name: "3d", Attrs: Attrs{"num_heads": IntAttr(3), "interleaved": IntAttr(1)}, In: []Arg{Rand(1, 3, 12), Rand(1, 3, 2), Rand(1, 3, 2)}},
		},
	})
}

type rotary struct {
	interleaved bool
	heads, dim  int
}

// dims returns B, H, L, D and R, and the strides of the first three in x.
func (f *rotary) dims(x *Tensor) (b, h, l, d, r int, str [3]int, err error) {
	switch s := x.Shape; {
	case len(s) == 4:
		b, h, l, d = s[0], s[1], s[2], s[3]
		str = [3]int{h * l * d, l * d, d}
	case len(s) == 3 && f.heads > 0 && s[2]%f.heads == 0:
		b, h, l, d = s[0], f.heads, s[1], s[2]/f.heads
		str = [3]int{l * h * d, d, h * d}
	default:
		err = fmt.Errorf("input has shape %s, wants rank 4, or rank 3 with a last axis for %d heads", ShapeString(s), f.heads)
	}
	if r = f.dim; r == 0 {
		r = d
	}
	if err == nil && (r > d || r%2 != 0) {
		err = fmt.Errorf("%d of %d elements are to turn, wants an even number", r, d)
	}
	return b, h, l, d, r, str, err
}

func (f *rotary) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 3, 4); err != nil {
		return nil, err
	}
	if err := wantFloats(in[:3]); err != nil {
		return nil, err
	}
	b, _, l, _, r, _, err := f.dims(in[0])
	if err != nil {
		return nil, err
	}
	want := []int{b, l, r / 2}
	if hasInput(in, 3) {
		if err := wantIndex(3, in[3]); err != nil {
			return nil, err
		}
		if err := wantShape(3, in[3], []int{b, l}); err != nil {
			return nil, err
		}
		if in[1].Rank() != 2 {
			return nil, fmt.Errorf("input 1 has shape %s, wants rank 2", ShapeString(in[1].Shape))
		}
		want = []int{in[1].Shape[0], r / 2}
		if err := f.check(in); err != nil {
			return nil, err
		}
	}
	for i := 1; i < 3; i++ {
		if err := wantShape(i, in[i], want); err != nil {
			return nil, err
		}
	}
	return []*Tensor{Info(in[0].Type, in[0].Shape...)}, nil
}

// check refuses positions that the tables lack.
func (f *rotary) check(in []*Tensor) error {
	if !hasInput(in, 3) {
		return nil
	}
	for _, p := range in[3].I {
		if p < 0 || p >= int64(in[1].Shape[0]) {
			return fmt.Errorf("position %d, the tables have %d", p, in[1].Shape[0])
		}
	}
	return nil
}

// turn calls g for every run of pairs that share a position: the offset of the run, the
// elements per head, half the elements to turn, and the offset in the tables.
func (f *rotary) turn(c *Context, in []*Tensor, x *Tensor, g func(o, d, half, at int)) {
	b, h, l, d, r, str, err := f.dims(x)
	if err != nil {
		return
	}
	c.Parallel(b*h*l, 4*d, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			n, k, t := i/(h*l), i/l%h, i%l
			at := n*l + t
			if hasInput(in, 3) {
				at = int(in[3].I[at])
			}
			g(n*str[0]+k*str[1]+t*str[2], d, r/2, at*r/2)
		}
	})
}

// pair returns the offsets of the elements of pair i.
func (f *rotary) pair(i, half int) (a, b int) {
	if f.interleaved {
		return 2 * i, 2*i + 1
	}
	return i, i + half
}

func (f *rotary) Forward(c *Context, in, out []*Tensor) error {
	if err := f.check(in); err != nil {
		return err
	}
	x, y, cos, sin := in[0].F, out[0].F, in[1].F, in[2].F
	f.turn(c, in, in[0], func(o, d, half, at int) {
		copy(y[o:o+d], x[o:])
		for i := range half {
			a, b := f.pair(i, half)
			u, v, cs, sn := x[o+a], x[o+b], cos[at+i], sin[at+i]
			y[o+a], y[o+b] = u*cs-v*sn, u*sn+v*cs
		}
	})
	return nil
}

// Links joins samples and, on an axis of their own, heads.
func (f *rotary) Links(in, out []*Tensor) []Link {
	if in[0].Rank() != 4 {
		return nil
	}
	return []Link{{{0, 1}, {^0, 1}}}
}

func (f *rotary) Reads() (in, out uint32) { return 1<<0 | 1<<1 | 1<<2 | 1<<3, 0 }

// Backward turns back; the tables get dy·x and dy·(−b, a) of all that they turned.
func (f *rotary) Backward(c *Context, in, out, dout, din []*Tensor) error {
	x, dy, cos, sin := in[0].F, dout[0].F, in[1].F, in[2].F
	if din[0] != nil {
		dx := din[0].F
		f.turn(c, in, in[0], func(o, d, half, at int) {
			copy(dx[o:o+d], dy[o:])
			for i := range half {
				a, b := f.pair(i, half)
				u, v, cs, sn := dy[o+a], dy[o+b], cos[at+i], sin[at+i]
				dx[o+a], dx[o+b] = u*cs+v*sn, v*cs-u*sn
			}
		})
	}
	for k, dst := range din[1:] {
		if dst == nil || k > 1 {
			continue
		}
		clear(dst.F)
		f.turn(nil, in, in[0], func(o, d, half, at int) {
			for i := range half {
				a, b := f.pair(i, half)
				if k == 0 {
					dst.F[at+i] += dy[o+a]*x[o+a] + dy[o+b]*x[o+b]
				} else {
					dst.F[at+i] += dy[o+b]*x[o+a] - dy[o+a]*x[o+b]
				}
			}
		})
	}
	return nil
}

func refRotary(n Node, in []*Array) []*Array {
	r := &reader{n: n}
	x := in[0]
	y := NewArray(x.Shape...)
	Each(x.Shape, func(i []int) {
		d := x.Shape[len(x.Shape)-1]
		e, t := i[len(i)-1], 0
		first := append([]int{}, i...)
		if len(x.Shape) == 3 {
			d /= r.Int("num_heads", 0)
			e %= d
			t = i[1]
		} else {
			t = i[2]
		}
		rot := r.Int("rotary_embedding_dim", 0)
		if rot == 0 {
			rot = d
		}
		v := x.V[x.At(i...)]
		if e < rot {
			pair, second, step := e%(rot/2), e >= rot/2, rot/2
			if r.Int("interleaved", 0) != 0 {
				pair, second, step = e/2, e%2 == 1, 1
			}
			var c, s float64
			if len(in) > 3 && in[3] != nil {
				p := int(in[3].V[in[3].At(i[0], t)])
				c, s = in[1].V[in[1].At(p, pair)], in[2].V[in[2].At(p, pair)]
			} else {
				c, s = in[1].V[in[1].At(i[0], t, pair)], in[2].V[in[2].At(i[0], t, pair)]
			}
			if second {
				first[len(i)-1] -= step
				v = v*c + x.V[x.At(first...)]*s
			} else {
				first[len(i)-1] += step
				v = v*c - x.V[x.At(first...)]*s
			}
		}
		y.V[y.At(i...)] = v
	})
	return []*Array{y}
}
