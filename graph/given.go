package graph

import (
	"math"
	"slices"
)

// given reports whether the elements of v, an operand of Add or Mul or the table of a Gather, are such as nothing learns: masks of
// attention, with elements that are not finite or at most −10⁴ to add, or zeros and ones to multiply with; or places and
// sizes, as the anchors and grids of detectors: whole or half numbers, different ones, not all within [−1,1].
func (v *Value) given(operator string) bool {
	f := v.Init.F
	if operator == "Add" && slices.ContainsFunc(f, func(x float32) bool { return !(x > -1e4 && x <= math.MaxFloat32) }) {
		return true
	}
	zero, one, large := false, false, false
	for _, x := range f {
		if y := 2 * float64(x); y != math.Trunc(y) {
			return false
		}
		zero, one, large = zero || x == 0, one || x == 1, large || x > 1 || x < -1
	}
	switch {
	case large:
		return slices.ContainsFunc(f, func(x float32) bool { return x != f[0] }) // one number may be a scale before training
	case operator == "Mul":
		return zero && one && !slices.ContainsFunc(f, func(x float32) bool { return x != 0 && x != 1 })
	}
	return false
}

// axesOf counts the axes of more than one element.
func axesOf(shape []int) int {
	n := 0
	for _, d := range shape {
		if d > 1 {
			n++
		}
	}
	return n
}
