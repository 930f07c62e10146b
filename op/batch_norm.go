package op

import (
	"fmt"
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// batchNorm normalises the channels of x [N,C,D1,…]: y = act((x−μ)/√(σ²+ε)·s + b
// + r), with act a clip to a range and r an optional residual. μ and σ² are
// the running statistics, or those of the batch over all axes but 1.
type batchNorm struct {
	epsilon, momentum float32
	act               kernel.Range
	inputs, outputs   int
	// always is set where the file itself asks for the batch's statistics.
	always bool
	// training is set where the plan may use the batch's statistics.
	training bool
	// Per channel, of the last forward pass.
	mean, invstd, scale, shift []float32
}

func (f *batchNorm) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 5, f.inputs); err != nil {
		return nil, err
	}
	if err := wantFloats(in); err != nil {
		return nil, err
	}
	x := in[0].Shape
	if len(x) < 2 || x[1] == 0 {
		return nil, fmt.Errorf("input has shape %s, wants channels on axis 1", ShapeString(x))
	}
	for i, name := range []string{"scale", "bias", "mean", "variance"} {
		if s := in[1+i].Shape; !EqualShape(s, x[1:2]) {
			return nil, fmt.Errorf("%s has shape %s, wants [%d]", name, ShapeString(s), x[1])
		}
	}
	if r := f.residual(in); r != nil && !EqualShape(r.Shape, x) {
		return nil, fmt.Errorf("residual has shape %s, wants %s", ShapeString(r.Shape), ShapeString(x))
	}
	out := []*Tensor{Info(in[0].Type, x...)}
	for i := 1; i < f.outputs; i++ {
		out = append(out, Info(in[2+i].Type, x[1]))
	}
	return out, nil
}

func (f *batchNorm) residual(in []*Tensor) *Tensor {
	if len(in) > 5 {
		return in[5]
	}
	return nil
}

func (f *batchNorm) Layouts(in []*Tensor) (want, out []Layout) {
	want = make([]Layout, len(in))
	want[0] = inner(in[0])
	if len(in) > 5 {
		want[5] = want[0]
	}
	out = make([]Layout, f.outputs)
	out[0] = want[0]
	return want, out
}

func (f *batchNorm) Links(in, out []*Tensor) []Link {
	channel := Link{{0, 1}, {1, 0}, {2, 0}, {3, 0}, {4, 0}, {^0, 1}}
	batch := Link{{0, 0}, {^0, 0}}
	for i := 1; i < f.outputs; i++ {
		channel = append(channel, AxisRef{^i, 0})
	}
	if f.residual(in) != nil {
		channel = append(channel, AxisRef{5, 1})
		batch = append(batch, AxisRef{5, 0})
	}
	if f.always || f.training {
		return []Link{channel}
	}
	return []Link{batch, channel}
}

func (f *batchNorm) Wide(in []*Tensor) (free, same []int) {
	if f.outputs > 1 {
		return nil, nil
	}
	return nil, []int{0, 5}
}

// Zeros needs a zero scale, shift and residual.
func (f *batchNorm) Zeros(zero []bool) bool {
	return zero[1] && zero[2] && (len(zero) < 6 || zero[5]) && f.act.Lo <= 0 && f.act.Hi >= 0
}

func (f *batchNorm) Prepare(in, out []*Tensor, training bool) (int, error) {
	for _, i := range []int{0, 5} {
		if i < len(in) {
			if err := wantInner(i, in[i]); err != nil {
				return 0, err
			}
		}
	}
	c := in[0].Shape[1]
	state := make([]float32, 4*c)
	f.mean, f.invstd, f.scale, f.shift = state[:c], state[c:2*c], state[2*c:3*c], state[3*c:]
	return 5*c + kernel.BatchNormWorkspace(in[0].Size()/c, c), nil
}

// batch reports whether the pass uses the statistics of the batch.
func (f *batchNorm) batch(c *Context) bool {
	if c == nil {
		return f.always
	}
	return !c.FreezeNorm && (f.always || c.Training)
}

func (f *batchNorm) Forward(c *Context, in, out []*Tensor) error {
	if f.mean == nil {
		if _, err := f.Prepare(in, out, false); err != nil {
			return err
		}
	}
	x, ch := in[0], in[0].Shape[1]
	rows := x.Size() / ch
	batch := f.batch(c) && rows > 0
	if batch {
		kernel.BatchNormStats(c.pool(), f.mean, f.invstd, x.F, rows, ch, c.scratch(kernel.BatchNormWorkspace(rows, ch)))
	}
	f.settle(c, in, out, batch, rows)
	if rows == 0 {
		return nil
	}
	var residual []float32
	if r := f.residual(in); r != nil {
		residual = r.F
	}
	kernel.BatchNormApply(c.pool(), out[0].F, x.F, f.scale, f.shift, residual, f.act, rows, ch)
	return nil
}

// settle computes scale and shift of the pass, from the mean and the variance
// of the batch, which it finds in mean and invstd, or from the running ones.
func (f *batchNorm) settle(c *Context, in, out []*Tensor, batch bool, rows int) {
	variance := f.invstd
	if batch {
		f.running(c, in, out, variance, rows)
	} else {
		copy(f.mean, in[3].F)
		copy(variance, in[4].F)
		for i := 1; i < f.outputs; i++ {
			copy(out[i].F, in[2+i].F)
		}
	}
	for k := range in[1].F {
		s := 1 / math.Sqrt(float64(variance[k])+float64(f.epsilon))
		f.invstd[k] = float32(s)
		s *= float64(in[1].F[k])
		f.scale[k] = float32(s)
		f.shift[k] = float32(float64(in[2].F[k]) - float64(f.mean[k])*s)
	}
	for k := len(in[1].F); k < len(f.mean); k++ {
		f.invstd[k], f.scale[k], f.shift[k] = 0, 0, 0
	}
}

// running moves the running statistics towards those of the batch. Training
// keeps the unbiased variance, as PyTorch does; outside training the outputs
// follow the ONNX operator, which has the biased one.
func (f *batchNorm) running(c *Context, in, out []*Tensor, variance []float32, rows int) {
	training := c != nil && c.Training
	unbiased := 1.0
	if training && rows > 1 {
		unbiased = float64(rows) / float64(rows-1)
	}
	m := float64(f.momentum)
	for k := range in[3].F {
		mean := float32(float64(in[3].F[k])*m + float64(f.mean[k])*(1-m))
		v := float32(float64(in[4].F[k])*m + float64(variance[k])*unbiased*(1-m))
		if training {
			in[3].F[k], in[4].F[k] = mean, v
		}
		if f.outputs > 1 {
			out[1].F[k] = mean
		}
		if f.outputs > 2 {
			out[2].F[k] = v
		}
	}
}

// Reads: the statistics of the forward pass are kept by the operator.
func (f *batchNorm) Reads() (in, out uint32) {
	if f.act != kernel.Unbounded {
		out = 1
	}
	return 1<<0 | 1<<1, out
}

// mask tells where dy passes the activation. Without a residual the output is
// computed again, which costs less than reading it.
func (f *batchNorm) mask(in, out []*Tensor) kernel.NormMask {
	switch {
	case f.act == kernel.Unbounded:
		return kernel.NormMask{}
	case f.residual(in) == nil:
		return kernel.NormMask{Range: f.act, Scale: f.scale, Shift: f.shift}
	default:
		return kernel.NormMask{Range: f.act, Y: out[0].F}
	}
}

func (f *batchNorm) Accumulates() {}

// Backward: with dy' = dy where y lies inside the activation's range, n elements per
// channel, x̂ = (x−μ)/σ and a = s/σ,
//
//	db = Σ dy',  ds = Σ dy'·x̂,  dr = dy',  dx = a·dy'                       (running statistics)
//	                                       dx = a·(dy' − db/n − x̂·ds/n)     (statistics of the batch)
func (f *batchNorm) Backward(c *Context, in, out, dout, din []*Tensor) error {
	x, dy, ch := in[0], dout[0].F, in[0].Shape[1]
	rows := x.Size() / ch
	dx, dres := din[0], f.residual(din)
	batch := f.batch(c)
	mask := f.mask(in, out)
	ws := c.scratch(5*ch + kernel.BatchNormWorkspace(rows, ch))
	db, ds, a, b, d := ws[:ch], ws[ch:2*ch], ws[2*ch:3*ch], ws[3*ch:4*ch], ws[4*ch:5*ch]
	if din[1] != nil || din[2] != nil || batch && dx != nil {
		kernel.BatchNormGradStats(c.pool(), db, ds, dy, x.F, mask, f.mean, f.invstd, rows, ch, ws[5*ch:])
		deliver(din[1], ds)
		deliver(din[2], db)
	}
	if dx == nil {
		if dres != nil {
			f.pass(c, dres, dy, out[0].F)
		}
		return nil
	}
	f.slopes(a, b, d, db, ds, in[1].F, batch, rows)
	var r []float32
	if dres != nil {
		r = dres.F
	}
	kernel.BatchNormGradApply(c.pool(), dx.F, r, dy, x.F, mask, a, b, d, dx.Acc, dres != nil && dres.Acc, rows, ch)
	return nil
}

// slopes computes a, b and d [C] of dx = a·dy' + b·x + d from the sums db and ds,
// zeros for channels that have no scale.
func (f *batchNorm) slopes(a, b, d, db, ds, scale []float32, batch bool, rows int) {
	n := float64(rows)
	clear(a)
	clear(b)
	clear(d)
	for k := range scale {
		s := float64(scale[k]) * float64(f.invstd[k])
		a[k] = float32(s)
		if batch {
			slope := -s * float64(f.invstd[k]) * float64(ds[k]) / n
			b[k] = float32(slope)
			d[k] = float32(-s*float64(db[k])/n - slope*float64(f.mean[k]))
		}
	}
}

// deliver writes or adds a gradient that was computed aside, whose first elements
// are those of dst.
func deliver(dst *Tensor, v []float32) {
	if dst != nil {
		v = v[:len(dst.F)]
	}
	switch {
	case dst == nil:
	case dst.Acc:
		kernel.Add(dst.F, dst.F, v)
	default:
		copy(dst.F, v)
	}
}

// pass writes or adds dy where the activation lets it pass.
func (f *batchNorm) pass(c *Context, dst *Tensor, dy, y []float32) {
	clipped := f.act != kernel.Unbounded
	c.Parallel(len(dy), 1, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			g := dy[i]
			if clipped && !(f.act.Lo < y[i] && y[i] < f.act.Hi) {
				g = 0
			}
			if dst.Acc {
				g += dst.F[i]
			}
			dst.F[i] = g
		}
	})
}

// refBatchNorm is the definition, in two passes; the residual, if any, is
// input 5. batch selects the statistics of the batch.
func refBatchNorm(in []*Array, epsilon, momentum float64, batch bool) (y, mean, variance *Array) {
	x, c := in[0], in[0].Shape[1]
	y = NewArray(x.Shape...)
	mean, variance = NewArray(c), NewArray(c)
	for k := 0; k < c; k++ {
		mu, v := in[3].V[k], in[4].V[k]
		if batch {
			n, sum, sq := 0.0, 0.0, 0.0
			Each(x.Shape, func(i []int) {
				if i[1] == k {
					n++
					sum += x.V[x.At(i...)]
				}
			})
			mu = sum / n
			Each(x.Shape, func(i []int) {
				if i[1] == k {
					sq += math.Pow(x.V[x.At(i...)]-mu, 2)
				}
			})
			v = sq / n
		}
		mean.V[k] = in[3].V[k]*momentum + mu*(1-momentum)
		variance.V[k] = in[4].V[k]*momentum + v*(1-momentum)
		Each(x.Shape, func(i []int) {
			if i[1] == k {
				o := x.At(i...)
				y.V[o] = (x.V[o]-mu)/math.Sqrt(v+epsilon)*in[1].V[k] + in[2].V[k]
				if len(in) > 5 && in[5] != nil {
					y.V[o] += in[5].V[o]
				}
			}
		})
	}
	return y, mean, variance
}
