package kernel

// denseRowsArgs describes a 3×3 convolution of stride 1 with up to 16 output
// channels over rows of output pixels. With c elements between pixels of x and
// pitch between its rows,
//
//	y[r·yRow+p·yStep+l] = Σ_{a,k,b} x[(r+a)·pitch+(p+b)·c+k]·w[((a·cin+k)·3+b)·16+l]
//
// for rows r, pixels p in [0,n) and lanes l; with add set the old y is added
// too. x has no edges: where the window leaves the image there are zeros. The
// assembly knows the field offsets.
type denseRowsArgs struct {
	x, w, y     *float32
	c, pitch    int
	cin         int
	yStep, yRow int
	n, rows     int
	lanes       int // 1..16
	add         int
}

func denseRowsGo(a *denseRowsArgs) {
	for r := range a.rows {
		for p := range a.n {
			for l := range a.lanes {
				y := at(a.y, r*a.yRow+p*a.yStep+l)
				s := float32(0)
				if a.add != 0 {
					s = *y
				}
				for i := range 3 {
					for k := range a.cin {
						for j := range 3 {
							s += *at(a.x, (r+i)*a.pitch+(p+j)*a.c+k) * *at(a.w, ((i*a.cin+k)*3+j)*depthLanes+l)
						}
					}
				}
				*y = s
			}
		}
	}
}

// densePlan carries out 3×3 convolutions of stride 1 and up to 16 channels on both
// sides by rows, on padded copies of the input and of the output's gradient.
type densePlan struct {
	s     ConvShape
	x, dy padded
}

// newDensePlan returns nil for shapes that it cannot carry out.
func newDensePlan(s ConvShape) *densePlan {
	if s.Groups != 1 || s.KH != 3 || s.KW != 3 || s.StrideH != 1 || s.StrideW != 1 || s.DilH != 1 || s.DilW != 1 ||
		s.C <= 8 || s.C > depthLanes || s.O > depthLanes || s.PadTop < 0 || s.PadLeft < 0 || s.PadTop > 2 || s.PadLeft > 2 {
		return nil
	}
	top, left := 2-s.PadTop, 2-s.PadLeft
	return &densePlan{
		s: s,
		x: padded{
			h: s.H, w: s.W, c: s.C, top: s.PadTop, left: s.PadLeft, stepR: 1, stepC: 1,
			rows: max(s.H+s.PadTop, s.OH+2), cols: max(s.W+s.PadLeft, s.OW+2),
		},
		dy: padded{
			h: s.OH, w: s.OW, c: s.O, top: top, left: left, stepR: 1, stepC: 1,
			rows: max(s.H+2, top+s.OH), cols: max(s.W+2, left+s.OW),
		},
	}
}

func (d *densePlan) packedSize() int { return 9 * max(d.s.C, d.s.O) * depthLanes }

// pack writes w [O,C,3,3] as [a][c][b][o], or for the gradient by data as
// [2−a][o][2−b][c].
func (d *densePlan) pack(dst, w []float32, grad bool) {
	s := d.s
	clear(dst[:d.packedSize()])
	for o := range s.O {
		for c := range s.C {
			for t := range 9 {
				v := w[(o*s.C+c)*9+t]
				if grad {
					dst[(((2-t/3)*s.O+o)*3+2-t%3)*depthLanes+c] = v
				} else {
					dst[((t/3*s.C+c)*3+t%3)*depthLanes+o] = v
				}
			}
		}
	}
}

// forward computes y of an image from the padded copy of x.
func (d *densePlan) forward(y, x, packed []float32) {
	s := d.s
	denseRows(&denseRowsArgs{
		x: &x[0], w: &packed[0], y: &y[0], c: s.C, pitch: d.x.cols * s.C, cin: s.C,
		yStep: s.O, yRow: s.OW * s.O, n: s.OW, rows: s.OH, lanes: s.O,
	})
}

// gradData computes dx of an image from the padded copy of dy, or adds it.
func (d *densePlan) gradData(dx, dy, packed []float32, accumulate bool) {
	s := d.s
	denseRows(&denseRowsArgs{
		x: &dy[0], w: &packed[0], y: &dx[0], c: s.O, pitch: d.dy.cols * s.O, cin: s.O,
		yStep: s.C, yRow: s.W * s.C, n: s.W, rows: s.H, lanes: s.C, add: oneIf(accumulate),
	})
}

// spec lists the taps for the gradient by weights: output pixels in the padded
// copy of dy, input pixels in that of x.
func (d *densePlan) spec() phaseSpec {
	s, sp := d.s, phaseSpec{taps: upTo(9)}
	for p := range s.OH * s.OW {
		sp.out = append(sp.out, int32(((p/s.OW+d.dy.top)*d.dy.cols+p%s.OW+d.dy.left)*s.O))
	}
	sp.in = func(t, p int) int32 {
		y, x := p/s.OW+t/3, p%s.OW+t%3 // in the copy
		if y < s.PadTop || y >= s.H+s.PadTop || x < s.PadLeft || x >= s.W+s.PadLeft {
			return -1
		}
		return int32((y*d.x.cols + x) * s.C)
	}
	return sp
}
