package op

import "math"

// LogSoftmax: y = x − log Σ exp(x), the sum over the axes that Softmax has.
// https://onnx.ai/onnx/operators/onnx__LogSoftmax.html
func init() {
	Register(Def{
		Name: "LogSoftmax", Since: 1,
		New:       func(n Node) (Op, error) { return newSoftmax(n, true) },
		Reference: func(n Node, in []*Array) []*Array { return refSoftmax(n, in[0], math.Log) },
		Cases:     softmaxCases(),
	})
}
