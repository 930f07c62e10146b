package op

import (
	"fmt"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Gemm: y = alpha·A'·B' + beta·C. A' [M,K] is A or its transpose, B' [K,N] is B
// or its transpose, C broadcasts to y [M,N].
// https://onnx.ai/onnx/operators/onnx__Gemm.html
func init() {
	attrs := func(a, b int, alpha, beta float32) Attrs {
		return Attrs{"transA": IntAttr(a), "transB": IntAttr(b), "alpha": FloatAttr(alpha), "beta": FloatAttr(beta)}
	}
	Register(Def{
		Name: "Gemm", Since: 7, Weights: []int{0, 1}, Params: []int{0, 1, 2},
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			g := &gemm{
				transA: r.Bool("transA", false), transB: r.Bool("transB", false),
				alpha: r.Float("alpha", 1), beta: r.Float("beta", 1),
			}
			return g, r.err
		},
		Reference: refGemm,
		Cases: []Case{
			{In: []Arg{Rand(5, 7), Rand(7, 3), Rand(3)}},
			{Name: "linear", In: []Arg{Rand(4, 9), Rand(6, 9), Rand(6)}, Attrs: attrs(0, 1, 1, 1)},
			{Name: "no-c", Opset: 11, In: []Arg{Rand(3, 4), Rand(4, 5)}},
			{Name: "omitted", Opset: 11, In: []Arg{Rand(3, 4), Rand(4, 5), None()}, Attrs: attrs(0, 0, 0.5, 1)},
			{Name: "trans-a", In: []Arg{Rand(6, 5), Rand(6, 4), Rand(5, 4)}, Attrs: attrs(1, 0, 0.5, 2)},
			{Name: "trans-both", Opset: 9, In: []Arg{Rand(6, 5), Rand(4, 6), Rand(1, 4)}, Attrs: attrs(1, 1, -1.5, 0.25)},
			{Name: "column-c", In: []Arg{Rand(4, 6), Rand(6, 5), Rand(4, 1)}, Attrs: attrs(0, 0, 1, 0.5)},
			{Name: "scalar-c", Opset: 7, In: []Arg{Rand(4, 6), Rand(6, 5), Rand()}},
			{Name: "beta-0", In: []Arg{Rand(4, 6), Rand(6, 5), Rand(5)}, Attrs: attrs(0, 0, 1, 0)},
			{Name: "wide", In: []Arg{Rand(19, 33), Rand(33, 35), Rand(35)}},
		},
	})
}

type gemm struct {
	transA, transB bool
	alpha, beta    float32
}

// dims returns the lengths M, K and N.
func (g *gemm) dims(in []*Tensor) (m, k, n int) {
	a, b := in[0].Shape, in[1].Shape
	m, k, n = a[0], a[1], b[1]
	if g.transA {
		m, k = k, m
	}
	if g.transB {
		n = b[0]
	}
	return m, k, n
}

func (g *gemm) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 2, 3); err != nil {
		return nil, err
	}
	if err := wantFloats(in); err != nil {
		return nil, err
	}
	a, b := in[0].Shape, in[1].Shape
	if len(a) != 2 || len(b) != 2 {
		return nil, fmt.Errorf("inputs have shapes %s and %s, wants rank 2", ShapeString(a), ShapeString(b))
	}
	m, k, n := g.dims(in)
	if kb := Size(b) / max(1, n); n > 0 && kb != k {
		return nil, fmt.Errorf("weight %s wants %d input features, input %s has %d", ShapeString(b), kb, ShapeString(a), k)
	}
	y := []int{m, n}
	if len(in) > 2 && in[2] != nil {
		c := in[2].Shape
		if s, err := BroadcastShape(c, y); err != nil || !EqualShape(s, y) {
			return nil, fmt.Errorf("bias has shape %s, wants one that broadcasts to %s", ShapeString(c), ShapeString(y))
		}
	}
	if err := checkSize(y); err != nil {
		return nil, err
	}
	return []*Tensor{Info(in[0].Type, y...)}, nil
}

func (g *gemm) Prepare(in, out []*Tensor, training bool) (int, error) {
	m, k, n := g.dims(in)
	ws := kernel.GemmWorkspace(g.transA, g.transB, m, n, k)
	for i := range 2 {
		p := g.product(i, m, k, n)
		ws = max(ws, kernel.GemmWorkspace(p.transA, p.transB, p.m, p.n, p.k))
	}
	return ws, nil
}

func (g *gemm) MACs(in, out []*Tensor) int64 {
	m, k, n := g.dims(in)
	return int64(m) * int64(k) * int64(n)
}

func (g *gemm) Links(in, out []*Tensor) []Link {
	ta, tb := 0, 0
	if g.transA {
		ta = 1
	}
	if g.transB {
		tb = 1
	}
	rows, cols := Link{{0, ta}}, Link{{1, 1 - tb}}
	if len(in) > 2 && in[2] != nil {
		c := in[2].Shape
		if r := len(c); r == 2 && c[0] != 1 {
			rows = append(rows, AxisRef{2, 0})
		}
		if r := len(c); r > 0 && c[r-1] != 1 {
			cols = append(cols, AxisRef{2, r - 1})
		}
	}
	return []Link{append(rows, AxisRef{^0, 0}), {{0, 1 - ta}, {1, tb}}, append(cols, AxisRef{^0, 1})}
}

// Zeros needs the slices of one factor to be zero, and C.
func (g *gemm) Zeros(zero []bool) bool { return (zero[0] || zero[1]) && (len(zero) < 3 || zero[2]) }

func (g *gemm) Forward(c *Context, in, out []*Tensor) error {
	m, k, n := g.dims(in)
	y, beta := out[0], float32(0)
	if len(in) > 2 && in[2] != nil && g.beta != 0 {
		beta = g.beta
		if b := in[2].F; len(b) == n && in[2].Rank() > 0 && in[2].Shape[in[2].Rank()-1] == n {
			for i := range m {
				copy(y.F[i*n:][:n], b)
			}
		} else {
			move(c, y.Shape, y.F, 0, y.Strides(), b, 0, spread(in[2], y.Shape))
		}
	}
	ws := c.scratch(kernel.GemmWorkspace(g.transA, g.transB, m, n, k))
	kernel.Gemm(c.pool(), g.transA, g.transB, m, n, k, g.alpha, in[0].F, in[0].Shape[1], in[1].F, in[1].Shape[1], beta, y.F, n, ws)
	return nil
}

func (g *gemm) Reads() (in, out uint32) { return 1<<0 | 1<<1, 0 }

// product is the matrix product that gives the gradient of A or B. Its operands
// are dy and the other factor; swap puts the other factor first.
type product struct {
	transA, transB, swap bool
	m, n, k              int
}

// product: dA = alpha·dy·B'ᵀ and dB = alpha·A'ᵀ·dy, transposed where the input is.
func (g *gemm) product(i, m, k, n int) product {
	switch {
	case i == 0 && !g.transA:
		return product{transB: !g.transB, m: m, n: k, k: n}
	case i == 0:
		return product{transA: g.transB, transB: true, swap: true, m: k, n: m, k: n}
	case !g.transB:
		return product{transA: !g.transA, swap: true, m: k, n: n, k: m}
	default:
		return product{transA: true, transB: g.transA, m: n, n: k, k: m}
	}
}

func (g *gemm) Backward(c *Context, in, out, dout, din []*Tensor) error {
	m, k, n := g.dims(in)
	for i := range 2 {
		if din[i] == nil {
			continue
		}
		p := g.product(i, m, k, n)
		a, b := dout[0], in[1-i]
		if p.swap {
			a, b = b, a
		}
		ws := c.scratch(kernel.GemmWorkspace(p.transA, p.transB, p.m, p.n, p.k))
		kernel.Gemm(c.pool(), p.transA, p.transB, p.m, p.n, p.k, g.alpha, a.F, a.Shape[1], b.F, b.Shape[1], 0, din[i].F, p.n, ws)
	}
	if len(din) > 2 && din[2] != nil {
		dc := din[2]
		if dc.Size() == n && dc.Rank() > 0 && dc.Shape[dc.Rank()-1] == n {
			kernel.ColumnSums(c.pool(), dc.F, dout[0].F, m, n, false)
			if g.beta != 1 {
				kernel.Scale(dc.F, dc.F, g.beta)
			}
		} else {
			reduceTo(c, dc, dout[0], g.beta)
		}
	}
	return nil
}

func refGemm(n Node, in []*Array) []*Array {
	r := &reader{n: n}
	transA, transB := r.Int("transA", 0), r.Int("transB", 0)
	at := func(a *Array, trans, i, j int) float64 {
		if trans != 0 {
			i, j = j, i
		}
		return a.V[i*a.Shape[1]+j]
	}
	y := NewArray(in[0].Shape[transA], in[1].Shape[1-transB])
	inner := in[0].Shape[1-transA]
	alpha, beta := float64(r.Float("alpha", 1)), float64(r.Float("beta", 1))
	Each(y.Shape, func(idx []int) {
		sum := 0.0
		for k := 0; k < inner; k++ {
			sum += at(in[0], transA, idx[0], k) * at(in[1], transB, k, idx[1])
		}
		sum *= alpha
		if len(in) > 2 && in[2] != nil {
			sum += beta * refBroadcast(in[2], idx)
		}
		y.V[y.At(idx...)] = sum
	})
	return []*Array{y}
}
