package op

import "fmt"

// pairFunc is a function of two elements with everything that the binary
// operators need. At least one of vec, test and ints is set.
type pairFunc struct {
	// ref is the function in float64.
	ref func(a, b float64) float64
	// vec computes the function on vectors. It may write y over a.
	vec func(y, a, b []float32)
	// ints computes it on integers and booleans.
	ints func(a, b int64) int64
	// test is a function of floats whose result is of type bool.
	test func(a, b float32) bool
	// bools marks a result of type bool, onlyBools inputs of type bool.
	bools, onlyBools bool
	// mixed allows that one input is of float and the other of integer type.
	mixed bool

	// linear marks y = signA·a + signB·b.
	linear       bool
	signA, signB float32
	// gradA and gradB compute dy·∂y/∂a and dy·∂y/∂b on vectors. Without them,
	// and if linear is not set, no gradient exists.
	gradA, gradB func(d, dy, a, b, y []float32)
	// readsX and readsY say that they need a and b, and y.
	readsX, readsY bool
}

// binary is y = f(a, b) with multidirectional broadcasting, in any layout.
type binary struct {
	f   pairFunc
	vec func(y, a, b, _ []float32)
}

func newBinary(f pairFunc) binary {
	return binary{f, func(y, a, b, _ []float32) { f.vec(y, a, b) }}
}

type binaryGrad struct{ binary }

func registerBinary(name string, since int, newFunc func(r *reader) pairFunc, params []int, cases ...Case) {
	Register(Def{
		Name: name, Since: since, Params: params,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			f := newFunc(r)
			if r.err != nil {
				return nil, r.err
			}
			if f.gradA == nil && !f.linear {
				b := newBinary(f)
				return &b, nil
			}
			return &binaryGrad{newBinary(f)}, nil
		},
		Reference: func(n Node, in []*Array) []*Array {
			return refPairs(newFunc(&reader{n: n}).ref, in)
		},
		Cases: cases,
	})
}

func refPairs(f func(a, b float64) float64, in []*Array) []*Array {
	y := NewArray(mustBroadcast(in)...)
	i := 0
	Each(y.Shape, func(idx []int) {
		y.V[i] = f(refBroadcast(in[0], idx), refBroadcast(in[1], idx))
		i++
	})
	return []*Array{y}
}

func (b *binary) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 2, 2); err != nil {
		return nil, err
	}
	x, z := in[0].Type, in[1].Type
	switch {
	case x == String || z == String, b.f.onlyBools && (x != Bool || z != Bool), !b.f.bools && (x == Bool || z == Bool):
		want := "numbers"
		if b.f.onlyBools {
			want = "bool"
		}
		return nil, fmt.Errorf("inputs are of types %s and %s, wants %s", x, z, want)
	case !b.f.mixed && x != z:
		return nil, fmt.Errorf("input 0 is of type %s, input 1 of type %s, wants equal types", x, z)
	case x.IsFloat() && b.f.vec == nil && b.f.test == nil:
		return nil, fmt.Errorf("inputs are of type %s, wants integers", x)
	case !x.IsFloat() && b.f.ints == nil:
		return nil, fmt.Errorf("inputs are of type %s, wants a float type", x)
	}
	s, err := BroadcastShape(in[0].Shape, in[1].Shape)
	if err != nil {
		return nil, err
	}
	if err := checkSize(s); err != nil {
		return nil, err
	}
	if b.f.bools {
		x = Bool
	}
	return []*Tensor{Info(x, s...)}, nil
}

// Wide needs a sum, which is zero at zeros with any gradient, and channels on both
// sides.
func (b *binary) Wide(in []*Tensor) (free, same []int) {
	if !b.f.linear || in[0] == nil || in[1] == nil || !EqualShape(in[0].Shape, in[1].Shape) {
		return nil, nil
	}
	return nil, []int{0, 1}
}

func (b *binary) Layouts(in []*Tensor) (want, out []Layout) { return broadcastLayouts(in, 1) }

func (b *binary) Links(in, out []*Tensor) []Link { return passLinks(in, out) }

// Zeros finds out from the function: zero for zero operands, or for one zero operand
// whatever the other is.
func (b *binary) Zeros(zero []bool) bool {
	if b.f.ref == nil || b.f.bools {
		return false
	}
	probes := []float64{-3, -0.5, 0.25, 2}
	first, second := zero[0], zero[1]
	for _, v := range probes {
		first = first && b.f.ref(0, v) == 0
		second = second && b.f.ref(v, 0) == 0
	}
	if zero[0] && zero[1] {
		return b.f.ref(0, 0) == 0
	}
	return first || second
}

func (b *binary) Forward(c *Context, in, out []*Tensor) error {
	x, z, y := in[0], in[1], out[0]
	if x.F != nil && b.f.vec != nil && !b.f.bools && aligned(x, y) && aligned(z, y) {
		c.sweep(len(y.F), b.vec, y.F, x.F, z.F, nil)
		return nil
	}
	w := newWalk(y.Shape, y.Strides(), spread(x, y.Shape), spread(z, y.Shape))
	switch {
	case x.F == nil:
		w.rows(c, func(o offsets, n int, s offsets) {
			for i := 0; i < n; i++ {
				y.I[o[0]+i*s[0]] = wrap(y.Type, b.f.ints(x.I[o[1]+i*s[1]], z.I[o[2]+i*s[2]]))
			}
		})
	case b.f.bools:
		w.rows(c, func(o offsets, n int, s offsets) {
			for i := 0; i < n; i++ {
				v := int64(0)
				if b.f.test(x.F[o[1]+i*s[1]], z.F[o[2]+i*s[2]]) {
					v = 1
				}
				y.I[o[0]+i*s[0]] = v
			}
		})
	default:
		pointwise(c, y.Shape, dense(y), func(d []float32, v *vectors) { b.f.vec(d, v[0], v[1]) },
			over(x, y.Shape), over(z, y.Shape))
	}
	return nil
}

func (b *binaryGrad) Reads() (in, out uint32) {
	if b.f.readsX {
		in = 3
	}
	if b.f.readsY {
		out = 1
	}
	return in, out
}

func (b *binaryGrad) Backward(c *Context, in, out, dout, din []*Tensor) error {
	dy := dout[0]
	for k, dx := range din {
		if dx == nil {
			continue
		}
		if b.f.linear {
			reduceTo(c, dx, dy, []float32{b.f.signA, b.f.signB}[k])
			continue
		}
		f := []func(d, dy, a, b, y []float32){b.f.gradA, b.f.gradB}[k]
		none := operand{str: make([]int, dy.Rank())} // stands for what f does not read
		ops := []operand{none, none, none}
		if b.f.readsX {
			ops[0], ops[1] = over(in[0], dy.Shape), over(in[1], dy.Shape)
		}
		if b.f.readsY {
			ops[2] = dense(out[0])
		}
		gradTo(c, dx, dy, func(d []float32, x *vectors) { f(d, x[0], x[1], x[2], x[3]) }, ops...)
	}
	return nil
}

// wrap reduces an integer to the range of its type, as overflow does.
func wrap(t Type, v int64) int64 {
	switch t {
	case Uint8:
		return int64(uint8(v))
	case Int8:
		return int64(int8(v))
	case Uint16:
		return int64(uint16(v))
	case Int16:
		return int64(int16(v))
	case Int32:
		return int64(int32(v))
	case Uint32:
		return int64(uint32(v))
	}
	return v
}

// pairs lifts a scalar function to vectors.
func pairs(f func(a, b float32) float32) func(y, a, b []float32) {
	return func(y, a, b []float32) {
		a, b = a[:len(y)], b[:len(y)]
		for i := range y {
			y[i] = f(a[i], b[i])
		}
	}
}

// truth is 1 for true.
func truth(v bool) int64 {
	if v {
		return 1
	}
	return 0
}
