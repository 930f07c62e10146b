package op

import (
	"fmt"
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// LayerNormalization: y = (x−μ)·σ⁻¹·scale + bias with μ and σ⁻¹ = 1/√(var+ε)
// over the axes from axis on. scale and bias have the shape of these axes, bias
// is optional; the optional outputs μ and σ⁻¹ have length 1 along them.
// https://onnx.ai/onnx/operators/onnx__LayerNormalization.html
func init() {
	Register(Def{
		Name: "LayerNormalization", Since: 17, Params: []int{1, 2},
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			f := &layerNorm{axis: r.Int("axis", -1), epsilon: r.Float("epsilon", 1e-5), outputs: max(1, n.Outputs)}
			if f.outputs > 3 {
				r.keep(fmt.Errorf("has %d outputs, wants at most 3", f.outputs))
			}
			return f, r.err
		},
		Reference: refLayerNorm,
		Cases: []Case{
			{In: []Arg{Rand(2, 5, 7), Rand(7), Rand(7)}},
			{Name: "no-bias", In: []Arg{Rand(3, 19), RandIn(0.5, 2, 19)}},
			{Name: "axis-1", In: []Arg{RandIn(1, 3, 2, 3, 2, 4), Rand(3, 2, 4), Rand(3, 2, 4)}, Attrs: Attrs{"axis": IntAttr(1), "epsilon": FloatAttr(0.1)}},
			{Name: "axis-0", In: []Arg{Rand(3, 5), Rand(3, 5), None()}, Attrs: Attrs{"axis": IntAttr(0)}},
			{Name: "statistics", In: []Arg{Rand(4, 3, 6), Rand(1, 6), Rand(6)}, Attrs: Attrs{"axis": IntAttr(-1)}, Outputs: 3},
			{Name: "rows", In: []Arg{Rand(150, 5), Rand(5), Rand(5)}},
		},
	})
}

// normChunk is the number of rows over which the gradients of scale and bias
// are first summed.
const normChunk = 64

type layerNorm struct {
	axis    int
	epsilon float32
	outputs int
	// Per row, of the last forward pass.
	mean, invstd []float32
}

func (f *layerNorm) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 2, 3); err != nil {
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
	if Size(x[at:]) == 0 {
		return nil, fmt.Errorf("input has shape %s, wants elements to normalise from axis %d on", ShapeString(x), at)
	}
	for i, name := range []string{"scale", "bias"} {
		if 1+i >= len(in) || in[1+i] == nil {
			continue
		}
		s := in[1+i].Shape
		for len(s) > len(x)-at && s[0] == 1 {
			s = s[1:]
		}
		if !EqualShape(s, x[at:]) {
			return nil, fmt.Errorf("%s has shape %s, wants %s", name, ShapeString(in[1+i].Shape), ShapeString(x[at:]))
		}
	}
	out := []*Tensor{Info(in[0].Type, x...)}
	rest := append([]int{}, x...)
	for i := at; i < len(rest); i++ {
		rest[i] = 1
	}
	for len(out) < f.outputs {
		out = append(out, Info(Float, rest...))
	}
	return out, nil
}

// rows returns the number of rows and their length.
func (f *layerNorm) rows(x *Tensor) (rows, n int) {
	at := (f.axis + x.Rank()) % x.Rank()
	return Size(x.Shape[:at]), Size(x.Shape[at:])
}

// Links leaves out the normalised axes.
func (f *layerNorm) Links(in, out []*Tensor) []Link {
	var links []Link
	for a := range (f.axis + in[0].Rank()) % in[0].Rank() {
		l := Link{{0, a}}
		for j := range out {
			l = append(l, AxisRef{^j, a})
		}
		links = append(links, l)
	}
	return links
}

func (f *layerNorm) Prepare(in, out []*Tensor, training bool) (int, error) {
	rows, n := f.rows(in[0])
	f.mean, f.invstd = make([]float32, rows), make([]float32, rows)
	return n * ((rows + normChunk - 1) / normChunk), nil
}

func (f *layerNorm) Forward(c *Context, in, out []*Tensor) error {
	if f.mean == nil {
		if _, err := f.Prepare(in, out, false); err != nil {
			return err
		}
	}
	rows, n := f.rows(in[0])
	c.Parallel(rows, 6*n, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			x, y := in[0].F[r*n:][:n], out[0].F[r*n:][:n]
			mean := kernel.Sum(x) / float32(n)
			kernel.AddScalar(y, x, -mean)
			inv := float32(1 / math.Sqrt(float64(kernel.SumSquares(y))/float64(n)+float64(f.epsilon)))
			kernel.Scale(y, y, inv)
			kernel.Mul(y, y, in[1].F)
			if len(in) > 2 && in[2] != nil {
				kernel.Add(y, y, in[2].F)
			}
			f.mean[r], f.invstd[r] = mean, inv
		}
	})
	for i, v := range [][]float32{f.mean, f.invstd} {
		if 1+i < len(out) && out[1+i] != nil {
			copy(out[1+i].F, v)
		}
	}
	return nil
}

// Reads: the statistics of the forward pass are kept by the operator.
func (f *layerNorm) Reads() (in, out uint32) { return 1<<0 | 1<<1, 0 }

// Backward: with g = dy·scale and x̂ = (x−μ)·σ⁻¹, the means over a row of n,
//
//	dx = σ⁻¹·(g − mean(g) − x̂·mean(g·x̂)) + dμ/n − dσ⁻¹·σ⁻²·x̂/n
func (f *layerNorm) Backward(c *Context, in, out, dout, din []*Tensor) error {
	rows, n := f.rows(in[0])
	dy := dout[0]
	if din[0] != nil {
		c.Parallel(rows, 8*n, func(lo, hi int) {
			for r := lo; r < hi; r++ {
				f.rowGrad(r, n, in, dout, din[0].F[r*n:][:n])
			}
		})
	}
	f.paramGrad(c, rows, n, in[0].F, dy, din[1], true)
	if len(din) > 2 {
		f.paramGrad(c, rows, n, in[0].F, dy, din[2], false)
	}
	return nil
}

func (f *layerNorm) rowGrad(r, n int, in, dout []*Tensor, dx []float32) {
	x, mean, inv := in[0].F[r*n:][:n], float64(f.mean[r]), float64(f.invstd[r])
	clear(dx)
	if dout[0] != nil {
		kernel.Mul(dx, dout[0].F[r*n:][:n], in[1].F)
	}
	sum := float64(kernel.Sum(dx))
	along := (float64(kernel.Dot(dx, x)) - mean*sum) * inv
	shift, slope := -inv*sum, -inv*along
	if len(dout) > 1 && dout[1] != nil {
		shift += float64(dout[1].F[r])
	}
	if len(dout) > 2 && dout[2] != nil {
		slope -= float64(dout[2].F[r]) * inv * inv
	}
	shift, slope = shift/float64(n), slope/float64(n)*inv
	kernel.Scale(dx, dx, float32(inv))
	kernel.Axpy(dx, x, float32(slope))
	kernel.AddScalar(dx, dx, float32(shift-slope*mean))
}

// paramGrad sums dy, times x̂ for the scale, over the rows.
func (f *layerNorm) paramGrad(c *Context, rows, n int, x []float32, dy, dst *Tensor, scale bool) {
	if dst == nil {
		return
	}
	clear(dst.F)
	if dy == nil || rows == 0 {
		return
	}
	chunks := (rows + normChunk - 1) / normChunk
	part := c.scratch(chunks * n)
	c.Parallel(chunks, 2*normChunk*n, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			p := part[i*n:][:n]
			clear(p)
			for r := i * normChunk; r < min(rows, (i+1)*normChunk); r++ {
				g := dy.F[r*n:][:n]
				if !scale {
					kernel.Add(p, p, g)
					continue
				}
				mean, inv := f.mean[r], f.invstd[r]
				for k, v := range x[r*n:][:n] {
					p[k] += g[k] * ((v - mean) * inv)
				}
			}
		}
	})
	c.Parallel(n, chunks, func(lo, hi int) {
		for k := lo; k < hi; k++ {
			sum := 0.0
			for i := range chunks {
				sum += float64(part[i*n+k])
			}
			dst.F[k] = float32(sum)
		}
	})
}

func refLayerNorm(n Node, in []*Array) []*Array {
	r := &reader{n: n}
	x := in[0]
	at := (r.Int("axis", -1) + len(x.Shape)) % len(x.Shape)
	rest := append([]int{}, x.Shape...)
	for i := at; i < len(rest); i++ {
		rest[i] = 1
	}
	y, mean, inv := NewArray(x.Shape...), NewArray(rest...), NewArray(rest...)
	length := Size(x.Shape[at:])
	for row := range mean.V {
		v := x.V[row*length : (row+1)*length]
		mu, sq := 0.0, 0.0
		for _, e := range v {
			mu += e / float64(length)
		}
		for _, e := range v {
			sq += (e - mu) * (e - mu)
		}
		mean.V[row] = mu
		inv.V[row] = 1 / math.Sqrt(sq/float64(length)+float64(r.Float("epsilon", 1e-5)))
		for k, e := range v {
			y.V[row*length+k] = (e - mu) * inv.V[row] * in[1].V[k]
			if len(in) > 2 && in[2] != nil {
				y.V[row*length+k] += in[2].V[k]
			}
		}
	}
	return []*Array{y, mean, inv}[:n.Outputs]
}
