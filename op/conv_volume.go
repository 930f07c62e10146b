package op

import (
	"github.com/onnxprune/onnxprune/internal/kernel"
)

// volume computes a convolution over three spatial axes by the kernels for two: the C/G channels of a group from the KD frames of depth
// that an output frame reads lie side by side, as KD·C/G channels of one image u [H,W,G·KD·C/G], zeros where a frame is padding. In
// memory x is [N,D,H,W,C], y [N,OD,OH,OW,O], and w [O,C/G,KD,KH,KW] becomes w' [O,KD·C/G,KH,KW].
type volume struct {
	depth axisWindow
	group int
	// part is how many output frames are computed at once, parts how many times that is done for the whole batch.
	part, parts int
	// direct is set where u is x itself: every output frame reads the one frame at its place.
	direct bool
	shape  kernel.ConvShape // of part frames
	c      int              // channels of x
	k      *kernel.Conv
	w, dw  []float32 // in the order of w'
}

// volumeImages is how many elements of u are made at once, if they are more than one frame.
const volumeImages = 1 << 21

// newVolume prepares the convolution of x [n,c,D,H,W] with ax, the windows of depth, height and width.
func newVolume(n, c, filters, group int, ax []axisWindow) *volume {
	d, h, w := ax[0], ax[1], ax[2]
	v := &volume{depth: d, group: group, c: c, direct: d.kernel == 1 && d.stride == 1 && d.begin == 0 && d.in == d.out}
	frame := max(1, h.in*w.in*c*d.kernel)
	for v.part = 1; v.part < d.out; v.part++ {
		if more := v.part + 1; more*frame > volumeImages {
			break
		}
	}
	for d.out%v.part != 0 {
		v.part--
	}
	v.parts = n * d.out / v.part
	v.shape = kernel.ConvShape{
		N: v.part, C: c * d.kernel, O: filters, Groups: group,
		H: h.in, KH: h.kernel, OH: h.out, StrideH: h.stride, DilH: h.dil, PadTop: h.begin,
		W: w.in, KW: w.kernel, OW: w.out, StrideW: w.stride, DilW: w.dil, PadLeft: w.begin,
	}
	v.k = kernel.NewConv(v.shape)
	return v
}

// images is the number of elements of u for one part, rounded up to whole cache lines.
func (v *volume) images() int {
	if v.direct {
		return 0
	}
	s := v.shape
	return (s.N*s.H*s.W*s.C + 15) &^ 15
}

func (v *volume) workspace() int { return v.images() + v.k.Workspace() }

// spread puts the frames of x that part i reads side by side into u, or returns those of x itself.
func (v *volume) spread(c *Context, u, x []float32, i int) []float32 {
	pixels := v.shape.H * v.shape.W
	frame := pixels * v.c
	if v.direct {
		return x[i*v.part*frame:][:v.part*frame]
	}
	each := v.c / v.group
	c.pool().Run(v.part, func(t, _ int) {
		f := i*v.part + t
		sample, at := f/v.depth.out, f%v.depth.out
		to := u[t*frame*v.depth.kernel:][:frame*v.depth.kernel]
		for tap := range v.depth.kernel {
			d := at*v.depth.stride - v.depth.begin + tap*v.depth.dil
			if d < 0 || d >= v.depth.in {
				v.eachPiece(pixels, each, tap, func(p, q int) { clear(to[q:][:each]) })
				continue
			}
			from := x[(sample*v.depth.in+d)*frame:][:frame]
			v.eachPiece(pixels, each, tap, func(p, q int) { copy(to[q:][:each], from[p:][:each]) })
		}
	})
	return u[:v.part*frame*v.depth.kernel]
}

// eachPiece calls f with the offsets, in a frame of x and in one of u, of the channels of every group and pixel that tap reads.
func (v *volume) eachPiece(pixels, each, tap int, f func(p, q int)) {
	taps := v.depth.kernel
	for g := range pixels * v.group {
		f(g*each, (g*taps+tap)*each)
	}
}

// gather adds the gradient of u for part i to that of x.
func (v *volume) gather(c *Context, dx, du []float32, i int) {
	pixels, each := v.shape.H*v.shape.W, v.c/v.group
	frame := pixels * v.c
	first := i * v.part
	sample, lo := first/v.depth.out, first%v.depth.out
	// A task is a frame of x, to which no other adds; all frames of a part are of one sample.
	c.pool().Run(v.depth.in, func(d, _ int) {
		to := dx[(sample*v.depth.in+d)*frame:][:frame]
		for t := range v.part {
			for tap := range v.depth.kernel {
				if (lo+t)*v.depth.stride-v.depth.begin+tap*v.depth.dil != d {
					continue
				}
				from := du[t*frame*v.depth.kernel:][:frame*v.depth.kernel]
				v.eachPiece(pixels, each, tap, func(p, q int) { kernel.Add(to[p:][:each], to[p:][:each], from[q:][:each]) })
			}
		}
	})
}

// reorder copies filters to the order of w' (back: from it), or adds them there.
func (v *volume) reorder(to, from []float32, back, add bool) {
	each, taps, area := v.c/v.group, v.depth.kernel, v.shape.KH*v.shape.KW
	for o := range v.shape.O {
		for ch := range each {
			for tap := range taps {
				plain, wide := ((o*each+ch)*taps+tap)*area, ((o*taps+tap)*each+ch)*area
				src, dst := plain, wide
				if back {
					src, dst = wide, plain
				}
				if add {
					kernel.Add(to[dst:][:area], to[dst:][:area], from[src:][:area])
				} else {
					copy(to[dst:][:area], from[src:][:area])
				}
			}
		}
	}
}

// filters returns w in the order of w'.
func (v *volume) filters(w []float32) []float32 {
	if v.depth.kernel == 1 || v.k.Kept() {
		return w
	}
	if v.w == nil {
		v.w = make([]float32, len(w))
	}
	v.reorder(v.w, w, false, false)
	return v.w
}

// outputs returns the frames of part i of y.
func (v *volume) outputs(y []float32, i int) []float32 {
	n := v.part * v.shape.OH * v.shape.OW * v.shape.O
	return y[i*n:][:n]
}

// forward computes y = conv(x, w) + bias + residual, which is like y; both may be nil.
func (v *volume) forward(c *Context, y, x, w, bias, residual []float32) {
	ws := c.scratch(v.workspace())
	u, ws := ws[:v.images()], ws[v.images():]
	w = v.filters(w)
	for i := range v.parts {
		e := kernel.Epilogue{Bias: bias}
		if residual != nil {
			e.Residual = v.outputs(residual, i)
		}
		v.k.Forward(c.pool(), v.outputs(y, i), v.spread(c, u, x, i), w, e, ws)
	}
}

// backwardData computes dx = convᵀ(dy, w), or adds it to dx.
func (v *volume) backwardData(c *Context, dx, dy, w []float32, add bool) {
	ws := c.scratch(v.workspace())
	u, ws := ws[:v.images()], ws[v.images():]
	w = v.filters(w)
	if !v.direct && !add {
		clear(dx)
	}
	for i := range v.parts {
		if v.direct {
			v.k.BackwardData(c.pool(), v.spread(c, nil, dx, i), v.outputs(dy, i), w, add, ws)
			continue
		}
		v.k.BackwardData(c.pool(), u[:v.shape.N*v.shape.H*v.shape.W*v.shape.C], v.outputs(dy, i), w, false, ws)
		v.gather(c, dx, u, i)
	}
}

// backwardWeights computes dw, or adds to it.
func (v *volume) backwardWeights(c *Context, dw, x, dy []float32, add bool) {
	ws := c.scratch(v.workspace())
	u, ws := ws[:v.images()], ws[v.images():]
	to := dw
	if v.depth.kernel > 1 {
		if v.dw == nil {
			v.dw = make([]float32, len(dw))
		}
		to = v.dw
	}
	for i := range v.parts {
		v.k.BackwardWeights(c.pool(), to, v.spread(c, u, x, i), v.outputs(dy, i), i > 0 || add && v.depth.kernel == 1, ws)
	}
	if v.depth.kernel > 1 {
		v.reorder(dw, v.dw, true, add)
	}
}
