package kernel

import "fmt"

// ConvShape describes a two-dimensional convolution.
//
// x is [N,H,W,C], w is [O,C/Groups,KH,KW], y is [N,OH,OW,O]; all dense and
// row-major. Padding at the bottom and right is what OH and OW imply.
type ConvShape struct {
	N, H, W, C       int
	O, KH, KW        int
	OH, OW           int
	StrideH, StrideW int
	PadTop, PadLeft  int
	DilH, DilW       int
	Groups           int
}

// check panics when the shape is contradictory.
func (s ConvShape) check() {
	for _, v := range []int{s.N, s.H, s.W, s.C, s.O, s.KH, s.KW, s.OH, s.OW, s.StrideH, s.StrideW, s.DilH, s.DilW, s.Groups} {
		if v < 1 {
			panic(fmt.Sprintf("kernel: convolution shape %+v has a dimension below 1", s))
		}
	}
	if s.C%s.Groups != 0 || s.O%s.Groups != 0 {
		panic(fmt.Sprintf("kernel: convolution with %d groups, %d input and %d output channels", s.Groups, s.C, s.O))
	}
}

// MACs returns the number of multiply-adds of one pass, taps in the padding
// included.
func (s ConvShape) MACs() int {
	return s.N * s.OH * s.OW * s.O * s.KH * s.KW * (s.C / s.Groups)
}

// Epilogue is what a convolution does with its sums while they are in
// registers: y = clip(sum + Bias + Residual).
type Epilogue struct {
	Bias     []float32 // [O], or nil
	Residual []float32 // like y, or nil; may be y itself
	Clip     bool      // clamp to [Min,Max]; NaN stays NaN
	Min, Max float32
}

// Conv is a convolution of one shape with everything precomputed that does not
// depend on values. It must not be used by two goroutines at a time.
type Conv struct {
	s       ConvShape
	window  window
	forward *tilePlan
	data    *tilePlan
	weights *gradPlan
	zero    []float32
	// After Keep all forward passes have the packed weights kept, nil before the first.
	keep bool
	kept []float32
	job  convJob
}

// convJob holds the operands of the call in progress; the closures are made
// once so that a call allocates nothing.
type convJob struct {
	plan          *tilePlan
	y, x, w       []float32
	packed, cp    []float32
	ep            Epilogue
	accumulate    bool
	pool          *Pool
	parts         []float32
	packTask      func(task, worker int)
	tileTask      func(task, worker int)
	copyTask      func(task, worker int)
	gradTask      func(task, worker int)
	gradAddTask   func(task, worker int)
	gradWriteTask func(task, worker int)
}

// NewConv precomputes the tables for a shape. It panics when the shape is
// contradictory.
func NewConv(s ConvShape) *Conv {
	s.check()
	c := &Conv{s: s}
	c.zero = zeros(max(s.C*s.KW, s.O) + 32)
	c.window = newWindow(s)
	c.forward = newForwardPlan(s, c.window, 0)
	c.data = newDataPlan(s, 0)
	c.weights = newGradPlan(s, c.window, 0)
	j := &c.job
	j.packTask = func(t, _ int) { j.plan.pack(t, j.packed, j.w) }
	j.tileTask = func(t, _ int) { j.plan.run(t, j.y, j.x, j.packed, c.zero, &j.ep) }
	j.copyTask = func(t, _ int) { c.window.copy(t, s, j.cp, j.x) }
	j.gradTask = func(t, w int) { c.weights.run(t, j.parts, j.x, j.y, c.zero, j.pool, w) }
	j.gradAddTask = func(t, _ int) { c.weights.add(t, j.parts) }
	j.gradWriteTask = func(t, _ int) { c.weights.write(t, j.w, j.parts, j.accumulate) }
	return c
}

// Shape returns the shape that c was made for.
func (c *Conv) Shape() ConvShape { return c.s }

// Workspace returns how many floats of workspace any of the three passes
// needs.
func (c *Conv) Workspace() int {
	return max(c.forward.packedSize()+c.window.size, c.data.packedSize(), c.weights.size()+c.weights.copySize())
}

// Keep makes all forward passes use the weights of the next one, packed once, and returns
// how many floats hold them.
func (c *Conv) Keep() int {
	c.keep = true
	return c.forward.packedSize()
}

// Kept reports whether forward passes read no weights any more.
func (c *Conv) Kept() bool { return c.kept != nil }

// Forward computes y = clip(conv(x, w) + bias + residual). After [Conv.Keep] it reads w once.
func (c *Conv) Forward(p *Pool, y, x, w []float32, ep Epilogue, ws []float32) {
	s := c.s
	checkLen("y", y, s.N*s.OH*s.OW*s.O)
	checkLen("x", x, s.N*s.H*s.W*s.C)
	if c.kept == nil {
		checkLen("w", w, s.O*(s.C/s.Groups)*s.KH*s.KW)
	}
	checkLen("workspace", ws, c.forward.packedSize()+c.window.size)
	if ep.Bias != nil {
		checkLen("bias", ep.Bias, s.O)
	}
	if ep.Residual != nil {
		checkLen("residual", ep.Residual, len(y))
	}
	j := &c.job
	if c.window.size > 0 {
		j.cp = ws[c.forward.packedSize():][:c.window.size]
		j.x = x
		p.Run(c.window.tasks, j.copyTask)
		x = j.cp
	}
	pack := c.kept == nil
	if pack && c.keep {
		c.kept = Floats(max(1, c.forward.packedSize()))
	}
	if c.keep {
		ws = c.kept
	}
	c.tiles(p, c.forward, y, x, w, ep, ws, pack)
}

// BackwardData computes dx = convᵀ(dy, w), or adds it to dx.
func (c *Conv) BackwardData(p *Pool, dx, dy, w []float32, accumulate bool, ws []float32) {
	s := c.s
	checkLen("dx", dx, s.N*s.H*s.W*s.C)
	checkLen("dy", dy, s.N*s.OH*s.OW*s.O)
	checkLen("w", w, s.O*(s.C/s.Groups)*s.KH*s.KW)
	checkLen("workspace", ws, c.data.packedSize())
	var ep Epilogue
	if accumulate {
		ep.Residual = dx
	}
	c.tiles(p, c.data, dx, dy, w, ep, ws, true)
}

func (c *Conv) tiles(p *Pool, pl *tilePlan, y, x, w []float32, ep Epilogue, packed []float32, pack bool) {
	j := &c.job
	j.plan, j.y, j.x, j.w, j.packed, j.ep = pl, y, x, w, packed, ep
	if pack {
		p.Run(pl.packTasks(), j.packTask)
	}
	p.Run(pl.tasks(), j.tileTask)
	j.release()
}

// BackwardWeights computes dw[o,c,ky,kx] = Σ dy·x, or adds it to dw.
func (c *Conv) BackwardWeights(p *Pool, dw, x, dy []float32, accumulate bool, ws []float32) {
	s := c.s
	checkLen("dw", dw, s.O*(s.C/s.Groups)*s.KH*s.KW)
	checkLen("x", x, s.N*s.H*s.W*s.C)
	checkLen("dy", dy, s.N*s.OH*s.OW*s.O)
	g := c.weights
	checkLen("workspace", ws, g.size()+g.copySize())
	j := &c.job
	j.parts = ws[:g.size()]
	if n := g.copySize(); n > 0 {
		j.cp, j.x = ws[g.size():][:n], x
		if c.window.size > 0 {
			p.Run(c.window.tasks, j.copyTask)
		} else {
			copy(j.cp, x)
		}
		x = j.cp
	}
	j.x, j.y, j.w, j.accumulate, j.pool = x, dy, dw, accumulate, p
	p.Run(g.tasks(), j.gradTask)
	if g.splits > 1 {
		p.Run(g.addTasks(), j.gradAddTask)
	}
	p.Run(g.writeTasks(), j.gradWriteTask)
	j.release()
}

func (j *convJob) release() {
	j.y, j.x, j.w, j.packed, j.cp, j.parts, j.ep, j.pool = nil, nil, nil, nil, nil, nil, Epilogue{}, nil
}

func checkLen(name string, s []float32, want int) {
	if len(s) < want {
		panic(fmt.Sprintf("kernel: %s has %d elements, want %d", name, len(s), want))
	}
}

// depthwise reports whether every channel is convolved by itself.
func (s ConvShape) depthwise() bool { return s.Groups > 1 && s.Groups == s.C && s.O == s.C }

// window describes the zero-padded copy of the input that layers with few
// channels use: there, the KW·C inputs of a row of taps are contiguous and
// count as one tap with KW·C channels.
type window struct {
	rows, cols int // padded image, in pixels
	size       int // floats of the copy; 0 when it is not used
	tasks      int
}

// windowSlack is how far a weight-gradient tile may read past its input.
const windowSlack = 16

func newWindow(s ConvShape) window {
	if s.C > 8 || s.KW == 1 || s.DilW != 1 || s.Groups != 1 {
		return window{}
	}
	w := window{
		rows:  max(s.H+s.PadTop, (s.OH-1)*s.StrideH+(s.KH-1)*s.DilH+1),
		cols:  max(s.W+s.PadLeft, (s.OW-1)*s.StrideW+s.KW),
		tasks: s.N,
	}
	w.size = s.N*w.rows*w.cols*s.C + windowSlack
	return w
}

// copy writes the padded copy of one image.
func (w window) copy(image int, s ConvShape, dst, x []float32) {
	per := w.rows * w.cols * s.C
	d := dst[image*per:]
	if image+1 < s.N {
		d = d[:per]
	}
	clear(d)
	for iy := range s.H {
		copy(d[((iy+s.PadTop)*w.cols+s.PadLeft)*s.C:], x[(image*s.H+iy)*s.W*s.C:][:s.W*s.C])
	}
}
