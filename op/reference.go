package op

// Array is a row-major tensor of float64, on which reference implementations
// compute. Integers and booleans are held as float64 too.
type Array struct {
	Shape []int
	V     []float64
}

// NewArray returns a zeroed array.
func NewArray(shape ...int) *Array {
	return &Array{Shape: append([]int{}, shape...), V: make([]float64, Size(shape))}
}

// At returns the offset of an index.
func (a *Array) At(idx ...int) int {
	o := 0
	for i, d := range a.Shape {
		o = o*d + idx[i]
	}
	return o
}

// Each calls f with every index of the shape in row-major order; f must not
// keep idx.
func Each(shape []int, f func(idx []int)) {
	n := Size(shape)
	idx := make([]int, len(shape))
	for ; n > 0; n-- {
		f(idx)
		for i := len(shape) - 1; i >= 0; i-- {
			if idx[i]++; idx[i] < shape[i] {
				break
			}
			idx[i] = 0
		}
	}
}

// Arg is an input of a test case: a fixed tensor, or a random float tensor.
type Arg struct {
	// Tensor, if not nil, is the fixed value; a fixed float input has no
	// gradient checked.
	Tensor *Tensor
	// Shape of a random float tensor with elements in [Lo,Hi).
	Shape  []int
	Lo, Hi float64
	// Omitted marks an optional input that is absent.
	Omitted bool
}

// Rand returns a random argument with elements in [-1,1).
func Rand(shape ...int) Arg { return Arg{Shape: shape, Lo: -1, Hi: 1} }

// RandIn returns a random argument with elements in [lo,hi).
func RandIn(lo, hi float64, shape ...int) Arg { return Arg{Shape: shape, Lo: lo, Hi: hi} }

// Const returns a fixed argument.
func Const(t *Tensor) Arg { return Arg{Tensor: t} }

// None is an omitted optional argument.
func None() Arg { return Arg{Omitted: true} }

// Case is one test of an operator: the driver compares shapes and values with
// the reference, gradients with finite differences of the reference, and
// the channel rule with deletion.
type Case struct {
	Name  string
	Opset int
	Attrs Attrs
	In    []Arg
	// Outputs is the number of outputs, 1 if zero.
	Outputs int
	// Training runs the case in training mode.
	Training bool
	// Tol is the largest difference accepted, relative to 1+|value|; 2e-5 if zero.
	Tol float64
}
