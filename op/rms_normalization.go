package op

import (
	"fmt"
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// RMSNormalization: y = x·ρ·scale with ρ = 1/√(mean(x²)+ε), the mean over the axes
// from axis on. scale broadcasts to these axes.
// https://onnx.ai/onnx/operators/onnx__RMSNormalization.html
func init() {
	Register(Def{
		Name: "RMSNormalization", Since: 23, Params: []int{1},
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			return &rmsNorm{axis: r.Int("axis", -1), epsilon: float64(r.Float("epsilon", 1e-5))}, r.err
		},
		Reference: func(n Node, in []*Array) []*Array {
			r := &reader{n: n}
			x := in[0]
			at := (r.Int("axis", -1) + len(x.Shape)) % len(x.Shape)
			length := Size(x.Shape[at:])
			y := NewArray(x.Shape...)
			i := 0
			Each(x.Shape, func(idx []int) {
				sum := 0.0
				for _, v := range x.V[i/length*length:][:length] {
					sum += v * v / float64(length)
				}
				y.V[i] = x.V[i] / math.Sqrt(sum+float64(r.Float("epsilon", 1e-5))) * refBroadcast(in[1], idx)
				i++
			})
			return []*Array{y}
		},
		Cases: []Case{
			{In: []Arg{Rand(2, 5, 7), Rand(7)}},
			{Name: "axis-1", Attrs: Attrs{"axis": IntAttr(1), "epsilon": FloatAttr(0.1)}, In: []Arg{Rand(3, 2, 4), Rand(2, 4)}},
			{Name: "broadcast", Attrs: Attrs{"axis": IntAttr(1)}, In: []Arg{Rand(3, 2, 4), Rand(4)}},
			{Name: "axis-0", Attrs: Attrs{"axis": IntAttr(0)}, In: []Arg{Rand(3, 5), Rand(3, 1)}},
			{Name: "rows", In: []Arg{Rand(150, 5), Rand(5)}},
		},
	})
}

type rmsNorm struct {
	axis    int
	epsilon float64
	inverse []float32 // ρ per row, of the last forward pass
	scale   []float32 // spread over a row
}

// rows returns the number of rows and their length.
func (f *rmsNorm) rows(x *Tensor) (rows, n int) {
	at := (f.axis + x.Rank()) % x.Rank()
	return Size(x.Shape[:at]), Size(x.Shape[at:])
}

func (f *rmsNorm) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 2, 2); err != nil {
		return nil, err
	}
	if err := wantFloats(in); err != nil {
		return nil, err
	}
	x := in[0].Shape
	at, err := wantAxis(f.axis, len(x))
	if err != nil {
		return nil, err
	}
	if s, err := BroadcastShape(in[1].Shape, x[at:]); err != nil || !EqualShape(s, x[at:]) || Size(x[at:]) == 0 {
		return nil, fmt.Errorf("scale has shape %s, wants one that broadcasts to %s", ShapeString(in[1].Shape), ShapeString(x[at:]))
	}
	return []*Tensor{Info(in[0].Type, x...)}, nil
}

// Links leaves out the normalised axes.
func (f *rmsNorm) Links(in, out []*Tensor) []Link {
	at := (f.axis + in[0].Rank()) % in[0].Rank()
	return identityLinks(in, out, func(a int) bool { return a < at })
}

func (f *rmsNorm) Prepare(in, out []*Tensor, training bool) (int, error) {
	rows, n := f.rows(in[0])
	f.inverse, f.scale = make([]float32, rows), make([]float32, n)
	return 2 * n, nil
}

// row is the shape that scale is spread over.
func (f *rmsNorm) row(x *Tensor) []int { return x.Shape[(f.axis+x.Rank())%x.Rank():] }

func (f *rmsNorm) Forward(c *Context, in, out []*Tensor) error {
	if f.scale == nil {
		if _, err := f.Prepare(in, out, false); err != nil {
			return err
		}
	}
	rows, n := f.rows(in[0])
	shape := f.row(in[0])
	move(nil, shape, f.scale, 0, Strides(shape, RowMajor), in[1].F, 0, spread(in[1], shape))
	x, y := in[0].F, out[0].F
	c.Parallel(rows, 4*n, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			row := x[r*n:][:n]
			inv := float32(1 / math.Sqrt(sumBlocks(row, kernel.SumSquares)/float64(n)+f.epsilon))
			f.inverse[r] = inv
			kernel.Scale(y[r*n:][:n], row, inv)
			kernel.Mul(y[r*n:][:n], y[r*n:][:n], f.scale)
		}
	})
	return nil
}

// Reads: the roots of the forward pass are kept by the operator.
func (f *rmsNorm) Reads() (in, out uint32) { return 1<<0 | 1<<1, 0 }

// Backward: dx = ρ·(g − x·ρ²·mean(g·x)) with g = dy·scale, and dscale = Σ dy·x·ρ.
func (f *rmsNorm) Backward(c *Context, in, out, dout, din []*Tensor) error {
	rows, n := f.rows(in[0])
	x, dy := in[0].F, dout[0].F
	if din[0] != nil {
		dx := din[0].F
		c.Parallel(rows, 6*n, func(lo, hi int) {
			for r := lo; r < hi; r++ {
				g, v, inv := dx[r*n:][:n], x[r*n:][:n], f.inverse[r]
				kernel.Mul(g, dy[r*n:][:n], f.scale)
				along := 0.0
				for i := 0; i < n; i += block {
					e := min(n, i+block)
					along += float64(kernel.Dot(g[i:e], v[i:e]))
				}
				kernel.Scale(g, g, inv)
				kernel.Axpy(g, v, float32(-along/float64(n)*float64(inv)*float64(inv)*float64(inv)))
			}
		})
	}
	if len(din) > 1 && din[1] != nil {
		ws := c.scratch(2 * n)
		sum, term := ws[:n], ws[n:]
		clear(sum)
		for r := range rows {
			kernel.Mul(term, dy[r*n:][:n], x[r*n:][:n])
			kernel.Axpy(sum, term, f.inverse[r])
		}
		shape := f.row(in[0])
		clear(din[1].F)
		sumInto(shape, din[1].F, spread(din[1], shape), sum, Strides(shape, RowMajor))
	}
	return nil
}
