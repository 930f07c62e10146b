package op

import (
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Pow: y = a^b with broadcasting; da = dy·b·a^(b-1), db = dy·y·ln a. Base and
// exponent may be of different types; y has the type of the base.
// https://onnx.ai/onnx/operators/onnx__Pow.html
func init() {
	Register(Def{
		Name: "Pow", Since: 7,
		New: func(Node) (Op, error) {
			return &pow{binaryGrad{newBinary(pairFunc{
				vec:   powVectors,
				ints:  powInts,
				mixed: true,
				gradA: powGradBase, gradB: powGradExponent,
				readsX: true, readsY: true,
			})}}, nil
		},
		Reference: func(n Node, in []*Array) []*Array { return refPairs(math.Pow, in) },
		Cases: []Case{
			{In: []Arg{RandIn(0.2, 3, 2, 3, 4, 5), Rand(2, 3, 4, 5)}},
			{Name: "square", In: []Arg{Rand(2, 3, 4, 5), Const(Scalar(2))}},
			{Name: "int exponent", In: []Arg{Rand(2, 3, 4, 5), Const(Ints([]int64{2}))}},
			{Name: "cube", In: []Arg{Rand(2, 9), Const(Floats([]float32{3}, 1))}},
			{Name: "root", In: []Arg{RandIn(0.2, 3, 2, 9), Const(Scalar(0.5))}},
			{Name: "reciprocal", In: []Arg{RandIn(0.2, 3, 2, 9), Const(Scalar(-1))}},
			{Name: "one and zero", In: []Arg{RandIn(0.2, 3, 9, 2), Const(Ints([]int64{1, 0}, 2))}},
			{Name: "both", In: []Arg{RandIn(0.2, 3, 2, 1, 4), Rand(3, 1)}, Tol: 5e-5},
			{Name: "ints", In: []Arg{Const(Ints([]int64{2, -3, 7, 2}, 4)), Const(Ints([]int64{10, 3, 0, 30}, 4))}},
			{Name: "int base", In: []Arg{Const(Ints([]int64{2, 4, 7}, 3)), Const(Floats([]float32{2, 0.5, 1}, 3))}},
		},
	})
}

type pow struct{ binaryGrad }

func (p *pow) Forward(c *Context, in, out []*Tensor) error {
	x, z, y := in[0], in[1], out[0]
	if x.F == nil && z.I == nil {
		s, t := spread(x, y.Shape), spread(z, y.Shape)
		newWalk(y.Shape, y.Strides(), s, t).rows(c, func(o offsets, n int, s offsets) {
			for i := 0; i < n; i++ {
				v := math.Pow(float64(x.I[o[1]+i*s[1]]), float64(z.F[o[2]+i*s[2]]))
				y.I[o[0]+i*s[0]] = wrap(y.Type, int64(v))
			}
		})
		return nil
	}
	return p.binary.Forward(c, floatExponent(in), out)
}

func (p *pow) Backward(c *Context, in, out, dout, din []*Tensor) error {
	return p.binaryGrad.Backward(c, floatExponent(in), out, dout, din)
}

// floatExponent converts an integer exponent of a float base.
func floatExponent(in []*Tensor) []*Tensor {
	x, z := in[0], in[1]
	if !x.Type.IsFloat() || z.Type.IsFloat() {
		return in
	}
	f := *z
	f.Type, f.I = Float, nil
	f.Alloc()
	for i, v := range z.I {
		f.F[i] = float32(v)
	}
	return []*Tensor{x, &f}
}

// uniform reports whether all elements are equal.
func uniform(v []float32) bool {
	for _, x := range v {
		if x != v[0] {
			return false
		}
	}
	return true
}

func powVectors(y, a, b []float32) {
	if uniform(b) {
		switch b[0] {
		case 1:
			copy(y, a)
			return
		case 2:
			kernel.Mul(y, a, a)
			return
		case 3:
			for i, v := range a {
				y[i] = v * v * v
			}
			return
		case 0.5:
			for i, v := range a {
				y[i] = float32(math.Sqrt(float64(v)))
			}
			return
		case -1:
			for i, v := range a {
				y[i] = 1 / v
			}
			return
		}
	}
	for i := range y {
		y[i] = float32(math.Pow(float64(a[i]), float64(b[i])))
	}
}

func powGradBase(d, dy, a, b, y []float32) {
	if b[0] == 2 && uniform(b) {
		for i := range d {
			d[i] = 2 * a[i] * dy[i]
		}
		return
	}
	for i := range d {
		d[i] = 0
		if b[i] != 0 {
			d[i] = dy[i] * float32(float64(b[i])*math.Pow(float64(a[i]), float64(b[i]-1)))
		}
	}
}

func powGradExponent(d, dy, a, b, y []float32) {
	for i := range d {
		d[i] = 0
		if y[i] != 0 {
			d[i] = dy[i] * y[i] * float32(math.Log(float64(a[i])))
		}
	}
}

// powInts wraps around on overflow; a negative exponent truncates to zero
// unless the base is 1 or -1.
func powInts(a, b int64) int64 {
	if b < 0 {
		switch {
		case a == 1 || a == -1 && b%2 == 0:
			return 1
		case a == -1:
			return -1
		}
		return 0
	}
	y := int64(1)
	for ; b > 0; b >>= 1 {
		if b&1 != 0 {
			y *= a
		}
		a *= a
	}
	return y
}
