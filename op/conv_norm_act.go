package op

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// ConvNormAct: z = clip(BatchNormalization(y) + r, min, max) with y = conv(x, w),
// the fused form of Conv, BatchNormalization, Add and Relu or Clip in training
// plans. Inputs 0 and 1 are x and w of Conv, 2 to 5 the inputs 1 to 4 of
// BatchNormalization, 6 the optional residual r; the attributes are those of
// Conv and BatchNormalization, with min and max as in NormAct. The outputs are z
// and y. Between two of them z need not exist, see [Defer].
func init() {
	conv := func(residual bool, x, w []int, y ...int) []Arg {
		o := w[0]
		in := []Arg{Rand(x...), Rand(w...), RandIn(0.5, 2, o), Rand(o), Rand(o), RandIn(0.3, 2, o)}
		if residual {
			in = append(in, Rand(y...))
		}
		return in
	}
	same := Attrs{"pads": IntsAttr(1, 1, 1, 1), "min": FloatAttr(0)}
	Register(Def{
		Name: "ConvNormAct", Domain: "onnxprune", Since: 1, Weights: []int{1}, Params: []int{1, 2, 3}, State: []int{4, 5}, Kept: []int{1},
		New:       newConvNorm,
		Reference: refConvNorm,
		Cases: []Case{
			{Name: "relu", In: conv(false, []int{2, 3, 5, 4}, []int{4, 3, 3, 3}), Attrs: same},
			{Name: "residual", In: conv(true, []int{2, 4, 5, 4}, []int{5, 4, 1, 1}, 2, 5, 5, 4)},
			{Name: "training", In: conv(false, []int{3, 5, 4, 4}, []int{4, 5, 3, 3}), Training: true, Attrs: same},
			{Name: "training-residual", In: conv(true, []int{3, 4, 4, 4}, []int{5, 4, 1, 1}, 3, 5, 4, 4), Training: true},
			{Name: "training-both", In: conv(true, []int{3, 9, 4, 3}, []int{18, 9, 1, 1}, 3, 18, 4, 3), Training: true, Attrs: Attrs{"min": FloatAttr(0)}},
			{Name: "training-depthwise", In: conv(false, []int{3, 5, 6, 5}, []int{5, 1, 3, 3}), Training: true,
				Attrs: Attrs{"pads": IntsAttr(1, 1, 1, 1), "group": IntAttr(5), "strides": IntsAttr(2, 2), "min": FloatAttr(-0.25), "max": FloatAttr(0.75)}},
			{Name: "training-1d", In: conv(false, []int{4, 3, 9}, []int{4, 3, 3}), Training: true},
		},
	})
}

type convNorm struct {
	conv convForm
	norm batchNorm
	k    *kernel.FusedConv
	s    kernel.ConvShape
	// unkept is set where output 0 is y, and next applies the normalisation where it
	// reads. sums are db and ds [C], summed whether the backward pass of next left
	// them there.
	unkept, summed bool
	sums           []float32
	// next is the one that a deferred operator leaves its work to, source the
	// reverse.
	next, source *convNorm
	in           kernel.Affine // what source leaves to do
	x            []float32     // y of source
	normIn       [6]*Tensor
}

func newConvNorm(n Node) (Op, error) {
	f, err := newConvForm(n)
	if err != nil {
		return nil, err
	}
	r := &reader{n: n}
	c := &convNorm{conv: *f}
	c.conv.inputs = 2
	c.norm = batchNorm{
		epsilon: r.Float("epsilon", 1e-5), momentum: r.Float("momentum", 0.9),
		act:    kernel.Range{Lo: r.Float("min", kernel.Unbounded.Lo), Hi: r.Float("max", kernel.Unbounded.Hi)},
		inputs: 6, outputs: 1, training: n.Training,
	}
	if !(c.norm.act.Lo <= c.norm.act.Hi) {
		r.keep(fmt.Errorf("attribute %q is %v, %q is %v", "min", c.norm.act.Lo, "max", c.norm.act.Hi))
	}
	return c, r.err
}

// Fusable reports whether a Conv of these inputs, followed by a
// BatchNormalization that is trained, runs faster as ConvNormAct.
func Fusable(o Op, in []*Tensor) bool {
	f, ok := o.(*conv)
	if !ok || len(in) > 2 && in[2] != nil || in[0].Rank() > 4 {
		return false
	}
	s, err := f.shape(in)
	return err == nil && s.Fusable()
}

// Defer makes next, a ConvNormAct whose input 0 is output 0 of first, compute
// the normalisation and activation of first where it reads, and the sums for
// their gradient where that of its input is ready. next must be the first reader
// of output 0, and the inputs and outputs of first must live until it has run.
//
// With keep unset, next must be the only reader. Output 0 of first is then y, its
// only output; the gradient of that value is still the one of z.
//
// Defer reports false, and changes nothing, where this cannot be.
func Defer(first, next Op, keep bool) bool {
	a, ok := first.(*convNorm)
	b, ok2 := next.(*convNorm)
	if !ok || !ok2 || a.next != nil || b.source != nil {
		return false
	}
	a.next, a.unkept, b.source = b, !keep, a
	return true
}

// inputsOf arranges the inputs as those of BatchNormalization, with y.
func (f *convNorm) inputsOf(y *Tensor, in []*Tensor) []*Tensor {
	f.normIn = [6]*Tensor{y, in[2], in[3], in[4], in[5]}
	if len(in) > 6 {
		f.normIn[5] = in[6]
	}
	return f.normIn[:]
}

func (f *convNorm) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 6, 7); err != nil {
		return nil, err
	}
	y, err := f.conv.Infer(in[:2])
	if err != nil {
		return nil, err
	}
	z, err := f.norm.Infer(f.inputsOf(y[0], in))
	if err != nil {
		return nil, err
	}
	if f.unkept {
		return z, nil
	}
	return append(z, y...), nil
}

func (f *convNorm) Layouts(in []*Tensor) (want, out []Layout) {
	want = make([]Layout, len(in))
	want[0] = ChannelsLast
	if len(in) > 6 {
		want[6] = ChannelsLast
	}
	return want, []Layout{ChannelsLast, ChannelsLast}
}

func (f *convNorm) MACs(in, out []*Tensor) int64 { return f.conv.MACs(in[:2], out) }

func (f *convNorm) Prepare(in, out []*Tensor, training bool) (int, error) {
	s, err := f.conv.widen(in[:2], out[len(out)-1])
	if err != nil {
		return 0, err
	}
	for _, i := range []int{0, 6} {
		if i < len(in) {
			if err := wantInner(i, in[i]); err != nil {
				return 0, err
			}
		}
	}
	f.k, f.s = kernel.NewFusedConv(s), s
	state := make([]float32, 6*s.O)
	f.norm.mean, f.norm.invstd, f.norm.scale, f.norm.shift = state[:s.O], state[s.O:2*s.O], state[2*s.O:3*s.O], state[3*s.O:4*s.O]
	f.sums = state[4*s.O:]
	return 5*s.O + max(f.k.Workspace(), kernel.BatchNormWorkspace(s.N*s.OH*s.OW, s.O)), nil
}

func (f *convNorm) Forward(c *Context, in, out []*Tensor) error {
	if f.k == nil {
		if _, err := f.Prepare(in, out, false); err != nil {
			return err
		}
	}
	y := out[len(out)-1]
	s := f.s
	rows := s.N * s.OH * s.OW
	x, affine := in[0].F, (*kernel.Affine)(nil)
	if f.source != nil {
		x, affine = f.x, &f.in
	}
	f.k.Forward(c.pool(), y.F, x, f.conv.wide.filters(in[1].F), affine, f.norm.mean, f.norm.invstd, c.scratch(f.k.Workspace()))
	nin := f.inputsOf(y, in)
	f.norm.settle(c, nin, nil, f.norm.batch(c), rows)
	var residual []float32
	if r := nin[5]; r != nil {
		residual = r.F
	}
	f.summed = false
	if f.next != nil {
		f.leave(y.F, residual, out[0].F)
		return nil
	}
	kernel.BatchNormApply(c.pool(), out[0].F, y.F, f.norm.scale, f.norm.shift, residual, f.norm.act, rows, s.O)
	return nil
}

// leave tells next what it has to do for output 0, z, of f.
func (f *convNorm) leave(y, residual, z []float32) {
	n, next := &f.norm, f.next
	next.x, next.in = y, kernel.Affine{Scale: n.scale, Shift: n.shift, Range: n.act}
	if !f.unkept {
		next.in.Res, next.in.Z = residual, z
	}
}

func (f *convNorm) Reads() (in, out uint32) {
	if f.unkept {
		return 1<<0 | 1<<1 | 1<<2, 1 << 0
	}
	out = 1 << 1
	if f.norm.act != kernel.Unbounded {
		out |= 1 << 0
	}
	return 1<<0 | 1<<1 | 1<<2, out
}

func (f *convNorm) Accumulates() {}

// Backward is that of BatchNormalization and of Conv, with the gradient of y
// computed where the convolution's gradients read it.
func (f *convNorm) Backward(c *Context, in, out, dout, din []*Tensor) error {
	s := f.s
	rows, dz, y := s.N*s.OH*s.OW, dout[0].F, out[len(out)-1]
	nin := f.inputsOf(y, in)
	batch := f.norm.batch(c)
	mask := f.norm.mask(nin, out)
	ws := c.scratch(5*s.O + max(f.k.Workspace(), kernel.BatchNormWorkspace(rows, s.O)))
	db, ds, a, b, d := ws[:s.O], ws[s.O:2*s.O], ws[2*s.O:3*s.O], ws[3*s.O:4*s.O], ws[4*s.O:5*s.O]
	ws = ws[5*s.O:]
	if f.summed {
		db, ds = f.sums[:s.O], f.sums[s.O:]
	} else {
		kernel.BatchNormGradStats(c.pool(), db, ds, dz, y.F, mask, f.norm.mean, f.norm.invstd, rows, s.O, ws)
	}
	deliver(din[2], ds)
	deliver(din[3], db)
	f.norm.slopes(a, b, d, db, ds, in[2].F, batch, rows)
	g := kernel.FusedGrad{DZ: dz, Y: y.F, Mask: mask, A: a, B: b, D: d, X: in[0].F, W: f.conv.wide.last(in[1].F)}
	if f.source != nil && f.source.unkept {
		g.In = &f.in
	}
	if len(din) > 6 && din[6] != nil {
		g.DRes, g.AddDRes = din[6].F, din[6].Acc
	}
	if dx := din[0]; dx != nil {
		g.DX, g.AddDX = dx.F, dx.Acc
		if src := f.source; src != nil {
			n := &src.norm
			g.SumDX, g.SumDXX, g.Mean, g.InvStd = src.sums[:s.C], src.sums[s.C:], n.mean, n.invstd
			g.SumX, src.summed = f.x, true
			switch {
			case n.act == kernel.Unbounded:
			case src.unkept:
				g.SumMask = kernel.NormMask{Range: n.act, Scale: n.scale, Shift: n.shift}
			default:
				g.SumMask = kernel.NormMask{Range: n.act, Y: in[0].F}
			}
		}
	}
	if dw := din[1]; dw != nil {
		g.DW, g.AddDW = f.conv.wide.grad(dw)
	}
	if g.DX == nil && g.DW == nil {
		if g.DRes != nil {
			f.norm.pass(c, din[6], dz, out[0].F)
		}
		return nil
	}
	f.k.Backward(c.pool(), g, ws)
	f.conv.wide.deliver(din[1])
	return nil
}

func (f *convNorm) Wide(in []*Tensor) (free, same []int) {
	if free, same = f.conv.Wide(in[:2]); len(free)+len(same) == 0 {
		return nil, nil
	}
	return free, append(slices.DeleteFunc(same, func(i int) bool { return i > 0 }), 6)
}

func refConvNorm(n Node, in []*Array) []*Array {
	y := refConv(n, in[:2])[0]
	norm := append([]*Array{y}, in[2:]...)
	r := &reader{n: n}
	z, _, _ := refBatchNorm(norm, float64(r.Float("epsilon", 1e-5)), float64(r.Float("momentum", 0.9)), n.Training)
	lo, hi := r.Float("min", float32(math.Inf(-1))), r.Float("max", float32(math.Inf(1)))
	for i, v := range z.V {
		z.V[i] = min(max(v, float64(lo)), float64(hi))
	}
	return []*Array{z, y}
}
