package kernel

// padded is a copy of an image in a frame of zeros, in which source pixel (r,c)
// lies at row top+r·stepR, column left+c·stepC.
type padded struct {
	h, w, c      int // source image
	top, left    int
	stepR, stepC int
	rows, cols   int // copy
}

// paddedSlack is how far the routines read past the last channel.
const paddedSlack = 32

func (g *padded) size() int { return g.rows*g.cols*g.c + paddedSlack }

// clear zeroes what no source pixel covers.
func (g *padded) clear(buf []float32) {
	buf = buf[:g.size()]
	if g.stepR > 1 || g.stepC > 1 {
		clear(buf)
		return
	}
	pitch := g.cols * g.c
	clear(buf[:g.top*pitch+g.left*g.c])
	for r := range g.h - 1 {
		clear(buf[(g.top+r)*pitch+(g.left+g.w)*g.c:][:pitch-g.w*g.c])
	}
	clear(buf[(g.top+g.h-1)*pitch+(g.left+g.w)*g.c:])
}

// row returns where row r of the source begins. With stepC of 1 it is w·c
// elements long.
func (g *padded) row(buf []float32, r int) []float32 {
	return buf[((g.top+r*g.stepR)*g.cols+g.left)*g.c:]
}

// spread writes the pixels of a source row to their places in dst, a row.
func (g *padded) spread(dst, src []float32) {
	for i := range g.w {
		copy(dst[i*g.stepC*g.c:][:g.c], src[i*g.c:][:g.c])
	}
}

// depthPlan carries out 3×3 depthwise convolutions by rows, on padded copies of
// the input and of the output's gradient.
type depthPlan struct {
	s      ConvShape
	x, dy  padded
	blocks int // of depthLanes channels
}

// newDepthPlan returns nil for shapes that it cannot carry out.
func newDepthPlan(s ConvShape) *depthPlan {
	if !s.depthwise() || s.KH != 3 || s.KW != 3 || s.DilH != 1 || s.DilW != 1 || s.PadTop > 2 || s.PadLeft > 2 || s.PadTop < 0 || s.PadLeft < 0 ||
		s.StrideH > 2 || s.StrideW > 2 {
		return nil
	}
	d := &depthPlan{s: s, blocks: (s.C + depthLanes - 1) / depthLanes}
	d.x = padded{
		h: s.H, w: s.W, c: s.C, top: s.PadTop, left: s.PadLeft, stepR: 1, stepC: 1,
		rows: max(s.H+s.PadTop, (s.OH-1)*s.StrideH+3), cols: max(s.W+s.PadLeft, (s.OW-1)*s.StrideW+3),
	}
	top, left := 2-s.PadTop, 2-s.PadLeft
	d.dy = padded{
		h: s.OH, w: s.OW, c: s.C, top: top, left: left, stepR: s.StrideH, stepC: s.StrideW,
		rows: max(s.H+2, top+(s.OH-1)*s.StrideH+1), cols: max(s.W+2, left+(s.OW-1)*s.StrideW+1),
	}
	return d
}

func (d *depthPlan) packedSize() int { return d.blocks * depthTaps * depthLanes }

// pack writes w [C,1,3,3] as [block][tap][lane], the taps in reverse for the
// gradient by data.
func (d *depthPlan) pack(dst, w []float32, reverse bool) {
	clear(dst[:d.packedSize()])
	for c := range d.s.C {
		for t := range depthTaps {
			at := t
			if reverse {
				at = depthTaps - 1 - t
			}
			dst[(c/depthLanes*depthTaps+at)*depthLanes+c%depthLanes] = w[c*depthTaps+t]
		}
	}
}

// strip is the number of output rows, of w pixels each, that are taken through
// all steps before the next ones, so that they are found in the cache.
func (d *depthPlan) strip(w int) int { return max(2, depthStrip/(w*d.s.C)) }

// depthStrip is the number of floats of a strip, where two rows allow it.
const depthStrip = 16 << 10

// forward computes rows [from,to) of y = clip(conv(x) + bias), y an image and x
// its padded copy.
func (d *depthPlan) forward(y, x, packed []float32, from, to int, bias []float32, r Range) {
	s := d.s
	a := depthRowsArgs{
		tap: s.C, tapRow: d.x.cols * s.C, step: s.StrideW * s.C, row: s.StrideH * d.x.cols * s.C,
		yStep: s.C, yRow: s.OW * s.C, n: s.OW, rows: to - from, lo: r.Lo, hi: r.Hi,
	}
	d.run(&a, y[from*a.yRow:], x[from*a.row:], packed, bias)
}

// gradData computes rows [from,to) of dx from the padded copy of dy, or adds
// them.
func (d *depthPlan) gradData(dx, dy, packed []float32, from, to int, accumulate bool) {
	s := d.s
	a := depthRowsArgs{
		tap: s.C, tapRow: d.dy.cols * s.C, step: s.C, row: d.dy.cols * s.C,
		yStep: s.C, yRow: s.W * s.C, n: s.W, rows: to - from, lo: -inf32, hi: inf32, add: oneIf(accumulate),
	}
	d.run(&a, dx[from*a.yRow:], dy[from*a.row:], packed, nil)
}

func (d *depthPlan) run(a *depthRowsArgs, y, x, packed, bias []float32) {
	for b := range d.blocks {
		c := b * depthLanes
		a.x, a.y, a.w = &x[c], &y[c], &packed[b*depthTaps*depthLanes]
		a.lanes = min(depthLanes, d.s.C-c)
		if bias != nil {
			a.bias = &bias[c]
		}
		depthRows(a)
	}
}

// gradWeights adds the gradient by weights of rows [from,to) of an image to sums
// [block][tap][lane], from the padded copies of x and dy.
func (d *depthPlan) gradWeights(sums, x, dy []float32, from, to int) {
	s := d.s
	a := depthRowsGradArgs{
		tap: s.C, tapRow: d.x.cols * s.C, step: s.StrideW * s.C, row: s.StrideH * d.x.cols * s.C,
		yStep: d.dy.stepC * s.C, yRow: d.dy.stepR * d.dy.cols * s.C, n: s.OW, rows: to - from,
	}
	x, dy = x[from*a.row:], d.dy.row(dy, from)
	for b := range d.blocks {
		c := b * depthLanes
		a.x, a.dy, a.acc = &x[c], &dy[c], &sums[b*depthTaps*depthLanes]
		depthRowsGrad(&a)
	}
}

// inputRows returns how many rows of the input have to be in the padded copy for
// the first n rows of output.
func (d *depthPlan) inputRows(n int) int {
	if n == d.s.OH {
		return d.s.H
	}
	return min(d.s.H, max(0, (n-1)*d.s.StrideH+3-d.s.PadTop))
}

// gradRows returns how many rows of dx the first n rows of dy determine.
func (d *depthPlan) gradRows(n int) int {
	if n == d.s.OH {
		return d.s.H
	}
	return min(d.s.H, max(0, n*d.s.StrideH-d.s.PadTop))
}

// write brings sums into the order of w [C,1,3,3].
func (d *depthPlan) write(dw, sums []float32, accumulate bool) {
	for c := range d.s.C {
		for t := range depthTaps {
			v := sums[(c/depthLanes*depthTaps+t)*depthLanes+c%depthLanes]
			if accumulate {
				v += dw[c*depthTaps+t]
			}
			dw[c*depthTaps+t] = v
		}
	}
}
