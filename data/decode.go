package data

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// decoder turns raw rows in C order into normalised float32:
// y[c,i] = float32(a[c]·x[c,i] + b[c]), computed in float64.
type decoder struct {
	dtype    DType
	channels int
	plane    int       // elements of one channel
	norm     []affine  // one per channel, or one for all
	table    []float32 // for uint8: 256 values for each of norm
	identity bool      // y = x
}

// maxTables bounds the channels that get a table of their own.
const maxTables = 64

func newDecoder(t DType, channels, rowElems int, m Meta) (decoder, error) {
	norm, err := m.normalization(channels)
	if err != nil {
		return decoder{}, err
	}
	d := decoder{dtype: t, channels: channels, plane: rowElems / channels, norm: norm}
	d.identity = !slices.ContainsFunc(norm, func(n affine) bool { return n != affine{1, 0} })
	if t == Uint8 && len(norm) <= maxTables {
		d.table = make([]float32, 0, 256*len(norm))
		for _, n := range norm {
			for v := range 256 {
				d.table = append(d.table, n.apply(float64(v)))
			}
		}
	}
	return d, nil
}

// apply keeps the product and the sum apart, so that every machine rounds alike.
func (n affine) apply(x float64) float32 { return float32(float64(n.a*x) + n.b) }

func (d *decoder) channel(c int) int {
	if len(d.norm) == 1 {
		return 0
	}
	return c
}

// zero is the delivered value of a raw 0 in channel c.
func (d *decoder) zero(c int) float32 { return d.norm[d.channel(c)].apply(0) }

// run decodes len(dst) elements of channel c. It fails on a value that is not finite, or
// that float32 cannot hold.
func (d *decoder) run(dst []float32, raw []byte, c int) error {
	c = d.channel(c)
	n := d.norm[c]
	switch d.dtype {
	case Uint8:
		raw = raw[:len(dst)]
		if d.table != nil {
			table := (*[256]float32)(d.table[256*c:])
			for i, v := range raw {
				dst[i] = table[v]
			}
			return nil
		}
		for i, v := range raw {
			dst[i] = n.apply(float64(v))
		}
	case Float32:
		raw = raw[:4*len(dst)]
		for i := range dst {
			x := math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
			y := x
			if !d.identity {
				y = n.apply(float64(x))
			}
			if y-y != 0 {
				return notFinite(float64(x))
			}
			dst[i] = y
		}
	case Float64:
		raw = raw[:8*len(dst)]
		for i := range dst {
			x := math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:]))
			y := n.apply(x)
			if y-y != 0 {
				return notFinite(x)
			}
			dst[i] = y
		}
	default:
		size := d.dtype.Size()
		for i := range dst {
			x := integer(raw[size*i : size*i+size])
			if x > 1<<24 || x < -1<<24 {
				return fmt.Errorf("value %d is beyond 2^24, the integers that float32 holds exactly", x)
			}
			dst[i] = float32(x)
		}
	}
	return nil
}

func notFinite(x float64) error {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return fmt.Errorf("value %v, want finite numbers", x)
	}
	return fmt.Errorf("value %v overflows float32 when normalised", x)
}

// row decodes one row as it is.
func (d *decoder) row(dst []float32, raw []byte) error {
	if len(d.norm) == 1 {
		return d.run(dst, raw, 0)
	}
	step := d.plane * d.dtype.Size()
	for c := range d.channels {
		if err := d.run(dst[c*d.plane:(c+1)*d.plane], raw[c*step:], c); err != nil {
			return err
		}
	}
	return nil
}

// window decodes one image [C,H,W], seen through a window of its own size that is moved
// by (dy, dx), and mirrored if flip is set: y[c,i,j] = x[c,i+dy,j+dx], where raw zeros
// surround x.
func (d *decoder) window(dst []float32, raw []byte, h, w, dy, dx int, flip bool) error {
	size := d.dtype.Size()
	left, right := max(0, -dx), min(w, w-dx)
	for c := range d.channels {
		zero := d.zero(c)
		for i := range h {
			line := dst[(c*h+i)*w : (c*h+i+1)*w]
			y := i + dy
			if y < 0 || y >= h {
				fill(line, zero)
				continue
			}
			fill(line[:left], zero)
			fill(line[right:], zero)
			at := ((c*h+y)*w + left + dx) * size
			if err := d.run(line[left:right], raw[at:], c); err != nil {
				return err
			}
			if flip {
				slices.Reverse(line)
			}
		}
	}
	return nil
}

func fill(line []float32, v float32) {
	for i := range line {
		line[i] = v
	}
}
