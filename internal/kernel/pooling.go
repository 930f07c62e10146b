package kernel

// PoolShape describes a pooling window: x [N,H,W,C], y [N,OH,OW,C], dense and
// row-major.
type PoolShape struct {
	N, H, W, C       int
	OH, OW           int
	KH, KW           int
	StrideH, StrideW int
	PadTop, PadLeft  int
	DilH, DilW       int
}

// taps calls f with the input pixel iy·W+ix of every tap of output pixel
// (oy,ox) that lies inside the image, in row-major order.
func (s *PoolShape) taps(oy, ox int, f func(pixel int)) {
	for ky := range s.KH {
		iy := oy*s.StrideH - s.PadTop + ky*s.DilH
		if iy < 0 || iy >= s.H {
			continue
		}
		for kx := range s.KW {
			ix := ox*s.StrideW - s.PadLeft + kx*s.DilW
			if ix >= 0 && ix < s.W {
				f(iy*s.W + ix)
			}
		}
	}
}

// MaxPool computes y[o] = max over the window of x; padding does not count,
// NaN wins. argmax, like y and not needed (nil) in evaluation, receives the
// input pixel iy·W+ix that won, the first of equal ones. A window without any
// pixel gives -Inf and argmax -1.
func MaxPool(p *Pool, y []float32, argmax []int32, x []float32, s PoolShape) {
	c := s.C
	p.Run(s.N*s.OH, func(task, _ int) {
		n, oy := task/s.OH, task%s.OH
		img := x[n*s.H*s.W*c:][:s.H*s.W*c]
		for ox := range s.OW {
			o := (task*s.OW + ox) * c
			out := y[o:][:c]
			if argmax == nil {
				Fill(out, -inf32)
				s.taps(oy, ox, func(px int) { Max(out, out, img[px*c:][:c]) })
				continue
			}
			arg := argmax[o:][:c]
			for i := range out {
				out[i], arg[i] = -inf32, -1
			}
			s.taps(oy, ox, func(px int) { maxInto(out, arg, img[px*c:][:c], int32(px)) })
		}
	})
}

func maxInto(out []float32, arg []int32, x []float32, pixel int32) {
	out, arg = out[:len(x)], arg[:len(x)]
	for i, v := range x {
		if b := out[i]; v > b || arg[i] < 0 || (v != v && b == b) {
			out[i], arg[i] = v, pixel
		}
	}
}

// MaxPoolGrad computes dx[argmax] += dy over all windows; dx is cleared first
// unless accumulate is set. dx is like x, dy and argmax are like y.
func MaxPoolGrad(p *Pool, dx, dy []float32, argmax []int32, s PoolShape, accumulate bool) {
	c, in, out := s.C, s.H*s.W*s.C, s.OH*s.OW*s.C
	p.Run(s.N, func(n, _ int) {
		d := dx[n*in:][:in]
		if !accumulate {
			clear(d)
		}
		g, arg := dy[n*out:][:out], argmax[n*out:][:out]
		for o := 0; o < out; o += c {
			gr := g[o:][:c]
			for i, px := range arg[o:][:c] {
				if px >= 0 {
					d[int(px)*c+i] += gr[i]
				}
			}
		}
	})
}

// AvgPool computes y[o] = the mean of x over the window, by the number of taps
// KH·KW with countIncludePad, by the number of taps inside the image without.
// A window without any pixel gives 0.
func AvgPool(p *Pool, y, x []float32, s PoolShape, countIncludePad bool) {
	c := s.C
	p.Run(s.N*s.OH, func(task, _ int) {
		n, oy := task/s.OH, task%s.OH
		img := x[n*s.H*s.W*c:][:s.H*s.W*c]
		for ox := range s.OW {
			out := y[(task*s.OW+ox)*c:][:c]
			clear(out)
			count := 0
			s.taps(oy, ox, func(px int) {
				Add(out, out, img[px*c:][:c])
				count++
			})
			if f := s.share(count, countIncludePad); f != 1 {
				Scale(out, out, f)
			}
		}
	})
}

func (s *PoolShape) share(count int, countIncludePad bool) float32 {
	if countIncludePad {
		count = s.KH * s.KW
	}
	return 1 / float32(max(1, count))
}

// AvgPoolGrad computes the gradient of AvgPool by x; dx is cleared first
// unless accumulate is set. dx is like x, dy is like y.
func AvgPoolGrad(p *Pool, dx, dy []float32, s PoolShape, countIncludePad, accumulate bool) {
	c, in := s.C, s.H*s.W*s.C
	p.Run(s.N, func(n, _ int) {
		d := dx[n*in:][:in]
		if !accumulate {
			clear(d)
		}
		for o := range s.OH * s.OW {
			oy, ox := o/s.OW, o%s.OW
			count := 0
			if !countIncludePad {
				s.taps(oy, ox, func(int) { count++ })
			}
			f := s.share(count, countIncludePad)
			g := dy[(n*s.OH*s.OW+o)*c:][:c]
			s.taps(oy, ox, func(px int) { Axpy(d[px*c:][:c], g, f) })
		}
	})
}

// GlobalAvgPool computes y[n,j] = 1/hw Σ_i x[n,i,j] for x [n,hw,c], y [n,c].
func GlobalAvgPool(p *Pool, y, x []float32, n, hw, c int) {
	p.Run(n, func(i, _ int) {
		out := y[i*c:][:c]
		columnSums(out, x[i*hw*c:][:hw*c], hw, c)
		Scale(out, out, 1/float32(hw))
	})
}

// GlobalAvgPoolGrad computes dx[n,i,j] = dy[n,j]/hw, or adds it to dx.
func GlobalAvgPoolGrad(p *Pool, dx, dy []float32, n, hw, c int, accumulate bool) {
	p.Run(n, func(i, _ int) {
		g := dy[i*c:][:c]
		f := 1 / float32(hw)
		for px := range hw {
			d := dx[(i*hw+px)*c:][:c]
			if accumulate {
				Axpy(d, g, f)
			} else {
				Scale(d, g, f)
			}
		}
	})
}
