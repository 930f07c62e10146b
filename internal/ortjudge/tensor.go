package ortjudge

import (
	"fmt"
	"math"
	"slices"
)

// Tensor holds the elements of a tensor in row-major order, in exactly one of
// F, I and B:
//
//   - F for float32; float64, float16 and bfloat16 are converted,
//   - I for int64; the other signed and unsigned integers are converted,
//   - B for bool.
//
// A nil or empty Shape is a scalar, with one element. On the way in, elements
// are converted to the type that the model declares.
type Tensor struct {
	Shape []int64
	F     []float32
	I     []int64
	B     []bool
}

// Floats is a tensor of those elements.
func Floats(f []float32, shape []int) Tensor {
	x := Tensor{F: f, Shape: make([]int64, len(shape))}
	for k, d := range shape {
		x.Shape[k] = int64(d)
	}
	return x
}

// Moved is a copy of a tensor of floats with an axis at another place.
func (x Tensor) Moved(from, to int) Tensor {
	var order []int
	for k := range x.Shape {
		if k != from {
			order = append(order, k)
		}
	}
	if from < len(x.Shape) {
		order = slices.Insert(order, to, from)
	}
	y := Tensor{Shape: make([]int64, len(order)), F: make([]float32, len(x.F))}
	for k, a := range order {
		y.Shape[k] = x.Shape[a]
	}
	place := make([]int64, len(order))
	for i := range y.F {
		rest := int64(i)
		for k := len(order) - 1; k >= 0; k-- {
			place[order[k]], rest = rest%y.Shape[k], rest/y.Shape[k]
		}
		at := int64(0)
		for k, d := range x.Shape {
			at = at*d + place[k]
		}
		y.F[i] = x.F[at]
	}
	return y
}

// BatchFirst moves the first axis to the front that gives x that shape, as the engine's plans have the batch; false
// where none does.
func (x Tensor) BatchFirst(shape []int) (Tensor, bool) {
	want := Floats(nil, shape).Shape
	if slices.Equal(x.Shape, want) {
		return x, true
	}
	for k := range x.Shape {
		if y := x.Moved(k, 0); slices.Equal(y.Shape, want) {
			return y, true
		}
	}
	return x, false
}

// ValueInfo describes an input or output that a model declares. Dims holds -1
// for a dynamic dimension; it is empty for a scalar and for an unknown rank.
// Type is the ONNX name in lower case: "float", "int64", "bool", "float16".
type ValueInfo struct {
	Name string
	Type string
	Dims []int64
}

// elements returns the product of shape, which is 1 for a scalar.
func elements(shape []int64) int {
	n := 1
	for _, d := range shape {
		n *= int(d)
	}
	return n
}

// check reports whether x holds as many elements as its shape says, and in
// only one of its slices.
func (x Tensor) check() error {
	filled := 0
	for _, n := range []int{len(x.F), len(x.I), len(x.B)} {
		if n > 0 {
			filled++
		}
	}
	if filled > 1 {
		return fmt.Errorf("tensor holds elements of more than one type")
	}
	got, want := len(x.F)+len(x.I)+len(x.B), elements(x.Shape)
	if got != want {
		return fmt.Errorf("tensor has %d elements, shape %v needs %d", got, x.Shape, want)
	}
	return nil
}

// float16Bits returns the IEEE 754 binary16 nearest to f, ties to even.
func float16Bits(f float32) uint16 {
	bits := math.Float32bits(f)
	sign := uint16(bits >> 16 & 0x8000)
	abs := math.Abs(float64(f))
	switch {
	case f != f:
		return sign | 0x7e00
	case abs >= 65520:
		return sign | 0x7c00
	case abs < 1.0/(1<<14):
		return sign | uint16(math.RoundToEven(abs*(1<<24)))
	}
	mantissa := bits & 0x7fffffff
	mantissa += 0xfff + mantissa>>13&1
	return sign | uint16(mantissa>>13-(127-15)<<10)
}

// float16Value returns the value of the IEEE 754 binary16 with the given bits.
func float16Value(bits uint16) float32 {
	sign := 1.0
	if bits&0x8000 != 0 {
		sign = -1
	}
	exponent, fraction := int(bits>>10&31), float64(bits&1023)
	switch exponent {
	case 0:
		return float32(math.Copysign(fraction/(1<<24), sign))
	case 31:
		if fraction != 0 {
			return float32(math.NaN())
		}
		return float32(math.Inf(int(sign)))
	}
	return float32(sign * math.Ldexp(1024+fraction, exponent-25))
}

// bfloat16Bits returns the bfloat16 nearest to f, ties to even.
func bfloat16Bits(f float32) uint16 {
	bits := math.Float32bits(f)
	if f != f {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

// bfloat16Value returns the value of the bfloat16 with the given bits.
func bfloat16Value(bits uint16) float32 {
	return math.Float32frombits(uint32(bits) << 16)
}
