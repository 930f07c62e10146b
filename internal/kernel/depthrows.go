package kernel

// depthRowsArgs describes a 3×3 depthwise convolution of up to 16 channels
// over rows of output pixels. With the elements between pixels and rows below,
//
//	y[r·yRow+p·yStep+l] = clip(bias[l] + Σ_t x[r·row+p·step+(t/3)·tapRow+(t%3)·tap+l]·w[16t+l])
//
// for rows r, pixels p in [0,n) and lanes l; with add set the old y is added
// too. x has no edges: where the window leaves the image there are zeros. It is
// read up to 16 elements past the last lane. The assembly knows the field
// offsets.
type depthRowsArgs struct {
	x, w, y     *float32
	bias        *float32 // [lanes], or nil
	tap, tapRow int
	step, row   int
	yStep, yRow int
	n, rows     int
	lanes       int // 1..16
	add         int
	lo, hi      float32
}

// depthRowsGradArgs describes the gradient by weights of such a convolution.
//
//	acc[16t+l] += Σ_{r,p} x[r·row+p·step+(t/3)·tapRow+(t%3)·tap+l]·dy[r·yRow+p·yStep+l]
//
// for all 16 lanes: x and dy are read up to 16 elements past a pixel. The
// assembly knows the field offsets.
type depthRowsGradArgs struct {
	x, dy, acc  *float32
	tap, tapRow int
	step, row   int
	yStep, yRow int
	n, rows     int
}

// depthLanes is the number of channels of one call, and the elements between
// the weights of two taps.
const depthLanes = 16

func depthRowsGo(a *depthRowsArgs) {
	for r := range a.rows {
		for p := range a.n {
			for l := range a.lanes {
				y := at(a.y, r*a.yRow+p*a.yStep+l)
				s := float32(0)
				if a.bias != nil {
					s = *at(a.bias, l)
				}
				if a.add != 0 {
					s += *y
				}
				for t := range depthTaps {
					s += *at(a.x, r*a.row+p*a.step+t/3*a.tapRow+t%3*a.tap+l) * *at(a.w, depthLanes*t+l)
				}
				if a.lo > s {
					s = a.lo
				}
				if a.hi < s {
					s = a.hi
				}
				*y = s
			}
		}
	}
}

func depthRowsGradGo(a *depthRowsGradArgs) {
	for r := range a.rows {
		for p := range a.n {
			for t := range depthTaps {
				for l := range depthLanes {
					*at(a.acc, depthLanes*t+l) += *at(a.x, r*a.row+p*a.step+t/3*a.tapRow+t%3*a.tap+l) * *at(a.dy, r*a.yRow+p*a.yStep+l)
				}
			}
		}
	}
}
