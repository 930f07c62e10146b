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

// denseGradArgs describes the sums for the gradient by weights of a row of three
// taps. With c and o elements between pixels of x and dy,
//
//	acc[(k·3+b)·16+l] += Σ_{r,q} x[r·pitch+q·c+k]·dy[r·dyPitch+(q−b)·o+l]
//
// for channels k, taps b and 16 lanes l, over rows r and pixels q in [0,n). The
// assembly knows the field offsets.
type denseGradArgs struct {
	x, dy, acc *float32
	c, pitch   int
	o, dyPitch int
	n, rows    int
	channels   int
}

func denseGradGo(a *denseGradArgs) {
	for k := range a.channels {
		for b := range 3 {
			for l := range depthLanes {
				y := at(a.acc, (k*3+b)*depthLanes+l)
				s := *y
				for r := range a.rows {
					for q := range a.n {
						s += *at(a.x, r*a.pitch+q*a.c+k) * *at(a.dy, r*a.dyPitch+(q-b)*a.o+l)
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
		s.C > depthLanes || s.O > depthLanes || s.PadTop < 0 || s.PadLeft < 0 || s.PadTop > 1 || s.PadLeft > 1 {
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
			// Two pixels of frame between rows, and one row before and behind, for
			// what denseGrad reads.
			rows: max(s.H+2, top+s.OH+1), cols: max(s.W+2, s.OW+2),
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

// denseGradFloats is how many floats of rows are summed over before the next
// channels and taps: what stays in the first-level cache.
const denseGradFloats = 8 << 10

// gradSize returns the floats of the sums [a][c][b][o] of gradWeights.
func (d *densePlan) gradSize() int { return 9 * d.s.C * depthLanes }

// gradWeights adds the gradient by weights of an image to the sums in part.
func (d *densePlan) gradWeights(part, x, dy []float32) {
	s, pitch, dyPitch := d.s, d.x.cols*d.s.C, d.dy.cols*d.s.O
	rows := max(1, denseGradFloats/(pitch+dyPitch))
	for r := 0; r < s.OH; r += rows {
		for a := range 3 {
			denseGrad(&denseGradArgs{
				x: &x[(r+a)*pitch], dy: &d.dy.row(dy, r)[0], acc: &part[a*3*s.C*depthLanes], c: s.C, pitch: pitch, o: s.O, dyPitch: dyPitch,
				n: s.OW + 2, rows: min(rows, s.OH-r), channels: s.C,
			})
		}
	}
}

// writeTasks is the number of shares of write.
func (d *densePlan) writeTasks() int { return min(3*d.s.C, 12) }

// write adds up the sums of all splits, in order, and brings those of one share
// into ONNX order.
func (d *densePlan) write(task int, dw, parts []float32, splits int, accumulate bool) {
	s, size := d.s, d.gradSize()
	for t := task * 3 * s.C / d.writeTasks(); t < (task+1)*3*s.C/d.writeTasks(); t++ {
		a, c := t/s.C, t%s.C
		sum := parts[t*3*depthLanes:][:3*depthLanes]
		for i := 1; i < splits; i++ {
			Add(sum, sum, parts[i*size+t*3*depthLanes:][:len(sum)])
		}
		for o := range s.O {
			for b := range 3 {
				w := &dw[((o*s.C+c)*3+a)*3+b]
				if v := sum[b*depthLanes+o]; accumulate {
					*w += v
				} else {
					*w = v
				}
			}
		}
	}
}
