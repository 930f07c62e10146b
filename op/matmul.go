package op

import (
	"fmt"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// MatMul: y = A·B over the last two axes, with the leading axes broadcast as
// numpy does. A [...,M,K], B [...,K,N], y [...,M,N]; a vector A is a row, a
// vector B a column, whose axis is then missing in y.
// https://onnx.ai/onnx/operators/onnx__MatMul.html
func init() {
	Register(Def{
		Name: "MatMul", Since: 1, Weights: []int{0, 1}, Params: []int{0, 1},
		New:       func(Node) (Op, error) { return &matMul{}, nil },
		Reference: refMatMul,
		Cases: []Case{
			{In: []Arg{Rand(5, 7), Rand(7, 3)}},
			{Name: "linear", In: []Arg{Rand(2, 3, 4, 6), Rand(6, 5)}},
			{Name: "batched", In: []Arg{Rand(2, 3, 4, 6), Rand(2, 3, 6, 5)}},
			{Name: "shared-b", In: []Arg{Rand(2, 3, 4, 6), Rand(3, 6, 5)}},
			{Name: "shared-a", In: []Arg{Rand(4, 6), Rand(2, 3, 6, 5)}},
			{Name: "cross", In: []Arg{Rand(2, 1, 4, 3), Rand(1, 3, 3, 5)}},
			{Name: "unit-b", In: []Arg{Rand(2, 3, 4, 3), Rand(1, 1, 3, 5)}},
			{Name: "vectors", In: []Arg{Rand(9), Rand(9)}},
			{Name: "vector-a", In: []Arg{Rand(4), Rand(3, 4, 5)}},
			{Name: "vector-b", Opset: 9, In: []Arg{Rand(2, 3, 4), Rand(4)}},
			{Name: "wide", In: []Arg{Rand(2, 17, 33), Rand(2, 33, 19)}},
		},
	})
}

type matMul struct{}

// batchedProduct is A·B as matrices: their sizes, the axes they are repeated
// over, and the distance of neighbours along these in A, B and y.
type batchedProduct struct {
	m, n, k    int
	batch      []int
	sa, sb, sy []int
}

// matrices returns a shape with the missing axis of a vector put in.
func matrices(a, b []int) ([]int, []int) {
	if len(a) == 1 {
		a = []int{1, a[0]}
	}
	if len(b) == 1 {
		b = []int{b[0], 1}
	}
	return a, b
}

func newBatchedProduct(in []*Tensor) batchedProduct {
	a, b := matrices(in[0].Shape, in[1].Shape)
	la, lb := len(a)-2, len(b)-2
	p := batchedProduct{m: a[la], k: a[la+1], n: b[lb+1]}
	if Size(b[:lb]) == 1 && lb <= la {
		p.m *= Size(a[:la]) // one matrix B: the rows of all A are one matrix
		return p
	}
	p.batch, _ = BroadcastShape(a[:la], b[:lb])
	own := func(shape []int, matrix int) []int {
		s := spread(&Tensor{Shape: shape}, p.batch)
		for i := range s {
			s[i] *= matrix
		}
		return s
	}
	p.sa, p.sb, p.sy = own(a[:la], p.m*p.k), own(b[:lb], p.k*p.n), own(p.batch, p.m*p.n)
	return p
}

// side is an operand of a product with its strides over the batch.
type side struct {
	v     []float32
	str   []int
	trans bool
}

// workspace returns the floats that run needs for a product of these sizes.
func (p *batchedProduct) workspace(m, n, k int, dst, a, b side) int {
	w := newWalk(p.batch, dst.str, a.str, b.str)
	last := len(w.dims) - 1
	count, s := w.dims[last], w.str[last]
	if s[0] == 0 {
		return kernel.GemmWorkspace(a.trans, b.trans, m, n, k)
	}
	return kernel.GemmBatchedWorkspace(count, a.trans, b.trans, m, n, k, s[1], s[2])
}

// run computes dst = a·b [m,n], summed over the axes of the batch along which
// dst is shared.
func (p *batchedProduct) run(c *Context, m, n, k int, dst, a, b side) {
	lda, ldb := k, n
	if a.trans {
		lda = m
	}
	if b.trans {
		ldb = k
	}
	beta := float32(0)
	if len(dst.v) != Size(p.batch)*m*n {
		clear(dst.v)
		beta = 1
	}
	ws := c.scratch(p.workspace(m, n, k, dst, a, b))
	newWalk(p.batch, dst.str, a.str, b.str).rows(nil, func(o offsets, count int, s offsets) {
		if s[0] == 0 {
			for i := range count {
				kernel.Gemm(c.pool(), a.trans, b.trans, m, n, k, 1, a.v[o[1]+i*s[1]:], lda, b.v[o[2]+i*s[2]:], ldb, beta, dst.v[o[0]:], n, ws)
			}
			return
		}
		kernel.GemmBatched(c.pool(), count, a.trans, b.trans, m, n, k, 1, a.v[o[1]:], lda, s[1], b.v[o[2]:], ldb, s[2], beta, dst.v[o[0]:], n, s[0], ws)
	})
}

func (f *matMul) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 2, 2); err != nil {
		return nil, err
	}
	if err := wantFloats(in); err != nil {
		return nil, err
	}
	if in[0].Rank() == 0 || in[1].Rank() == 0 {
		return nil, fmt.Errorf("inputs have shapes %s and %s, wants at least rank 1", ShapeString(in[0].Shape), ShapeString(in[1].Shape))
	}
	a, b := matrices(in[0].Shape, in[1].Shape)
	la, lb := len(a)-2, len(b)-2
	if a[la+1] != b[lb] {
		return nil, fmt.Errorf("second input %s wants %d elements along the last axis of the first, %s has %d",
			ShapeString(in[1].Shape), b[lb], ShapeString(in[0].Shape), a[la+1])
	}
	y, err := BroadcastShape(a[:la], b[:lb])
	if err != nil {
		return nil, err
	}
	if in[0].Rank() > 1 {
		y = append(y, a[la])
	}
	if in[1].Rank() > 1 {
		y = append(y, b[lb+1])
	}
	if err := checkSize(y); err != nil {
		return nil, err
	}
	return []*Tensor{Info(in[0].Type, y...)}, nil
}

func (f *matMul) MACs(in, out []*Tensor) int64 {
	return int64(out[0].Size()) * int64(in[0].Shape[in[0].Rank()-1])
}

func (f *matMul) Links(in, out []*Tensor) []Link {
	a, b, y := in[0].Shape, in[1].Shape, out[0].Shape
	batch := max(len(a), len(b), 2) - 2
	var links []Link
	for i := range batch {
		l := Link{}
		for j, s := range [][]int{a, b} {
			if k := i - (batch - max(0, len(s)-2)); k >= 0 && len(s) > 2 && s[k] != 1 {
				l = append(l, AxisRef{j, k})
			}
		}
		if y[i] != 1 {
			links = append(links, append(l, AxisRef{^0, i}))
		}
	}
	links = append(links, Link{{0, len(a) - 1}, {1, max(0, len(b)-2)}})
	if len(a) > 1 {
		links = append(links, Link{{0, len(a) - 2}, {^0, batch}})
	}
	if len(b) > 1 {
		links = append(links, Link{{1, len(b) - 1}, {^0, len(y) - 1}})
	}
	return links
}

// Zeros holds where the slices of one factor are zero.
func (f *matMul) Zeros(zero []bool) bool { return zero[0] || zero[1] }

func (f *matMul) Prepare(in, out []*Tensor, training bool) (int, error) {
	p := newBatchedProduct(in)
	a, b, y := side{str: p.sa}, side{str: p.sb}, side{str: p.sy}
	at, bt := a, b
	at.trans, bt.trans = true, true
	return max(
		p.workspace(p.m, p.n, p.k, y, a, b),
		p.workspace(p.m, p.k, p.n, a, y, bt),
		p.workspace(p.k, p.n, p.m, b, at, y),
	), nil
}

func (f *matMul) Forward(c *Context, in, out []*Tensor) error {
	p := newBatchedProduct(in)
	p.run(c, p.m, p.n, p.k, side{v: out[0].F, str: p.sy}, side{v: in[0].F, str: p.sa}, side{v: in[1].F, str: p.sb})
	return nil
}

func (f *matMul) Reads() (in, out uint32) { return 1<<0 | 1<<1, 0 }

// Backward: dA = dy·Bᵀ and dB = Aᵀ·dy, summed over broadcast axes.
func (f *matMul) Backward(c *Context, in, out, dout, din []*Tensor) error {
	p := newBatchedProduct(in)
	dy := side{v: dout[0].F, str: p.sy}
	if da := din[0]; da != nil {
		p.run(c, p.m, p.k, p.n, side{v: da.F, str: p.sa}, dy, side{v: in[1].F, str: p.sb, trans: true})
	}
	if db := din[1]; db != nil {
		p.run(c, p.k, p.n, p.m, side{v: db.F, str: p.sb}, side{v: in[0].F, str: p.sa, trans: true}, dy)
	}
	return nil
}

func refMatMul(_ Node, in []*Array) []*Array {
	a, b := *in[0], *in[1]
	rowless, columnless := len(a.Shape) == 1, len(b.Shape) == 1
	if rowless {
		a.Shape = []int{1, a.Shape[0]}
	}
	if columnless {
		b.Shape = []int{b.Shape[0], 1}
	}
	batchOf := func(x *Array) *Array { return &Array{Shape: x.Shape[:len(x.Shape)-2]} }
	batch := mustBroadcast([]*Array{batchOf(&a), batchOf(&b)})
	r := len(batch)
	m, k, n := a.Shape[len(a.Shape)-2], a.Shape[len(a.Shape)-1], b.Shape[len(b.Shape)-1]
	y := NewArray(append(append([]int{}, batch...), m, n)...)
	// matrix is where the matrix of x begins, whose batch axes may have length 1.
	matrix := func(x *Array, idx []int) []float64 {
		at := 0
		for d, l := range x.Shape[:len(x.Shape)-2] {
			at *= l
			if l > 1 {
				at += idx[r-(len(x.Shape)-2)+d]
			}
		}
		return x.V[at*x.Shape[len(x.Shape)-2]*x.Shape[len(x.Shape)-1]:]
	}
	Each(y.Shape, func(idx []int) {
		sum, left, right := 0.0, matrix(&a, idx), matrix(&b, idx)
		for l := 0; l < k; l++ {
			sum += left[idx[r]*k+l] * right[l*n+idx[r+1]]
		}
		y.V[y.At(idx...)] = sum
	})
	y.Shape = append([]int{}, batch...)
	if !rowless {
		y.Shape = append(y.Shape, m)
	}
	if !columnless {
		y.Shape = append(y.Shape, n)
	}
	return []*Array{y}
}
