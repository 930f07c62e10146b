package op

import (
	"sync"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// block is the largest number of elements that one call of a vector function
// gets.
const block = 1024

// operand is a strided view of a float tensor, with one stride per axis of the
// shape it is visited in; broadcast axes have stride 0.
type operand struct {
	v   []float32
	str []int
}

// dense is the operand of a whole tensor.
func dense(t *Tensor) operand { return operand{t.F, t.Strides()} }

// over is the operand of a tensor that is broadcast to shape.
func over(t *Tensor, shape []int) operand { return operand{t.F, spread(t, shape)} }

// vectors are the operands of a vector function, of equal length.
type vectors [4][]float32

// lanes presents strided operands as contiguous vectors. A row that is the
// same in consecutive blocks is gathered once.
type lanes struct {
	buf     [4][block]float32
	off     [4]int
	rows, n [4]int
	e       [block]float32
	sum     [block]float32
	acc     [block]float64
}

var lanePool = sync.Pool{New: func() any { return new(lanes) }}

func newLanes() *lanes {
	l := lanePool.Get().(*lanes)
	l.n = [4]int{}
	return l
}

// get returns rows×n elements of v from off on, with strides rs and s; nil for
// a nil v.
func (l *lanes) get(k int, v []float32, off, rows, n, rs, s int) []float32 {
	if v == nil {
		return nil
	}
	if (s == 1 || n == 1 && rows == 1) && (rows == 1 || rs == n) {
		return v[off : off+rows*n]
	}
	held := l.off[k] == off && (l.n[k] == n && rows <= l.rows[k] || rows == 1 && l.rows[k] == 1 && n <= l.n[k])
	buf := l.buf[k][:rows*n]
	if held {
		return buf
	}
	l.off[k], l.rows[k], l.n[k] = off, rows, n
	for r := 0; r < rows; r++ {
		row := buf[r*n : r*n+n]
		if r > 0 && rs == 0 {
			copy(row, buf[:n])
			continue
		}
		x := v[off+r*rs:]
		switch s {
		case 0:
			kernel.Fill(row, x[0])
		case 1:
			copy(row, x)
		default:
			for i := range row {
				row[i] = x[i*s]
			}
		}
	}
	return buf
}

// pointwise computes dst = f(ops…) over shape, where f works on vectors of at
// most block elements. dst covers shape densely, in any layout. Blocks are
// spread over threads.
func pointwise(c *Context, shape []int, dst operand, f func(d []float32, x *vectors), ops ...operand) {
	if Size(shape) == 0 {
		return
	}
	str := make([][]int, 0, 5)
	str = append(str, dst.str)
	for _, p := range ops {
		str = append(str, p.str)
	}
	w := newWalk(shape, str...)
	last := len(w.dims) - 1
	n, s := w.dims[last], w.str[last]
	rows, rs := 1, offsets{}
	var outer odometer
	if last > 0 {
		rows, rs = w.dims[last-1], w.str[last-1]
		outer = newOdometer(w.dims[:last-1], w.str[:last-1])
	}
	// A block is k whole rows, or a piece of one row.
	k, piece := 1, min(n, block)
	if n <= block/2 {
		k = min(rows, block/n)
	}
	pieces, groups := (n+piece-1)/piece, (rows+k-1)/k
	c.Parallel(outer.size()*groups*pieces, k*piece, func(lo, hi int) {
		l := newLanes()
		var x vectors
		for u := lo; u < hi; u++ {
			p, g := u%pieces*piece, u/pieces%groups*k
			o := outer.at(u / pieces / groups)
			kk, nn := min(k, rows-g), min(piece, n-p)
			for j, q := range ops {
				x[j] = l.get(j, q.v, o[j+1]+g*rs[j+1]+p*s[j+1], kk, nn, rs[j+1], s[j+1])
			}
			at := o[0] + g*rs[0] + p*s[0]
			f(dst.v[at:at+kk*nn], &x)
		}
		lanePool.Put(l)
	})
}

// odometer maps a position to the offsets of nested axes.
type odometer struct {
	dims []int
	str  []offsets
}

func newOdometer(dims []int, str []offsets) odometer { return odometer{dims, str} }

func (d odometer) size() int { return Size(d.dims) }

func (d odometer) at(pos int) (o offsets) {
	for i := len(d.dims) - 1; i >= 0; i-- {
		k := pos
		if i > 0 {
			k = pos % d.dims[i]
			pos /= d.dims[i]
		}
		for j := range o {
			o[j] += k * d.str[i][j]
		}
	}
	return o
}
