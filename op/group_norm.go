package op

import (
	"fmt"
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// groupNorm normalises groups of channels of every sample: y = (x−μ)/√(σ²+ε)·s + b,
// with the mean and biased variance of a sample's group over its channels and
// all spatial axes. x [N,C,D1,…]; s and b [C], or one per group. One group per
// channel is instance normalisation.
type groupNorm struct {
	groups  int // 0 means one per channel
	epsilon float32
	// perGroup is set where scale and bias have one element per group.
	perGroup bool

	// Per sample and channel, of the last forward pass, and tables of one sample.
	mean, invstd []float32
	// The pass in progress over row-major values; the functions are made once.
	x, y, dy             *Tensor
	scale, bias          []float32
	apply, applyGradient func(lo, hi int)
	ds, db               []float32 // per sample and channel
}

func (f *groupNorm) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 3, 3); err != nil {
		return nil, err
	}
	if err := wantFloats(in); err != nil {
		return nil, err
	}
	x := in[0].Shape
	if len(x) < 2 || Size(x[1:]) == 0 {
		return nil, fmt.Errorf("input has shape %s, wants [N,C,…] with elements to normalise", ShapeString(x))
	}
	if f.groups > 0 && x[1]%f.groups != 0 {
		return nil, fmt.Errorf("input %s has %d channels, wants a multiple of the %d groups", ShapeString(x), x[1], f.groups)
	}
	want := x[1]
	if f.perGroup {
		want = f.groups
	}
	for i, name := range []string{"scale", "bias"} {
		if s := in[1+i].Shape; !EqualShape(s, []int{want}) {
			return nil, fmt.Errorf("%s has shape %s, wants [%d]", name, ShapeString(s), want)
		}
	}
	return []*Tensor{Info(in[0].Type, x...)}, nil
}

// dims returns samples, channels, pixels and channels per group.
func (f *groupNorm) dims(x *Tensor) (n, c, p, width int) {
	n, c, p = x.Shape[0], x.Shape[1], Size(x.Shape[2:])
	width = 1
	if f.groups > 0 {
		width = c / f.groups
	}
	return n, c, p, width
}

func (f *groupNorm) Layouts(in []*Tensor) (want, out []Layout) { return keepLayouts(in, 1) }

// Couplings: the channels of a group are normalised together and go together.
func (f *groupNorm) Couplings(in, out []*Tensor) []Coupling {
	_, ch, _, width := f.dims(in[0])
	channel := []Side{Whole(Axis(0, 1)), Whole(Axis(^0, 1))}
	switch {
	case f.perGroup:
		channel = append(channel, Whole(Axis(1, 0), FixedAxis(width)), Whole(Axis(2, 0), FixedAxis(width)))
	case width == 1:
		channel = append(channel, Whole(Axis(1, 0)), Whole(Axis(2, 0)))
	default:
		channel = append(channel, Whole(Axis(1, 0)), Whole(Axis(2, 0)), Whole(HiddenAxis(1, ch/width), FixedAxis(width)))
	}
	return []Coupling{{Sides: []Side{Whole(Axis(0, 0)), Whole(Axis(^0, 0))}}, {Sides: channel}}
}

// Zeros needs a zero scale and bias.
func (f *groupNorm) Zeros(zero []bool) bool { return zero[1] && zero[2] }

// Cut adapts the number of groups.
func (f *groupNorm) Cut(c *Cut) (Change, error) {
	if f.groups == 0 {
		return Change{}, nil
	}
	_, _, _, width := f.dims(c.In[0])
	if g := c.Kept(0, 1) / width; g != f.groups {
		return Change{Attrs: Attrs{"num_groups": IntAttr(g)}}, nil
	}
	return Change{}, nil
}

func (f *groupNorm) Prepare(in, out []*Tensor, training bool) (int, error) {
	n, c, p, _ := f.dims(in[0])
	f.mean, f.invstd = make([]float32, n*c), make([]float32, n*c)
	f.ds, f.db = make([]float32, n*c), make([]float32, n*c)
	f.apply, f.applyGradient = f.applyRows, f.applyGradientRows
	return 3*c + kernel.BatchNormWorkspace(p, c), nil
}

// param returns scale or bias of channel k.
func (f *groupNorm) param(v []float32, k, width int) float32 {
	if f.perGroup {
		return v[k/width]
	}
	return v[k]
}

// rowMajor reports whether the channels of x are rows of pixels.
func rowMajor(x *Tensor) bool { return SameOrder(x.Shape, x.Layout, RowMajor) }

func (f *groupNorm) Forward(c *Context, in, out []*Tensor) error {
	if f.mean == nil {
		if _, err := f.Prepare(in, out, false); err != nil {
			return err
		}
	}
	n, ch, p, width := f.dims(in[0])
	if rowMajor(in[0]) {
		f.x, f.y, f.scale, f.bias = in[0], out[0], in[1].F, in[2].F
		c.Parallel(n*ch/width, 4*width*p, f.apply)
		f.x, f.y, f.scale, f.bias = nil, nil, nil, nil
		return nil
	}
	ws := c.scratch(3*ch + kernel.BatchNormWorkspace(p, ch))
	a, b := ws[:ch], ws[ch:2*ch]
	for i := range n {
		x, y := in[0].F[i*p*ch:][:p*ch], out[0].F[i*p*ch:][:p*ch]
		mean, variance := f.mean[i*ch:][:ch], f.invstd[i*ch:][:ch]
		kernel.BatchNormStats(c.pool(), mean, variance, x, p, ch, ws[3*ch:])
		for g := 0; g < ch; g += width {
			f.merge(mean[g:][:width], variance[g:][:width])
		}
		for k := range a {
			s := float64(f.param(in[1].F, k, width)) * float64(variance[k])
			a[k] = float32(s)
			b[k] = float32(float64(f.param(in[2].F, k, width)) - float64(mean[k])*s)
		}
		kernel.BatchNormApply(c.pool(), y, x, a, b, nil, kernel.Unbounded, p, ch)
	}
	return nil
}

// merge turns the means and variances of the channels of a group, which have
// equally many elements, into the group's mean and 1/√(σ²+ε).
func (f *groupNorm) merge(mean, variance []float32) {
	mu, v, n := 0.0, 0.0, float64(len(mean))
	for _, m := range mean {
		mu += float64(m) / n
	}
	for k, m := range mean {
		v += (float64(variance[k]) + (float64(m)-mu)*(float64(m)-mu)) / n
	}
	inv := float32(1 / math.Sqrt(v+float64(f.epsilon)))
	for k := range mean {
		mean[k], variance[k] = float32(mu), inv
	}
}

// applyRows normalises the groups [lo,hi), counted over all samples.
func (f *groupNorm) applyRows(lo, hi int) {
	_, ch, p, width := f.dims(f.x)
	for g := lo; g < hi; g++ {
		x, y := f.x.F[g*width*p:][:width*p], f.y.F[g*width*p:][:width*p]
		mean := float32(sumBlocks(x, kernel.Sum) / float64(len(x)))
		kernel.AddScalar(y, x, -mean)
		inv := float32(1 / math.Sqrt(sumBlocks(y, kernel.SumSquares)/float64(len(x))+float64(f.epsilon)))
		for k := range width {
			at := g*width + k
			f.mean[at], f.invstd[at] = mean, inv
			row := y[k*p:][:p]
			kernel.Scale(row, row, inv*f.param(f.scale, at%ch, width))
			kernel.AddScalar(row, row, f.param(f.bias, at%ch, width))
		}
	}
}

// sumBlocks adds f of pieces of v in float64.
func sumBlocks(v []float32, f func(v []float32) float32) float64 {
	sum := 0.0
	for i := 0; i < len(v); i += block {
		sum += float64(f(v[i:min(len(v), i+block)]))
	}
	return sum
}

// Reads: the statistics of the forward pass are kept by the operator.
func (f *groupNorm) Reads() (in, out uint32) { return 1<<0 | 1<<1, 0 }

// Accumulates marks the operator as an [Accumulator].
func (f *groupNorm) Accumulates() {}

// Backward: with x̂ = (x−μ)·σ⁻¹, per channel db = Σ dy and ds = Σ dy·x̂, and over
// the M elements of a group
//
//	dx = σ⁻¹·(s·dy − Σ s·db/M − x̂·Σ s·ds/M)
func (f *groupNorm) Backward(c *Context, in, out, dout, din []*Tensor) error {
	n, ch, p, width := f.dims(in[0])
	if rowMajor(in[0]) {
		f.x, f.y, f.dy, f.scale = in[0], din[0], dout[0], in[1].F
		c.Parallel(n*ch/width, 6*width*p, f.applyGradient)
		f.x, f.y, f.dy, f.scale = nil, nil, nil, nil
	} else {
		f.gradientColumns(c, in, dout[0], din[0])
	}
	f.deliver(din[1], f.ds, ch, width)
	f.deliver(din[2], f.db, ch, width)
	return nil
}

func (f *groupNorm) gradientColumns(c *Context, in []*Tensor, dout, dx *Tensor) {
	n, ch, p, width := f.dims(in[0])
	ws := c.scratch(3*ch + kernel.BatchNormWorkspace(p, ch))
	a, b, d := ws[:ch], ws[ch:2*ch], ws[2*ch:3*ch]
	for i := range n {
		x, dy := in[0].F[i*p*ch:][:p*ch], dout.F[i*p*ch:][:p*ch]
		mean, invstd := f.mean[i*ch:][:ch], f.invstd[i*ch:][:ch]
		ds, db := f.ds[i*ch:][:ch], f.db[i*ch:][:ch]
		kernel.BatchNormGradStats(c.pool(), db, ds, dy, x, kernel.NormMask{}, mean, invstd, p, ch, ws[3*ch:])
		if dx == nil {
			continue
		}
		for g := 0; g < ch; g += width {
			shift, slope := f.terms(in[1].F, g, width, p, ds, db, float64(mean[g]), float64(invstd[g]))
			for k := g; k < g+width; k++ {
				a[k], b[k], d[k] = f.param(in[1].F, k, width)*invstd[k], slope, shift
			}
		}
		kernel.BatchNormGradApply(c.pool(), dx.F[i*p*ch:][:p*ch], nil, dy, x, kernel.NormMask{}, a, b, d, dx.Acc, false, p, ch)
	}
}

// terms returns what dx has beside s·σ⁻¹·dy in the group of channels [g,g+width):
// shift + slope·x.
func (f *groupNorm) terms(scale []float32, g, width, p int, ds, db []float32, mean, inv float64) (shift, slope float32) {
	sum, along := 0.0, 0.0
	for k := g; k < g+width; k++ {
		s := float64(f.param(scale, k, width))
		sum += s * float64(db[k])
		along += s * float64(ds[k])
	}
	m := float64(width * p)
	sl := -inv * inv * along / m
	return float32(-inv*sum/m - sl*mean), float32(sl)
}

// applyGradientRows computes the gradients of the groups [lo,hi).
func (f *groupNorm) applyGradientRows(lo, hi int) {
	_, ch, p, width := f.dims(f.x)
	for g := lo; g < hi; g++ {
		first, n := g*width, g*width/ch*ch
		mean, inv := f.mean[first], f.invstd[first]
		for k := first; k < first+width; k++ {
			x, dy := f.x.F[k*p:][:p], f.dy.F[k*p:][:p]
			sum, dot := 0.0, 0.0
			for i := 0; i < p; i += block {
				e := min(p, i+block)
				sum += float64(kernel.Sum(dy[i:e]))
				for j, v := range dy[i:e] {
					dot += float64(v) * float64((x[i+j]-mean)*inv)
				}
			}
			f.db[k], f.ds[k] = float32(sum), float32(dot)
		}
		if f.y == nil {
			continue
		}
		shift, slope := f.terms(f.scale, first-n, width, p, f.ds[n:][:ch], f.db[n:][:ch], float64(mean), float64(inv))
		for k := first; k < first+width; k++ {
			a := f.param(f.scale, k-n, width) * inv
			x, dy, dx := f.x.F[k*p:][:p], f.dy.F[k*p:][:p], f.y.F[k*p:][:p]
			for i, v := range dy {
				r := a*v + slope*x[i] + shift
				if f.y.Acc {
					r += dx[i]
				}
				dx[i] = r
			}
		}
	}
}

// deliver sums what every sample and channel gave to a gradient.
func (f *groupNorm) deliver(dst *Tensor, v []float32, ch, width int) {
	if dst == nil {
		return
	}
	step := 1
	if f.perGroup {
		step = width
	}
	for k := range dst.F {
		sum := 0.0
		for i := k * step; i < len(v); i += ch {
			for j := range step {
				sum += float64(v[i+j])
			}
		}
		if dst.Acc {
			sum += float64(dst.F[k])
		}
		dst.F[k] = float32(sum)
	}
}

// refGroupNorm is the definition in two passes over every group.
func refGroupNorm(in []*Array, groups int, epsilon float64) []*Array {
	x, c := in[0], in[0].Shape[1]
	y := NewArray(x.Shape...)
	width := c / groups
	group := func(n, g int, f func(i []int)) {
		Each(x.Shape, func(i []int) {
			if i[0] == n && i[1]/width == g {
				f(i)
			}
		})
	}
	param := func(a *Array, k int) float64 {
		if len(a.V) == groups {
			return a.V[k/width]
		}
		return a.V[k]
	}
	for n := range x.Shape[0] {
		for g := range groups {
			count, sum, sq := 0.0, 0.0, 0.0
			group(n, g, func(i []int) { count++; sum += x.V[x.At(i...)] })
			mu := sum / count
			group(n, g, func(i []int) { sq += (x.V[x.At(i...)] - mu) * (x.V[x.At(i...)] - mu) })
			group(n, g, func(i []int) {
				o := x.At(i...)
				y.V[o] = (x.V[o]-mu)/math.Sqrt(sq/count+epsilon)*param(in[1], i[1]) + param(in[2], i[1])
			})
		}
	}
	return []*Array{y}
}
