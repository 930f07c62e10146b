package op

import (
	"fmt"
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// NormAct: y = clip(BatchNormalization(x) + r, min, max), the fused form of
// BatchNormalization, Add and Relu or Clip in plans. Inputs 0 to 4 and the
// attributes epsilon and momentum are those of BatchNormalization, input 5 is the
// optional residual r with the shape of x. An attribute min or max that is absent
// does not bound. The gradient passes where min < y < max.
func init() {
	norm := func(residual bool, shape ...int) []Arg {
		c := shape[1]
		in := []Arg{RandIn(-2, 3, shape...), RandIn(0.5, 2, c), Rand(c), Rand(c), RandIn(0.3, 2, c)}
		if residual {
			in = append(in, Rand(shape...))
		}
		return in
	}
	relu := Attrs{"min": FloatAttr(0)}
	clip := Attrs{"min": FloatAttr(-0.25), "max": FloatAttr(0.75)}
	Register(Def{
		Name: "NormAct", Domain: "onnxprune", Since: 1, Params: []int{1, 2}, State: []int{3, 4},
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			f := &batchNorm{
				epsilon: r.Float("epsilon", 1e-5), momentum: r.Float("momentum", 0.9),
				act:    kernel.Range{Lo: r.Float("min", kernel.Unbounded.Lo), Hi: r.Float("max", kernel.Unbounded.Hi)},
				inputs: 6, outputs: 1, training: n.Training,
			}
			if !(f.act.Lo <= f.act.Hi) {
				r.keep(fmt.Errorf("attribute %q is %v, %q is %v", "min", f.act.Lo, "max", f.act.Hi))
			}
			return f, r.err
		},
		Reference: refNormAct,
		Cases: []Case{
			{Name: "relu", In: norm(false, 2, 5, 3, 4), Attrs: relu},
			{Name: "residual", In: norm(true, 2, 5, 3, 4)},
			{Name: "both", In: norm(true, 2, 17, 3, 3), Attrs: relu},
			{Name: "omitted", In: append(norm(false, 3, 4, 5), None()), Attrs: relu},
			{Name: "training", In: norm(false, 3, 5, 3, 4), Training: true, Attrs: relu},
			{Name: "training-residual", In: norm(true, 3, 5, 3, 4), Training: true},
			{Name: "training-both", In: norm(true, 2, 18, 3, 4), Training: true, Attrs: relu},
			{Name: "training-clip", In: norm(false, 3, 5, 3, 4), Training: true, Attrs: clip},
			{Name: "training-residual-clip", In: norm(true, 3, 16, 3, 4), Training: true, Attrs: clip},
			{Name: "training-vector", In: norm(true, 9, 6), Training: true, Attrs: relu},
		},
	})
}

func refNormAct(n Node, in []*Array) []*Array {
	r := &reader{n: n}
	y, _, _ := refBatchNorm(in, float64(r.Float("epsilon", 1e-5)), float64(r.Float("momentum", 0.9)), n.Training)
	lo, hi := r.Float("min", float32(math.Inf(-1))), r.Float("max", float32(math.Inf(1)))
	for i, v := range y.V {
		y.V[i] = min(max(v, float64(lo)), float64(hi))
	}
	return []*Array{y}
}
