package kernel

import "sync"

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
	j := newPoolJob(s)
	j.y, j.arg, j.x = y, argmax, x
	j.run(p, s.N*s.OH, j.maxTask)
}

func (j *poolJob) max(task, _ int) {
	s := &j.s
	n, oy := task/s.OH, task%s.OH
	image := s.H * s.W * s.C
	x, row := j.x[n*image:][:image], task*s.OW*s.C
	y, arg := j.y[row:][:s.OW*s.C], j.arg
	if arg != nil {
		arg = arg[row:][:s.OW*s.C]
	}
	lo, hi := s.inner()
	for ox := 0; ox < s.OW; {
		run := 1
		if ox >= lo && ox < hi {
			run = hi - ox
		}
		var taps, pixels [16]int32
		t, p := taps[:0], pixels[:0]
		s.taps(oy, ox, func(pixel int) { t, p = append(t, int32(pixel*s.C)), append(p, int32(pixel)) })
		o := ox * s.C
		switch {
		case len(t) == 0:
			Fill(y[o:][:s.C], -inf32)
			if arg != nil {
				for i := range s.C {
					arg[o+i] = -1
				}
			}
		case arg == nil:
			maxPoolRow(y[o:], nil, x, t, p, run, s.C, s.StrideW*s.C, s.StrideW)
		default:
			maxPoolRow(y[o:], arg[o:], x, t, p, run, s.C, s.StrideW*s.C, s.StrideW)
		}
		ox += run
	}
}

// inner returns the range of output columns whose windows lie inside the image
// from left to right.
func (s *PoolShape) inner() (lo, hi int) {
	lo = (s.PadLeft + s.StrideW - 1) / s.StrideW
	last := s.W - 1 - (s.KW-1)*s.DilW + s.PadLeft
	if last < 0 {
		return lo, lo
	}
	return lo, max(lo, min(s.OW, last/s.StrideW+1))
}

// maxPoolRowGo computes y[p,j] = max_t x[p·step+taps[t]+j] and arg[p,j] =
// pixels[t] + p·pixelStep of the first maximum; arg may be nil. NaN wins.
func maxPoolRowGo(y []float32, arg []int32, x []float32, taps, pixels []int32, n, c, step, pixelStep int) {
	for p := range n {
		out := y[p*c:][:c]
		copy(out, x[p*step+int(taps[0]):][:c])
		if arg == nil {
			for _, t := range taps[1:] {
				Max(out, out, x[p*step+int(t):][:c])
			}
			continue
		}
		place := arg[p*c:][:c]
		for i := range place {
			place[i] = pixels[0] + int32(p*pixelStep)
		}
		for t := 1; t < len(taps); t++ {
			pixel := pixels[t] + int32(p*pixelStep)
			for i, v := range x[p*step+int(taps[t]):][:c] {
				if b := out[i]; v > b || v != v && b == b {
					out[i], place[i] = v, pixel
				}
			}
		}
	}
}

// MaxPoolGrad computes dx[argmax] += dy over all windows; dx is cleared first
// unless accumulate is set. dx is like x, dy and argmax are like y.
func MaxPoolGrad(p *Pool, dx, dy []float32, argmax []int32, s PoolShape, accumulate bool) {
	j := newPoolJob(s)
	j.y, j.arg, j.x, j.accumulate = dy, argmax, dx, accumulate
	j.run(p, s.N, j.maxGradTask)
}

func (j *poolJob) maxGrad(n, _ int) {
	s := &j.s
	c, in, out := s.C, s.H*s.W*s.C, s.OH*s.OW*s.C
	d := j.x[n*in:][:in]
	if !j.accumulate {
		clear(d)
	}
	g, arg := j.y[n*out:][:out], j.arg[n*out:][:out]
	for o := 0; o < out; o += c {
		gr := g[o:][:c]
		for i, px := range arg[o:][:c] {
			if px >= 0 {
				d[int(px)*c+i] += gr[i]
			}
		}
	}
}

// AvgPool computes y[o] = the mean of x over the window, by the number of taps
// KH·KW with countIncludePad, by the number of taps inside the image without.
// A window without any pixel gives 0.
func AvgPool(p *Pool, y, x []float32, s PoolShape, countIncludePad bool) {
	j := newPoolJob(s)
	j.y, j.x, j.pad = y, x, countIncludePad
	j.run(p, s.N*s.OH, j.avgTask)
}

func (j *poolJob) avg(task, _ int) {
	s, c := &j.s, j.s.C
	n, oy := task/s.OH, task%s.OH
	img := j.x[n*s.H*s.W*c:][:s.H*s.W*c]
	for ox := range s.OW {
		out := j.y[(task*s.OW+ox)*c:][:c]
		clear(out)
		count := 0
		s.taps(oy, ox, func(px int) {
			Add(out, out, img[px*c:][:c])
			count++
		})
		if f := s.share(count, j.pad); f != 1 {
			Scale(out, out, f)
		}
	}
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
	j := newPoolJob(s)
	j.y, j.x, j.pad, j.accumulate = dy, dx, countIncludePad, accumulate
	j.run(p, s.N, j.avgGradTask)
}

func (j *poolJob) avgGrad(n, _ int) {
	s, c, in := &j.s, j.s.C, j.s.H*j.s.W*j.s.C
	d := j.x[n*in:][:in]
	if !j.accumulate {
		clear(d)
	}
	for o := range s.OH * s.OW {
		oy, ox := o/s.OW, o%s.OW
		count := 0
		if !j.pad {
			s.taps(oy, ox, func(int) { count++ })
		}
		f := s.share(count, j.pad)
		g := j.y[(n*s.OH*s.OW+o)*c:][:c]
		s.taps(oy, ox, func(px int) { Axpy(d[px*c:][:c], g, f) })
	}
}

// GlobalAvgPool computes y[n,j] = 1/hw Σ_i x[n,i,j] for x [n,hw,c], y [n,c].
func GlobalAvgPool(p *Pool, y, x []float32, n, hw, c int) {
	j := newPoolJob(PoolShape{H: hw, C: c})
	j.y, j.x = y, x
	j.run(p, n, j.globalTask)
}

func (j *poolJob) global(i, _ int) {
	hw, c := j.s.H, j.s.C
	out := j.y[i*c:][:c]
	columnSums(out, j.x[i*hw*c:][:hw*c], hw, c)
	Scale(out, out, 1/float32(hw))
}

// GlobalAvgPoolGrad computes dx[n,i,j] = dy[n,j]/hw, or adds it to dx.
func GlobalAvgPoolGrad(p *Pool, dx, dy []float32, n, hw, c int, accumulate bool) {
	j := newPoolJob(PoolShape{H: hw, C: c})
	j.y, j.x, j.accumulate = dy, dx, accumulate
	j.run(p, n, j.globalGradTask)
}

func (j *poolJob) globalGrad(i, _ int) {
	hw, c := j.s.H, j.s.C
	g := j.y[i*c:][:c]
	f := 1 / float32(hw)
	for px := range hw {
		d := j.x[(i*hw+px)*c:][:c]
		if j.accumulate {
			Axpy(d, g, f)
		} else {
			Scale(d, g, f)
		}
	}
}

// poolJob is a pass in progress. Jobs are kept for reuse, so that a pass allocates
// nothing; x is the side of the input, y that of the output.
type poolJob struct {
	s               PoolShape
	x, y            []float32
	arg             []int32
	pad, accumulate bool

	maxTask, maxGradTask, avgTask, avgGradTask, globalTask, globalGradTask func(task, worker int)
}

var poolJobs = sync.Pool{New: func() any {
	j := &poolJob{}
	j.maxTask, j.maxGradTask = j.max, j.maxGrad
	j.avgTask, j.avgGradTask = j.avg, j.avgGrad
	j.globalTask, j.globalGradTask = j.global, j.globalGrad
	return j
}}

func newPoolJob(s PoolShape) *poolJob {
	j := poolJobs.Get().(*poolJob)
	j.s = s
	return j
}

// run runs the tasks of a pass and gives j back.
func (j *poolJob) run(p *Pool, n int, task func(task, worker int)) {
	p.Run(n, task)
	j.x, j.y, j.arg, j.pad, j.accumulate = nil, nil, nil, false, false
	poolJobs.Put(j)
}
