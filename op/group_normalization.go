package op

import (
	"fmt"
	"math"
)

// GroupNormalization: y = (x−μ)/√(σ²+ε)·scale + bias, with mean and biased
// variance of every sample's groups of C/G channels. x [N,C,D1,…], scale and bias
// [C] since opset 21, [G] before.
// https://onnx.ai/onnx/operators/onnx__GroupNormalization.html
func init() {
	groups := func(g int) Attrs { return Attrs{"num_groups": IntAttr(g)} }
	Register(Def{
		Name: "GroupNormalization", Since: 18, Params: []int{1, 2},
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			f := &groupNorm{groups: r.Int("num_groups", 0), epsilon: r.Float("epsilon", 1e-5), perGroup: n.Opset < 21}
			if f.groups < 1 || f.groups > math.MaxInt32 {
				r.keep(fmt.Errorf("attribute %q is %d, wants at least 1", "num_groups", f.groups))
			}
			if t := r.Int("stash_type", 1); t != 1 {
				r.keep(fmt.Errorf("attribute %q is %d, only 1 is supported", "stash_type", t))
			}
			return f, r.err
		},
		Reference: func(n Node, in []*Array) []*Array {
			r := &reader{n: n}
			return refGroupNorm(in, r.Int("num_groups", 0), float64(r.Float("epsilon", 1e-5)))
		},
		Cases: []Case{
			{Opset: 21, Attrs: groups(2), In: []Arg{RandIn(-2, 3, 2, 6, 3, 4), RandIn(0.5, 2, 6), Rand(6)}},
			{Name: "per group", Opset: 18, Attrs: groups(3), In: []Arg{RandIn(-2, 3, 2, 6, 3, 4), RandIn(0.5, 2, 3), Rand(3)}},
			{Name: "one", Opset: 21, Attrs: Attrs{"num_groups": IntAttr(1), "epsilon": FloatAttr(0.1)}, In: []Arg{Rand(3, 4, 5), Rand(4), Rand(4)}},
			{Name: "each", Opset: 21, Attrs: groups(5), In: []Arg{Rand(2, 5, 3, 3), Rand(5), Rand(5)}},
			{Name: "3d", Opset: 21, Attrs: groups(2), In: []Arg{Rand(1, 4, 2, 3, 2), Rand(4), Rand(4)}},
			{Name: "vector", Opset: 21, Attrs: groups(2), In: []Arg{Rand(3, 8), Rand(8), Rand(8)}},
			{Name: "wide", Opset: 21, Attrs: groups(4), In: []Arg{RandIn(3, 5, 1, 36, 7, 6), Rand(36), Rand(36)}},
		},
	})
}
