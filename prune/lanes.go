package prune

import "encoding/binary"

// lanes compares magnitudes of several floats in one 64-bit word. A lane is the encoding of one float: the sign on
// top, below it a magnitude whose order is that of the numbers.
type lanes struct {
	bits      int    // of a lane
	high, low uint64 // the highest and the lowest bit of every lane
}

var (
	lanes32 = lanes{32, 0x8000000080000000, 0x0000000100000001}
	lanes16 = lanes{16, 0x8000800080008000, 0x0001000100010001}
)

// laneBlock is the number of bytes whose counts fit a lane.
const laneBlock = 1 << 15

// all returns a word with v, at most the highest bit alone, in every lane.
func (n lanes) all(v uint32) uint64 { return n.low * uint64(v) }

// total adds up the lanes of a word of counts.
func (n lanes) total(counts uint64) int {
	sum := uint64(0)
	for range 64 / n.bits {
		sum += counts & (1<<n.bits - 1)
		counts >>= n.bits
	}
	return int(sum)
}

// The functions below go over p, whole words; lanes of a tail that are zero count as elements that are zero. A lane v
// is at least t where the top bit of (v with its top bit set) − t is set.

// count returns how many lanes are at least one and over, and a number that is 0 where none is infinite; near gets every
// lane from lo on that is not over.
func (n lanes) count(p []byte, lo, over, infinite uint32, near func(lane uint32)) (nonzero, above, nan int) {
	from, to, inf, high, shift := n.all(lo), n.all(over), n.all(infinite), n.high, uint(n.bits-1)
	for len(p) > 0 {
		block := p[:min(len(p), laneBlock)]
		p = p[len(block):]
		ones, overs, nans := uint64(0), uint64(0), uint64(0)
		for ; len(block) >= 8; block = block[8:] {
			v := binary.LittleEndian.Uint64(block)
			x := v | high
			a := x - to
			ones += (x - n.low) & high >> (shift & 63)
			overs += a & high >> (shift & 63)
			nans |= x - inf
			if in := (x - from) &^ a & high; in != 0 {
				for at := 0; at < 64; at += n.bits {
					if in>>at>>(shift&63)&1 != 0 {
						near(uint32(v >> at & (1<<(shift&63) - 1)))
					}
				}
			}
		}
		nonzero, above, nan = nonzero+n.total(ones), above+n.total(overs), nan+n.total(nans&high>>(shift&63))
	}
	return nonzero, above, nan
}

// mask clears lanes below t and returns how many are at least t and at least after, and the sum of the words.
func (n lanes) mask(p []byte, t, after uint32) (kept, above int, sum uint64) {
	from, next, high, shift, ones := n.all(t), n.all(after), n.high, uint(n.bits-1), uint64(1)<<n.bits-1
	for len(p) > 0 {
		block := p[:min(len(p), laneBlock)]
		p = p[len(block):]
		atLeast, more := uint64(0), uint64(0)
		for ; len(block) >= 8; block = block[8:] {
			v := binary.LittleEndian.Uint64(block)
			x := v | high
			m := (x - from) & high >> (shift & 63)
			v &= m * ones
			sum += v
			atLeast += m
			more += (x - next) & high >> (shift & 63)
			binary.LittleEndian.PutUint64(block, v)
		}
		kept, above = kept+n.total(atLeast), above+n.total(more)
	}
	return kept, above, sum
}

// contents returns how many lanes are at least one and at least t, and the sum of the words.
func (n lanes) contents(p []byte, t uint32) (nonzero, kept int, sum uint64) {
	from, high, shift := n.all(t), n.high, uint(n.bits-1)
	for len(p) > 0 {
		block := p[:min(len(p), laneBlock)]
		p = p[len(block):]
		ones, atLeast := uint64(0), uint64(0)
		for ; len(block) >= 8; block = block[8:] {
			v := binary.LittleEndian.Uint64(block)
			x := v | high
			sum += v
			ones += (x - n.low) & high >> (shift & 63)
			atLeast += (x - from) & high >> (shift & 63)
		}
		nonzero, kept = nonzero+n.total(ones), kept+n.total(atLeast)
	}
	return nonzero, kept, sum
}
