package kernel

// padded is a copy of images in a frame of zeros, in which source pixel (r,c)
// lies at row top+r·stepR, column left+c·stepC.
type padded struct {
	h, w, c      int // source image
	top, left    int
	stepR, stepC int
	rows, cols   int // copy of an image
	images       int // at most
}

// paddedSlack is how far the routines read past the last channel.
const paddedSlack = 32

func (g *padded) size() int { return g.images*g.rows*g.cols*g.c + paddedSlack }

// image returns the copy of one image, slack included.
func (g *padded) image(buf []float32, i int) []float32 { return buf[i*g.rows*g.cols*g.c:] }

// clear zeroes what no source pixel covers, for n images.
func (g *padded) clear(buf []float32, n int) {
	if g.stepR > 1 || g.stepC > 1 {
		clear(buf[:n*g.rows*g.cols*g.c+paddedSlack])
		return
	}
	pitch := g.cols * g.c
	for i := range n {
		img := g.image(buf, i)[:g.rows*pitch]
		clear(img[:g.top*pitch+g.left*g.c])
		gap := pitch - g.w*g.c
		for r := range g.h - 1 {
			clear(img[(g.top+r)*pitch+(g.left+g.w)*g.c:][:gap])
		}
		clear(img[(g.top+g.h-1)*pitch+(g.left+g.w)*g.c:])
	}
	clear(buf[n*g.rows*pitch:][:paddedSlack])
}

// row returns where row r of source image i begins. With stepC of 1 it is w·c
// elements long.
func (g *padded) row(buf []float32, i, r int) []float32 {
	return g.image(buf, i)[((g.top+r*g.stepR)*g.cols+g.left)*g.c:]
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
func newDepthPlan(s ConvShape, images int) *depthPlan {
	if !s.depthwise() || s.KH != 3 || s.KW != 3 || s.DilH != 1 || s.DilW != 1 || s.PadTop > 2 || s.PadLeft > 2 || s.PadTop < 0 || s.PadLeft < 0 ||
		s.StrideH > 2 || s.StrideW > 2 {
		return nil
	}
	d := &depthPlan{s: s, blocks: (s.C + depthLanes - 1) / depthLanes}
	d.x = padded{
		h: s.H, w: s.W, c: s.C, top: s.PadTop, left: s.PadLeft, stepR: 1, stepC: 1, images: images,
		rows: max(s.H+s.PadTop, (s.OH-1)*s.StrideH+3), cols: max(s.W+s.PadLeft, (s.OW-1)*s.StrideW+3),
	}
	top, left := 2-s.PadTop, 2-s.PadLeft
	d.dy = padded{
		h: s.OH, w: s.OW, c: s.C, top: top, left: left, stepR: s.StrideH, stepC: s.StrideW, images: images,
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

// forward computes y = clip(conv(x) + bias) for n images from their padded copy.
func (d *depthPlan) forward(y, x, packed []float32, n int, bias []float32, r Range) {
	s := d.s
	a := depthRowsArgs{
		tap: s.C, tapRow: d.x.cols * s.C, step: s.StrideW * s.C, row: s.StrideH * d.x.cols * s.C,
		yStep: s.C, yRow: s.OW * s.C, n: s.OW, rows: s.OH, lo: r.Lo, hi: r.Hi,
	}
	d.run(&a, y, x, packed, n, bias, s.OH*s.OW*s.C, &d.x)
}

// gradData computes dx of n images from the padded copy of dy, or adds it.
func (d *depthPlan) gradData(dx, dy, packed []float32, n int, accumulate bool) {
	s := d.s
	a := depthRowsArgs{
		tap: s.C, tapRow: d.dy.cols * s.C, step: s.C, row: d.dy.cols * s.C,
		yStep: s.C, yRow: s.W * s.C, n: s.W, rows: s.H, lo: -inf32, hi: inf32, add: oneIf(accumulate),
	}
	d.run(&a, dx, dy, packed, n, nil, s.H*s.W*s.C, &d.dy)
}

func (d *depthPlan) run(a *depthRowsArgs, y, x, packed []float32, n int, bias []float32, image int, g *padded) {
	for i := range n {
		yi, xi := y[i*image:][:image], g.image(x, i)
		for b := range d.blocks {
			c := b * depthLanes
			a.x, a.y, a.w = &xi[c], &yi[c], &packed[b*depthTaps*depthLanes]
			a.lanes = min(depthLanes, d.s.C-c)
			if bias != nil {
				a.bias = &bias[c]
			}
			depthRows(a)
		}
	}
}

// gradWeights adds the gradient by weights of n images to sums
// [block][tap][lane], from the padded copies of x and dy.
func (d *depthPlan) gradWeights(sums, x, dy []float32, n int) {
	s := d.s
	a := depthRowsGradArgs{
		tap: s.C, tapRow: d.x.cols * s.C, step: s.StrideW * s.C, row: s.StrideH * d.x.cols * s.C,
		yStep: d.dy.stepC * s.C, yRow: d.dy.stepR * d.dy.cols * s.C, n: s.OW, rows: s.OH,
	}
	for i := range n {
		xi, di := d.x.image(x, i), d.dy.row(dy, i, 0)
		for b := range d.blocks {
			c := b * depthLanes
			a.x, a.dy, a.acc = &xi[c], &di[c], &sums[b*depthTaps*depthLanes]
			depthRowsGrad(&a)
		}
	}
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
