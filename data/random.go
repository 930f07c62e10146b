package data

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
)

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection on 64 bits.
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Distinct uses of one seed.
const (
	useShuffle = iota + 1
	useAugment
	useRandomInput
	useHoldOut
)

// keyed is a SplitMix64 generator whose stream is given by its key alone.
type keyed struct{ state uint64 }

func newKeyed(key ...uint64) keyed {
	var h uint64
	for _, k := range key {
		h = mix(h ^ mix(k))
	}
	return keyed{h}
}

func (k *keyed) next() uint64 {
	v := mix(k.state)
	k.state += 0x9e3779b97f4a7c15
	return v
}

// below returns a number in [0, n).
func (k *keyed) below(n int) int {
	hi, _ := bits.Mul64(k.next(), uint64(n))
	return int(hi)
}

// permutation is a random order of n rows, the same for the same seed and epoch.
func permutation(n int, seed uint64, epoch int) []int32 {
	return shuffled(n, newKeyed(useShuffle, seed, uint64(epoch)))
}

func shuffled(n int, rng keyed) []int32 {
	p := make([]int32, n)
	for i := range p {
		p[i] = int32(i)
	}
	for i := n - 1; i > 0; i-- {
		j := rng.below(i + 1)
		p[i], p[j] = p[j], p[i]
	}
	return p
}

// RandomBatch makes rows of made-up data for a model with the given inputs: standard
// normal values, for integer inputs 0 or 1, or what is below InputSpec.Below, up to 2²⁴, and labels in 0 to classes-1 when classes is
// positive. Row i depends on the seed and i only. Free dimensions are an error.
func RandomBatch(inputs []InputSpec, rows, classes int, seed uint64) (*Batch, error) {
	if rows < 1 {
		return nil, fmt.Errorf("random batch of %d rows, want at least 1", rows)
	}
	b := &Batch{Rows: rows}
	for k, spec := range inputs {
		elems := 1
		for _, n := range spec.Shape {
			if n < 1 || n > maxRowElems/elems {
				return nil, fmt.Errorf("input %q: rows of %v, want all dimensions known and at most %d elements", spec.Name, spec.Shape, maxRowElems)
			}
			elems *= n
		}
		x := make([]float32, rows*elems)
		for i := range rows {
			key := newKeyed(useRandomInput, seed, uint64(k), uint64(i))
			row := x[i*elems : (i+1)*elems]
			if spec.Integer {
				n := 2
				if spec.Below > 0 {
					n = min(spec.Below, 1<<24)
				}
				for j := range row {
					row[j] = float32(key.below(n))
				}
				continue
			}
			rng := rand.New(rand.NewPCG(key.next(), key.next()))
			for j := range row {
				row[j] = float32(rng.NormFloat64())
			}
		}
		b.Inputs = append(b.Inputs, x)
	}
	if classes > 0 {
		b.Labels = make([]int64, rows)
		for i := range b.Labels {
			key := newKeyed(useRandomInput, seed, ^uint64(0), uint64(i))
			b.Labels[i] = int64(key.below(classes))
		}
	}
	return b, nil
}
