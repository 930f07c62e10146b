package op

import (
	"fmt"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// maxSize bounds the elements of a tensor that Infer accepts.
const maxSize = 1 << 40

// serial runs kernels where a context brings no pool of its own.
var serial = kernel.NewPool(1)

// pool returns the pool to run kernels on; without one, a pool of one thread.
func (c *Context) pool() *kernel.Pool {
	if c == nil || c.Pool == nil {
		return serial
	}
	return c.Pool
}

// scratch returns n elements of the workspace, or fresh ones where the context
// brings too few.
func (c *Context) scratch(n int) []float32 {
	if c == nil || len(c.Workspace) < n {
		return make([]float32, n)
	}
	return c.Workspace[:n]
}

// checkSize refuses shapes with a negative dimension or more than maxSize
// elements; dimensions of 0 count as 1, so that no product overflows.
func checkSize(shape []int) error {
	n := 1
	for _, d := range shape {
		if d < 0 {
			return fmt.Errorf("shape %s has a negative dimension", ShapeString(shape))
		}
		if d > 0 && n > maxSize/d {
			return fmt.Errorf("shape %s has more than %d elements", ShapeString(shape), int64(maxSize))
		}
		n *= max(1, d)
	}
	return nil
}

// wantFloats refuses present inputs that are not of a float type.
func wantFloats(in []*Tensor) error {
	for i, t := range in {
		if t != nil && !t.Type.IsFloat() {
			return fmt.Errorf("input %d is of type %s, wants a float type", i, t.Type)
		}
	}
	return nil
}

// wantAxis resolves a possibly negative axis against a rank.
func wantAxis(axis, rank int) (int, error) {
	if axis < -rank || axis >= rank {
		return 0, fmt.Errorf("axis %d is out of range for rank %d", axis, rank)
	}
	if axis < 0 {
		axis += rank
	}
	return axis, nil
}

// inner is the layout in which the convolution family keeps a value: the
// channels are contiguous.
func inner(t *Tensor) Layout {
	if t != nil && t.Rank() >= 3 {
		return ChannelsLast
	}
	return RowMajor
}

// wantInner refuses a value that is not in its inner layout.
func wantInner(i int, t *Tensor) error {
	if t != nil && !SameOrder(t.Shape, t.Layout, inner(t)) {
		return fmt.Errorf("input %d is %s, wants %s", i, t.Layout, inner(t))
	}
	return nil
}
