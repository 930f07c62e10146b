// Package op holds the ONNX operators that onnxprune can run: one file per
// operator with its attributes, shape inference, forward and backward pass,
// channel rule, naive reference and test cases, registered once.
//
// Operators compute on [Tensor] values. Floating point element types are held
// as float32, integer and boolean ones as int64. A tensor of rank 3 or more
// lies in memory either row-major or channels-last; shapes are always written
// in ONNX order ([N,C,H,W]), whatever the layout.
package op

import (
	"fmt"
	"strings"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Type is an ONNX element type with the numbering of TensorProto.DataType.
type Type int32

// The element types that values in a graph can have here.
const (
	Undefined Type = 0
	Float     Type = 1
	Uint8     Type = 2
	Int8      Type = 3
	Uint16    Type = 4
	Int16     Type = 5
	Int32     Type = 6
	Int64     Type = 7
	String    Type = 8
	Bool      Type = 9
	Float16   Type = 10
	Double    Type = 11
	Uint32    Type = 12
	Uint64    Type = 13
	BFloat16  Type = 16
)

var typeNames = map[Type]string{
	Undefined: "undefined", Float: "float", Uint8: "uint8", Int8: "int8", Uint16: "uint16", Int16: "int16",
	Int32: "int32", Int64: "int64", String: "string", Bool: "bool", Float16: "float16", Double: "double",
	Uint32: "uint32", Uint64: "uint64", BFloat16: "bfloat16",
}

// String returns the lower-case ONNX name of the type.
func (t Type) String() string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return fmt.Sprintf("type%d", int32(t))
}

// IsFloat reports whether tensors of type t keep their elements in F.
func (t Type) IsFloat() bool { return t == Float || t == Float16 || t == Double || t == BFloat16 }

// Layout is the order of a tensor's elements in memory.
type Layout uint8

const (
	// RowMajor is the order of ONNX: the last axis is contiguous.
	RowMajor Layout = iota
	// ChannelsLast stores [N,C,D1,…,Dk] as [N,D1,…,Dk,C], densely. It is used for
	// rank 3 and above only.
	ChannelsLast
)

// String returns "row-major" or "channels-last".
func (l Layout) String() string {
	if l == ChannelsLast {
		return "channels-last"
	}
	return "row-major"
}

// Tensor is a value in a graph. Shape is in ONNX order. Exactly one of F
// (floating point types) and I (all others, booleans as 0 and 1) holds the
// elements in the order given by Layout; both are nil while only type and
// shape are known. The zero-rank tensor has one element.
type Tensor struct {
	Type   Type
	Shape  []int
	Layout Layout
	F      []float32
	I      []int64
	// Acc is set on gradients handed to an operator that declares
	// Accumulates: Backward then adds to F instead of overwriting it.
	Acc bool
}

// Size returns the product of the dimensions in elements.
func Size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// New returns a zeroed row-major tensor.
func New(t Type, shape ...int) *Tensor {
	x := &Tensor{Type: t, Shape: append([]int{}, shape...)}
	x.Alloc()
	return x
}

// Floats returns a row-major float tensor over v.
func Floats(v []float32, shape ...int) *Tensor {
	return &Tensor{Type: Float, Shape: append([]int{}, shape...), F: v}
}

// Ints returns a row-major int64 tensor over v.
func Ints(v []int64, shape ...int) *Tensor {
	return &Tensor{Type: Int64, Shape: append([]int{}, shape...), I: v}
}

// Scalar returns a float tensor of rank 0.
func Scalar(v float32) *Tensor { return Floats([]float32{v}) }

// Vector returns a 1-D int64 tensor, as shapes and axes are given in ONNX.
func Vector(v ...int) *Tensor {
	i := make([]int64, len(v))
	for k, x := range v {
		i[k] = int64(x)
	}
	return Ints(i, len(v))
}

// Info returns a tensor of the given type and shape without elements, as
// Infer methods report their results.
func Info(t Type, shape ...int) *Tensor {
	return &Tensor{Type: t, Shape: append([]int{}, shape...)}
}

// Alloc gives the tensor zeroed elements of its own.
func (t *Tensor) Alloc() {
	if t.Type.IsFloat() {
		t.F = kernel.Floats(Size(t.Shape))
	} else {
		t.I = make([]int64, Size(t.Shape))
	}
}

// Size returns the number of elements.
func (t *Tensor) Size() int { return Size(t.Shape) }

// Rank returns the number of axes.
func (t *Tensor) Rank() int { return len(t.Shape) }

// IsConst reports whether the elements are present.
func (t *Tensor) IsConst() bool { return t != nil && (t.F != nil || t.I != nil) }

// Strides returns, per ONNX axis, the distance in elements between neighbours.
func (t *Tensor) Strides() []int { return Strides(t.Shape, t.Layout) }

// Strides returns the element strides, per ONNX axis, of a dense tensor.
func Strides(shape []int, l Layout) []int {
	r := len(shape)
	s := make([]int, r)
	step := 1
	if l == ChannelsLast && r >= 3 {
		s[1] = 1
		step = shape[1]
		for i := r - 1; i >= 2; i-- {
			s[i] = step
			step *= shape[i]
		}
		s[0] = step
		return s
	}
	for i := r - 1; i >= 0; i-- {
		s[i] = step
		step *= shape[i]
	}
	return s
}

// SameOrder reports whether both layouts store this shape identically.
func SameOrder(shape []int, a, b Layout) bool {
	if a == b || len(shape) < 3 || shape[1] == 1 {
		return true
	}
	n := 1
	for _, d := range shape[2:] {
		n *= d
	}
	return n == 1
}

// ShapeString writes a shape as [2,3,4].
func ShapeString(shape []int) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, d := range shape {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d", d)
	}
	b.WriteByte(']')
	return b.String()
}

// EqualShape reports whether a and b have the same dimensions.
func EqualShape(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
