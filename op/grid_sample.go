package op

import (
	"fmt"
	"math"
)

// GridSample: y[n,c,o…] = x[n,c,·] at the place grid[n,o…,·], in [−1,1] along every axis,
// the last axis first: the nearest element, or linear or cubic between those around it.
// −1 and 1 are the centres of the outermost elements with align_corners, otherwise their
// outer edges. Places outside count as zero, as the border, or are reflected at it.
// x [N,C,D1,…,Dk] of 1 to 3 spatial axes, grid [N,o1,…,ok,k], y [N,C,o1,…,ok].
// https://onnx.ai/onnx/operators/onnx__GridSample.html
func init() {
	attrs := func(mode, padding string, align int) Attrs {
		return Attrs{"mode": StringAttr(mode), "padding_mode": StringAttr(padding), "align_corners": IntAttr(align)}
	}
	x, grid := Rand(2, 3, 4, 5), RandIn(-0.93, 0.97, 2, 3, 2, 2)
	far := RandIn(-2.29, 2.13, 2, 3, 2, 2)
	cases := []Case{
		{Opset: 16, In: []Arg{x, grid}},
		{Name: "3d", Opset: 22, Attrs: attrs("linear", "border", 1), In: []Arg{Rand(1, 2, 3, 2, 4), RandIn(-1.4, 1.3, 1, 2, 2, 3, 3)}},
		{Name: "nearest", Opset: 16, Attrs: attrs("nearest", "zeros", 1), In: []Arg{x, Const(Floats([]float32{-0.9, 0.3, 0.1, 0.7, 1.4, -2, 0.8, 0.8}, 1, 2, 2, 2))}},
	}
	cases[2].In[0] = Rand(1, 3, 4, 5)
	for _, p := range []string{"zeros", "border", "reflection"} {
		for align := range 2 {
			cases = append(cases,
				Case{Name: p, Opset: 20, Attrs: attrs("linear", p, align), In: []Arg{x, far}},
				Case{Name: "cubic " + p, Opset: 20, Attrs: attrs("cubic", p, align), In: []Arg{x, far}})
		}
	}
	Register(Def{
		Name: "GridSample", Since: 16,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			f := &gridSample{padding: r.String("padding_mode", "zeros"), align: r.Bool("align_corners", false)}
			def := "linear"
			if n.Opset < 20 {
				def = "bilinear"
			}
			mode := r.String("mode", def)
			oneOf(r, "mode", mode, "linear", "bilinear", "nearest", "cubic", "bicubic")
			oneOf(r, "padding_mode", f.padding, "zeros", "border", "reflection")
			switch mode {
			case "cubic", "bicubic":
				f.taps = 4
			case "nearest":
				f.taps = 1
			default:
				f.taps = 2
			}
			return f, r.err
		},
		Reference: refGridSample,
		Cases:     cases,
	})
}

type gridSample struct {
	padding string
	align   bool
	taps    int // per axis
}

func (f *gridSample) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 2, 2); err != nil {
		return nil, err
	}
	if err := wantFloats(in); err != nil {
		return nil, err
	}
	x, g := in[0].Shape, in[1].Shape
	k := len(x) - 2
	if k < 1 || k > 3 || len(g) != len(x) || g[0] != x[0] || g[k+1] != k {
		return nil, fmt.Errorf("inputs have shapes %s and %s, wants [N,C,…] with 1 to 3 spatial axes and [N,…] with their number at the end", ShapeString(x), ShapeString(g))
	}
	if Size(x[2:]) == 0 {
		return nil, fmt.Errorf("input has shape %s, wants spatial axes with elements", ShapeString(x))
	}
	y := append(append([]int{}, x[:2]...), g[1:k+1]...)
	return []*Tensor{Info(in[0].Type, y...)}, checkSize(y)
}

// Layouts keeps x as it is; the grid is row-major.
func (f *gridSample) Layouts(in []*Tensor) (want, out []Layout) { return keepLayouts(in, 1) }

func (f *gridSample) Links(in, out []*Tensor) []Link {
	return []Link{{{0, 0}, {1, 0}, {^0, 0}}, {{0, 1}, {^0, 1}}}
}

// Zeros holds for channels: y is a sum of elements of x.
func (f *gridSample) Zeros(zero []bool) bool { return zero[0] }

// gridTap is an element along one axis with its weight and the derivative of that by
// the coordinate of the grid.
type gridTap struct {
	at            int
	weight, slope float64
}

// along returns the taps of coordinate g on an axis of length n. Taps outside have no
// weight with padding by zeros.
func (f *gridSample) along(g float64, n int, buf []gridTap) []gridTap {
	scale := float64(n) / 2
	x := ((g+1)*float64(n) - 1) / 2
	if f.align {
		scale = float64(n-1) / 2
		x = (g + 1) * scale
	}
	lo, hi := -0.5, float64(n)-0.5
	if f.align {
		lo, hi = 0, float64(n-1)
	}
	if f.taps == 1 {
		x = math.RoundToEven(x)
	}
	if !(x >= lo && x <= hi) {
		switch f.padding {
		case "border":
			x, scale = max(0, min(float64(n-1), x)), 0
		case "reflection":
			var sign float64
			x, sign = reflect(x, lo, hi)
			scale *= sign
		}
	}
	if math.IsNaN(x) || math.Abs(x) > 1<<40 {
		return buf[:0]
	}
	first := math.Floor(x)
	d := x - first
	taps := buf[:0]
	add := func(at int, w, s float64) {
		if at < 0 || at >= n {
			switch f.padding {
			case "zeros":
				return
			case "border":
				at = max(0, min(n-1, at))
			default:
				p, _ := reflect(float64(at), lo, hi)
				at = max(0, min(n-1, int(p)))
			}
		}
		taps = append(taps, gridTap{at, w, s * scale})
	}
	i := int(first)
	switch f.taps {
	case 1:
		add(i, 1, 0)
	case 2:
		add(i, 1-d, -1)
		add(i+1, d, 1)
	default:
		const a = -0.75
		outer := func(t float64) (w, s float64) {
			return ((a*t-5*a)*t+8*a)*t - 4*a, (3*a*t-10*a)*t + 8*a
		}
		inner := func(t float64) (w, s float64) {
			return ((a+2)*t-(a+3))*t*t + 1, (3*(a+2)*t - 2*(a+3)) * t
		}
		w, s := outer(1 + d)
		add(i-1, w, s)
		w, s = inner(d)
		add(i, w, s)
		w, s = inner(1 - d)
		add(i+1, w, -s)
		w, s = outer(2 - d)
		add(i+2, w, -s)
	}
	return taps
}

// reflect mirrors x into [lo,hi], and returns the sign of its derivative.
func reflect(x, lo, hi float64) (y, sign float64) {
	width := hi - lo
	if width <= 0 {
		return lo, 0
	}
	d, sign := x-lo, 1.0
	if d < 0 {
		d, sign = -d, -1
	}
	turns := math.Floor(d / width)
	rest := d - turns*width
	if math.Mod(turns, 2) == 0 {
		return lo + rest, sign
	}
	return hi - rest, -sign
}

// point calls g for every element of x that output point p of sample n is made of: its
// offset in x, its weight, and the derivatives of that by the coordinates of the grid.
func (f *gridSample) point(x, grid *Tensor, n, p int, g func(at int, w float64, slope *[3]float64)) {
	k := x.Rank() - 2
	str := x.Strides()
	place := grid.F[(n*Size(grid.Shape[1:k+1])+p)*k:][:k]
	var buf [3][4]gridTap
	var taps [3][]gridTap
	for a := range k {
		taps[a] = f.along(float64(place[k-1-a]), x.Shape[2+a], buf[a][:])
	}
	var walk func(a, at int, w float64, slope [3]float64)
	walk = func(a, at int, w float64, slope [3]float64) {
		if a == k {
			g(at, w, &slope)
			return
		}
		for _, t := range taps[a] {
			s := slope
			for b := range a {
				s[k-1-b] *= t.weight
			}
			s[k-1-a] = w * t.slope
			walk(a+1, at+t.at*str[2+a], w*t.weight, s)
		}
	}
	walk(0, n*str[0], 1, [3]float64{})
}

// spatial returns the offset in y of point p of a sample.
func spatial(y *Tensor, str []int, p int) int {
	at := 0
	for a := y.Rank() - 1; a >= 2; a-- {
		at += p % y.Shape[a] * str[a]
		p /= y.Shape[a]
	}
	return at
}

func (f *gridSample) Forward(c *Context, in, out []*Tensor) error {
	x, y := in[0], out[0]
	if y.Size() == 0 {
		return nil
	}
	xs, ys, ch := x.Strides(), y.Strides(), x.Shape[1]
	points := Size(y.Shape[2:])
	c.Parallel(y.Shape[0]*points, ch*f.taps*f.taps*4, func(lo, hi int) {
		sum := make([]float64, ch)
		for i := lo; i < hi; i++ {
			n, p := i/points, i%points
			clear(sum)
			f.point(x, in[1], n, p, func(at int, w float64, _ *[3]float64) {
				for k := range sum {
					sum[k] += w * float64(x.F[at+k*xs[1]])
				}
			})
			o := n*ys[0] + spatial(y, ys, p)
			for k, v := range sum {
				y.F[o+k*ys[1]] = float32(v)
			}
		}
	})
	return nil
}

func (f *gridSample) Reads() (in, out uint32) { return 1<<0 | 1<<1, 0 }

// Backward adds what every point takes back to it, and multiplies the slopes of the
// weights for the grid.
func (f *gridSample) Backward(c *Context, in, out, dout, din []*Tensor) error {
	x, dy := in[0], dout[0]
	xs, ys, ch := x.Strides(), dy.Strides(), x.Shape[1]
	k := x.Rank() - 2
	points := Size(dy.Shape[2:])
	dx, dg := din[0], din[1]
	if dx != nil {
		clear(dx.F)
	}
	if dg != nil {
		clear(dg.F)
	}
	c.Parallel(dy.Shape[0], points*ch*f.taps*f.taps*4, func(lo, hi int) {
		for n := lo; n < hi; n++ {
			for p := range points {
				o := n*ys[0] + spatial(dy, ys, p)
				f.point(x, in[1], n, p, func(at int, w float64, slope *[3]float64) {
					sum := 0.0
					for j := range ch {
						d := float64(dy.F[o+j*ys[1]])
						if dx != nil {
							dx.F[at+j*xs[1]] += float32(w * d)
						}
						sum += d * float64(x.F[at+j*xs[1]])
					}
					for a := 0; dg != nil && a < k; a++ {
						dg.F[(n*points+p)*k+a] += float32(slope[a] * sum)
					}
				})
			}
		}
	})
	return nil
}

// refGridSample evaluates every point on elements fetched with padding.
func refGridSample(n Node, in []*Array) []*Array {
	r := &reader{n: n}
	x, grid := in[0], in[1]
	k := len(x.Shape) - 2
	align, padding := r.Int("align_corners", 0) != 0, r.String("padding_mode", "zeros")
	mirror := func(v float64, d int) float64 {
		lo, hi := -0.5, float64(d)-0.5
		if align {
			lo, hi = 0, float64(d-1)
		}
		for hi > lo && (v < lo || v > hi) {
			if v < lo {
				v = 2*lo - v
			} else {
				v = 2*hi - v
			}
		}
		return v
	}
	y := NewArray(append(append([]int{}, x.Shape[:2]...), grid.Shape[1:k+1]...)...)
	Each(y.Shape, func(i []int) {
		pos := make([]float64, k)
		for a := range k {
			d := x.Shape[2+a]
			g := grid.V[grid.At(append(append([]int{i[0]}, i[2:]...), k-1-a)...)]
			pos[a] = ((g+1)*float64(d) - 1) / 2
			if align {
				pos[a] = (g + 1) / 2 * float64(d-1)
			}
			if r.String("mode", "linear") == "nearest" {
				pos[a] = math.RoundToEven(pos[a])
			}
			lo, hi := -0.5, float64(d)-0.5
			if align {
				lo, hi = 0, float64(d-1)
			}
			switch {
			case pos[a] >= lo && pos[a] <= hi:
			case padding == "border":
				pos[a] = max(0, min(float64(d-1), pos[a]))
			case padding == "reflection":
				pos[a] = mirror(pos[a], d)
			}
		}
		fetch := func(at []int) float64 {
			to := append([]int{}, i[:2]...)
			for a, p := range at {
				d := x.Shape[2+a]
				if p < 0 || p >= d {
					switch padding {
					case "zeros":
						return 0
					case "border":
						p = max(0, min(d-1, p))
					default:
						p = int(mirror(float64(p), d))
					}
				}
				to = append(to, p)
			}
			return x.V[x.At(to...)]
		}
		weight := func(d float64) float64 {
			d = math.Abs(d)
			switch r.String("mode", "linear") {
			case "nearest":
				if d == 0 {
					return 1
				}
				return 0
			case "cubic", "bicubic":
				if d <= 1 {
					return 1.25*d*d*d - 2.25*d*d + 1
				} else if d < 2 {
					return -0.75*d*d*d + 3.75*d*d - 6*d + 3
				}
				return 0
			}
			return max(0, 1-d)
		}
		var span []int
		for range k {
			span = append(span, 4)
		}
		Each(span, func(t []int) {
			w := 1.0
			at := make([]int, k)
			for a := range at {
				at[a] = int(math.Floor(pos[a])) - 1 + t[a]
				w *= weight(float64(at[a]) - pos[a])
			}
			if w != 0 {
				y.V[y.At(i...)] += w * fetch(at)
			}
		})
	})
	return []*Array{y}
}
