package kernel

import (
	"math"
	"sync"
	"unsafe"
)

// tileArgs describes one call of a tile routine: n output pixels times lanes
// output channels, each pixel summed over taps.
//
//	y[out[p]+l] = clip(bias[l] + Σ_t Σ_k x[in[t·pitch+p]+k]·w[(rows[t]+k)·width+l] + res[out[p]+l])
//
// A negative entry of in selects the zero row, a negative entry of out is not
// stored. Both tables have at least tileSlack negative entries after the n-th
// pixel. The depthwise routines read x[in[..]+l]·w[rows[t]·width+l] instead.
// The assembly knows the field offsets.
type tileArgs struct {
	x, zero      *float32
	in, out      *int32
	w            *float32
	y, res, bias *float32 // res and bias may be nil
	pitch        int
	taps         int
	cin          int
	n            int
	lanes        int // 1..width
	width        int // 16 or 32
	lo, hi       float32
	rows         *int32 // [taps] weight row of the first channel of a tap
}

// tileSlack is the largest number of pixels that one assembly tile handles.
const tileSlack = 16

// gradArgs describes one call of a weight-gradient routine.
//
//	acc[r·width+l] += Σ_i x[pairs[2i]+r]·dy[pairs[2i+1]+l]
//
// for rows r in [0,gradRows(width)).
// The assembly knows the field offsets.
type gradArgs struct {
	x, dy *float32
	pairs *int32
	acc   *float32
	n     int
	lanes int
	width int
}

// gradRows is the number of input channels that one weight-gradient tile
// handles next to width output channels.
func gradRows(width int) int {
	if width == 32 {
		return 8
	}
	return 16
}

// depthGradArgs describes one call of a depthwise weight-gradient routine.
//
//	acc[t·width+l] += Σ_p x[in[p·depthTaps+t]+l]·dy[out[p]+l]
//
// for taps t in [0,depthTaps). A negative entry of in selects the zero row.
// The assembly knows the field offsets.
type depthGradArgs struct {
	x, zero *float32
	in, out *int32
	dy      *float32
	acc     *float32
	n       int
	lanes   int
	width   int
}

// depthTaps is the number of taps that a depthwise weight-gradient tile holds
// in registers.
const depthTaps = 9

var (
	inf32    = float32(math.Inf(1))
	zeroLock sync.Mutex
	zeroRow  []float32
)

// zeros returns a shared slice of at least n zeros that nobody may write to.
func zeros(n int) []float32 {
	zeroLock.Lock()
	defer zeroLock.Unlock()
	if len(zeroRow) < n {
		zeroRow = make([]float32, max(n, 4096))
	}
	return zeroRow
}

func at(p *float32, i int) *float32 { return (*float32)(unsafe.Add(unsafe.Pointer(p), 4*i)) }

func atInt32(p *int32, i int) *int32 { return (*int32)(unsafe.Add(unsafe.Pointer(p), 4*i)) }

// first returns the address of s[i], or nil for an empty slice.
func first(s []float32, i int) *float32 {
	if len(s) == 0 {
		return nil
	}
	return &s[i]
}
