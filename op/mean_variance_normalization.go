package op

import (
	"math"
)

// MeanVarianceNormalization: y = (x−μ)/(σ+1e-9), with mean and standard deviation over
// the axes (default 0, 2 and 3).
// https://onnx.ai/onnx/operators/onnx__MeanVarianceNormalization.html
func init() {
	Register(Def{
		Name: "MeanVarianceNormalization", Since: 9,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			f := &meanVariance{axes: r.Ints("axes")}
			if f.axes == nil {
				f.axes = []int{0, 2, 3}
			}
			return f, r.err
		},
		Reference: refMeanVariance,
		Cases: []Case{
			{In: []Arg{RandIn(-1, 3, 2, 5, 3, 4)}},
			{Name: "axes", Attrs: Attrs{"axes": IntsAttr(1, -1)}, In: []Arg{Rand(2, 3, 4, 5)}},
			{Name: "rows", Opset: 9, Attrs: Attrs{"axes": IntsAttr(1)}, In: []Arg{Rand(3, 7)}},
		},
	})
}

const meanVarianceEpsilon = 1e-9

type meanVariance struct {
	axes                 []int
	mean, deviation, tmp *Tensor // with length 1 along the axes
}

func (f *meanVariance) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 1, 1); err != nil {
		return nil, err
	}
	if err := wantFloats(in); err != nil {
		return nil, err
	}
	if _, err := wantAxes(f.axes, in[0].Rank()); err != nil {
		return nil, err
	}
	return []*Tensor{Info(in[0].Type, in[0].Shape...)}, nil
}

func (f *meanVariance) Layouts(in []*Tensor) (want, out []Layout) { return keepLayouts(in, 1) }

func (f *meanVariance) Links(in, out []*Tensor) []Link {
	axes, err := wantAxes(f.axes, in[0].Rank())
	if err != nil {
		return nil
	}
	return identityLinks(in, out, func(a int) bool {
		for _, b := range axes {
			if a == b {
				return false
			}
		}
		return true
	})
}

func (f *meanVariance) Prepare(in, out []*Tensor, training bool) (int, error) {
	axes, err := wantAxes(f.axes, in[0].Rank())
	if err != nil {
		return 0, err
	}
	shape := append([]int{}, in[0].Shape...)
	for _, a := range axes {
		shape[a] = 1
	}
	for _, t := range []**Tensor{&f.mean, &f.deviation, &f.tmp} {
		*t = &Tensor{Type: Float, Shape: shape, Layout: in[0].Layout}
		(*t).Alloc()
	}
	return 0, nil
}

// average writes the mean of e over the axes, finished by done, to dst.
func (f *meanVariance) average(c *Context, dst, x *Tensor, e func(e []float32, x *vectors), done func(v float64) float64, ops ...operand) {
	n := float64(x.Size()) / float64(max(1, dst.Size()))
	r := reduction{each: e, done: func(v float64) float64 {
		if v /= n; done != nil {
			v = done(v)
		}
		return v
	}}
	r.run(c, x.Shape, over(dst, x.Shape), append([]operand{dense(x)}, ops...)...)
}

func (f *meanVariance) Forward(c *Context, in, out []*Tensor) error {
	if f.mean == nil {
		if _, err := f.Prepare(in, out, false); err != nil {
			return err
		}
	}
	x, y := in[0], out[0]
	if x.Size() == 0 {
		return nil
	}
	f.average(c, f.mean, x, nil, nil)
	f.average(c, f.deviation, x, func(e []float32, x *vectors) {
		for i, v := range x[0] {
			d := v - x[1][i]
			e[i] = d * d
		}
	}, math.Sqrt, over(f.mean, x.Shape))
	pointwise(c, x.Shape, dense(y), func(d []float32, x *vectors) {
		for i, v := range x[0] {
			d[i] = (v - x[1][i]) / (x[2][i] + meanVarianceEpsilon)
		}
	}, dense(x), over(f.mean, x.Shape), over(f.deviation, x.Shape))
	return nil
}

// Reads: mean and deviation of the forward pass are kept by the operator.
func (f *meanVariance) Reads() (in, out uint32) { return 0, 1 }

// Backward: dx = (dy − mean(dy) − y·mean(dy·y)·(σ+ε)/σ)/(σ+ε).
func (f *meanVariance) Backward(c *Context, in, out, dout, din []*Tensor) error {
	y, dy, dx := out[0], dout[0], din[0]
	if dx == nil || dy.Size() == 0 {
		return nil
	}
	f.average(c, f.mean, dy, nil, nil) // no longer the mean of x, which nothing reads
	f.average(c, f.tmp, dy, func(e []float32, x *vectors) {
		for i, v := range x[0] {
			e[i] = v * x[1][i]
		}
	}, nil, dense(y))
	pointwise(c, dy.Shape, dense(dx), func(d []float32, x *vectors) {
		for i, v := range x[0] {
			d[i] = v - x[1][i] - x[2][i]*x[3][i]
		}
	}, dense(dy), over(f.mean, dy.Shape), dense(y), over(f.tmp, dy.Shape))
	pointwise(c, dy.Shape, dense(dx), func(d []float32, x *vectors) {
		for i, v := range x[0] {
			d[i] /= v + meanVarianceEpsilon
		}
	}, over(f.deviation, dy.Shape))
	return nil
}

func refMeanVariance(n Node, in []*Array) []*Array {
	x := in[0]
	r := len(x.Shape)
	axes := (&reader{n: n}).Ints("axes")
	if axes == nil {
		axes = []int{0, 2, 3}
	}
	same := func(i, j []int) bool {
		for a := range i {
			reduced := false
			for _, b := range axes {
				reduced = reduced || (b+r)%r == a
			}
			if !reduced && i[a] != j[a] {
				return false
			}
		}
		return true
	}
	y := NewArray(x.Shape...)
	Each(x.Shape, func(i []int) {
		sum, count, sq := 0.0, 0.0, 0.0
		Each(x.Shape, func(j []int) {
			if same(i, j) {
				sum += x.V[x.At(j...)]
				count++
			}
		})
		Each(x.Shape, func(j []int) {
			if same(i, j) {
				sq += math.Pow(x.V[x.At(j...)]-sum/count, 2)
			}
		})
		y.V[y.At(i...)] = (x.V[x.At(i...)] - sum/count) / (math.Sqrt(sq/count) + 1e-9)
	})
	return []*Array{y}
}
