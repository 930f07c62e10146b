package op

import (
	"fmt"
	"math"
)

// cast is y = x in another element type, in any layout. Floats become integers
// by rounding toward zero, integers outside the range of a narrower type keep
// their low bits, everything but zero becomes true. Values beyond the range of
// int64 saturate and NaN becomes 0, which ONNX leaves open. The gradient passes
// between float types. https://onnx.ai/onnx/operators/onnx__Cast.html
type cast struct {
	to   Type
	like bool
}

func init() {
	to := func(t Type) Attrs { return Attrs{"to": IntAttr(int(t))} }
	edges := Const(Floats([]float32{-2.75, -1.5, -0.5, 0, 0.5, 1.5, 200.9, 1e-5, 70000}, 9))
	whole := Const(Ints([]int64{-1, 0, 1, 128, 255, 256, 1 << 40}, 7))
	Register(Def{
		Name: "Cast", Since: 6,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			o := &cast{to: Type(r.Int("to", 0))}
			if r.err == nil {
				r.keep(castable(o.to))
			}
			return o, r.err
		},
		Reference: func(n Node, in []*Array) []*Array { return refCast(in[0], Type(n.Attrs["to"].I)) },
		Cases: []Case{
			{Attrs: to(Double), In: []Arg{Rand(2, 3, 5, 7)}},
			{Name: "float to int64", Attrs: to(Int64), In: []Arg{edges}},
			{Name: "float to int8", Attrs: to(Int8), In: []Arg{Const(Floats([]float32{-2.75, 127.9, 0.1}, 3))}},
			{Name: "float to bool", Attrs: to(Bool), In: []Arg{edges}},
			{Name: "float to float16", Attrs: to(Float16), In: []Arg{edges}},
			{Name: "float to bfloat16", Attrs: to(BFloat16), In: []Arg{edges}},
			{Name: "int64 to float", Opset: 7, Attrs: to(Float), In: []Arg{whole}},
			{Name: "int64 to uint8", Attrs: to(Uint8), In: []Arg{whole}},
			{Name: "int64 to int8", Attrs: to(Int8), In: []Arg{whole}},
			{Name: "int64 to bool", Attrs: to(Bool), In: []Arg{whole}},
			{Name: "bool to float", Attrs: to(Float), In: []Arg{Const(&Tensor{Type: Bool, Shape: []int{2}, I: []int64{1, 0}})}},
		},
	})
}

// castable refuses types that tensors here cannot have.
func castable(t Type) error {
	if _, ok := typeNames[t]; !ok || t == Undefined || t == String {
		return fmt.Errorf("cast to %s is not supported", t)
	}
	return nil
}

func (o *cast) Infer(in []*Tensor) ([]*Tensor, error) {
	n, to := 1, o.to
	if o.like {
		n = 2
	}
	if err := wantInputs(in, n, n); err != nil {
		return nil, err
	}
	if o.like {
		to = in[1].Type
		if err := castable(to); err != nil {
			return nil, err
		}
	}
	if err := castable(in[0].Type); err != nil {
		return nil, fmt.Errorf("input 0 is of type %s", in[0].Type)
	}
	return []*Tensor{Info(to, in[0].Shape...)}, nil
}

func (o *cast) Layouts(in []*Tensor) (want, out []Layout) {
	want, out = keepLayouts(in, 1)
	if o.like {
		want[1] = in[1].Layout // only its type is read
	}
	return want, out
}

func (o *cast) Links(in, out []*Tensor) []Link {
	return identityLinks(in, out, func(int) bool { return true })
}

// Zeros holds: the elements are the input's.
func (o *cast) Zeros(zero []bool) bool { return zero[0] }

func (o *cast) Forward(c *Context, in, out []*Tensor) error {
	x, y := in[0], out[0]
	from, to := x.Type.IsFloat(), y.Type.IsFloat()
	c.Parallel(x.Size(), 1, func(lo, hi int) {
		switch {
		case from && to:
			roundTo(y.Type, y.F[lo:hi], x.F[lo:hi])
		case from:
			for i := lo; i < hi; i++ {
				y.I[i] = floatToInt(y.Type, x.F[i])
			}
		case to:
			for i := lo; i < hi; i++ {
				if y.F[i] = float32(x.I[i]); x.Type == Uint64 {
					y.F[i] = float32(uint64(x.I[i]))
				}
			}
			roundTo(y.Type, y.F[lo:hi], y.F[lo:hi])
		default:
			for i := lo; i < hi; i++ {
				y.I[i] = narrow(y.Type, x.I[i])
			}
		}
	})
	return nil
}

func (o *cast) Reads() (in, out uint32) { return 0, 0 }

// Accumulates marks the operator as an [Accumulator].
func (o *cast) Accumulates() {}

func (o *cast) Backward(c *Context, in, out, dout, din []*Tensor) error {
	if len(din) > 1 && din[1] != nil {
		clearGrad(din[1])
	}
	dx := din[0]
	if dx == nil {
		return nil
	}
	if dout[0] == nil || dout[0].F == nil {
		clearGrad(dx)
		return nil
	}
	moveGrad(c, []int{len(dx.F)}, dx, 0, []int{1}, dout[0], 0, []int{1})
	return nil
}

// floatToInt rounds toward zero.
func floatToInt(t Type, v float32) int64 {
	switch {
	case t == Bool:
		if v != 0 {
			return 1
		}
		return 0
	case v != v:
		return 0
	case t == Uint64 && v >= 1<<63:
		if v >= 1<<64 {
			return -1 // all bits set: the largest uint64
		}
		return int64(uint64(v))
	case v >= 1<<63:
		return math.MaxInt64
	case v < -1<<63:
		return math.MinInt64
	}
	return narrow(t, int64(v))
}

// narrow keeps the bits of v that integer type t has.
func narrow(t Type, v int64) int64 {
	switch t {
	case Bool:
		if v != 0 {
			return 1
		}
		return 0
	case Int8:
		return int64(int8(v))
	case Uint8:
		return int64(uint8(v))
	case Int16:
		return int64(int16(v))
	case Uint16:
		return int64(uint16(v))
	case Int32:
		return int64(int32(v))
	case Uint32:
		return int64(uint32(v))
	}
	return v
}

// roundTo writes x as type t would hold it.
func roundTo(t Type, y, x []float32) {
	switch t {
	case Float16:
		for i, v := range x {
			y[i] = roundHalf(v)
		}
	case BFloat16:
		for i, v := range x {
			y[i] = roundBits(v, 16)
		}
	default:
		copy(y, x)
	}
}

// roundHalf rounds to the nearest IEEE 754 half precision value, ties to even.
func roundHalf(v float32) float32 {
	a := math.Abs(float64(v))
	switch {
	case a >= 65520:
		return float32(math.Copysign(math.Inf(1), float64(v)))
	case a < 0x1p-14:
		return float32(math.RoundToEven(float64(v)*0x1p24) * 0x1p-24)
	}
	return roundBits(v, 13)
}

// roundBits clears the low bits of the mantissa, rounding to nearest, ties to
// even.
func roundBits(v float32, low uint) float32 {
	if v != v {
		return v
	}
	b := math.Float32bits(v)
	b += 1<<(low-1) - 1 + b>>low&1
	return math.Float32frombits(b &^ (1<<low - 1))
}

func refCast(x *Array, to Type) []*Array {
	y := NewArray(x.Shape...)
	// bits of mantissa and the smallest exponent of the narrow float types
	bits, least := map[Type]int{Float16: 10, BFloat16: 7}[to], map[Type]int{Float16: -14, BFloat16: -126}[to]
	width := map[Type]float64{Int8: 8, Uint8: 8, Int16: 16, Uint16: 16, Int32: 32, Uint32: 32}[to]
	for i, v := range x.V {
		switch {
		case to == Bool:
			if v != 0 {
				v = 1
			}
		case bits > 0 && v != 0:
			step := math.Pow(2, math.Max(math.Floor(math.Log2(math.Abs(v))), float64(least))-float64(bits))
			v = math.RoundToEven(v/step) * step
			if to == Float16 && math.Abs(v) > 65504 {
				v = math.Inf(int(v))
			}
		case !to.IsFloat():
			v = math.Trunc(v)
			if width > 0 {
				size := math.Pow(2, width)
				v -= math.Floor(v/size) * size
				if (to == Int8 || to == Int16 || to == Int32) && v >= size/2 {
					v -= size
				}
			}
		}
		y.V[i] = v
	}
	return []*Array{y}
}
