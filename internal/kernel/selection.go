package kernel

import "math"

// KeyOrder maps floats to integers, to be compared as these: the bits, with those of Flip
// inverted in negative numbers, those of Toggle inverted in all, and those of Keep kept.
type KeyOrder struct{ Flip, Toggle, Keep uint32 }

// Key is the integer of v.
func (o KeyOrder) Key(v float32) uint32 {
	b := math.Float32bits(v)
	return (b ^ uint32(int32(b)>>31)&o.Flip ^ o.Toggle) & o.Keep
}

// CountKeys returns the number of elements of v whose key is above hi, and sets bit i%8 of
// near[i/8] to whether that of v[i] is from lo to hi; bits past the last element are 0. lo
// must not be above hi, and near has (len(v)+7)/8 elements.
func CountKeys(v []float32, near []uint8, o KeyOrder, lo, hi uint32) (above int) {
	near = near[:(len(v)+7)/8]
	whole := len(v) &^ 15
	above = countKeys(v[:whole], near[:whole/8], o.Flip, o.Toggle, o.Keep, lo, hi, hi-lo)
	return above + countKeysGo(v[whole:], near[whole/8:], o.Flip, o.Toggle, o.Keep, lo, hi, hi-lo)
}

// MarkKeys sets m[i] to 1 where the key of v[i] is above the threshold, else to 0, and
// returns the number of those equal to it. m has the length of v.
func MarkKeys(m, v []float32, o KeyOrder, threshold uint32) (equal int) {
	m = m[:len(v)]
	whole := len(v) &^ 15
	equal = markKeys(m[:whole], v[:whole], o.Flip, o.Toggle, o.Keep, threshold)
	return equal + markKeysGo(m[whole:], v[whole:], o.Flip, o.Toggle, o.Keep, threshold)
}

func countKeysGo(v []float32, near []uint8, flip, toggle, keep, lo, hi, width uint32) int {
	o := KeyOrder{flip, toggle, keep}
	clear(near)
	above := uint64(0)
	for i, x := range v {
		key := o.Key(x)
		above += (uint64(hi) - uint64(key)) >> 63
		if key-lo <= width {
			near[i>>3] |= 1 << (i & 7)
		}
	}
	return int(above)
}

func markKeysGo(m, v []float32, flip, toggle, keep, threshold uint32) int {
	o := KeyOrder{flip, toggle, keep}
	m = m[:len(v)]
	const one = 0x3f800000
	equal := 0
	for i, x := range v {
		key := o.Key(x)
		m[i] = math.Float32frombits(uint32(int64(uint64(threshold)-uint64(key))>>63) & one)
		if key == threshold {
			equal++
		}
	}
	return equal
}
