package op

// InstanceNormalization: y = (x−μ)/√(σ²+ε)·scale + bias, with mean and biased
// variance of every channel of every sample over the spatial axes. x [N,C,D1,…],
// scale and bias [C].
// https://onnx.ai/onnx/operators/onnx__InstanceNormalization.html
func init() {
	Register(Def{
		Name: "InstanceNormalization", Since: 6, Params: []int{1, 2},
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			return &groupNorm{epsilon: r.Float("epsilon", 1e-5)}, r.err
		},
		Reference: func(n Node, in []*Array) []*Array {
			return refGroupNorm(in, in[0].Shape[1], float64((&reader{n: n}).Float("epsilon", 1e-5)))
		},
		Cases: []Case{
			{In: []Arg{RandIn(-2, 3, 2, 5, 3, 4), RandIn(0.5, 2, 5), Rand(5)}},
			{Name: "1d", Opset: 6, Attrs: Attrs{"epsilon": FloatAttr(0.1)}, In: []Arg{Rand(3, 4, 9), Rand(4), Rand(4)}},
			{Name: "3d", Opset: 22, In: []Arg{Rand(1, 3, 2, 3, 2), Rand(3), Rand(3)}},
			{Name: "wide", In: []Arg{RandIn(3, 5, 1, 37, 5, 5), Rand(37), Rand(37)}},
			{Name: "long", In: []Arg{RandIn(-1, 3, 1, 2, 50, 50), Rand(2), Rand(2)}},
		},
	})
}
