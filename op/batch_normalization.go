package op

import (
	"fmt"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// BatchNormalization: y = (x−mean)/√(var+ε)·scale + bias per channel.
// x [N,C,D1,…], scale, bias, mean, var [C], y like x.
// In training, mean and var are those of the batch, and the running ones, which
// are inputs 3 and 4, become running·momentum + batch·(1−momentum) with the
// unbiased variance. https://onnx.ai/onnx/operators/onnx__BatchNormalization.html
func init() {
	norm := func(shape ...int) []Arg {
		c := shape[1]
		return []Arg{RandIn(-2, 3, shape...), RandIn(0.5, 2, c), Rand(c), Rand(c), RandIn(0.3, 2, c)}
	}
	Register(Def{
		Name: "BatchNormalization", Since: 7, Params: []int{1, 2}, State: []int{3, 4},
		New:       newBatchNormalization,
		Reference: refBatchNormalization,
		Cases: []Case{
			{In: norm(2, 5, 3, 4), Opset: 15},
			{Name: "vector", In: norm(6, 3), Opset: 7},
			{Name: "1d", In: norm(2, 4, 7), Opset: 9, Attrs: Attrs{"epsilon": FloatAttr(0.1)}},
			{Name: "3d", In: norm(1, 3, 2, 3, 4), Opset: 14},
			{Name: "wide", In: norm(1, 37, 3, 3)},
			{Name: "training", In: norm(3, 5, 3, 5), Training: true},
			{Name: "training-vector", In: norm(7, 4), Training: true, Opset: 15},
			{Name: "training-1d", In: norm(2, 19, 5), Training: true, Attrs: Attrs{"epsilon": FloatAttr(1e-3)}},
			{Name: "training-mode", In: norm(2, 3, 4, 5), Opset: 15, Outputs: 3,
				Attrs: Attrs{"training_mode": IntAttr(1), "momentum": FloatAttr(0.75)}},
		},
	})
}

// forwardOnly hides the gradient of an operator that is laid out, prepared and
// linked.
type forwardOnly interface {
	Op
	Layouter
	Preparer
	Linker
}

func newBatchNormalization(n Node) (Op, error) {
	r := &reader{n: n}
	f := &batchNorm{
		epsilon: r.Float("epsilon", 1e-5), momentum: r.Float("momentum", 0.9), act: kernel.Unbounded,
		inputs: 5, outputs: max(1, n.Outputs),
		always:   n.Opset >= 14 && r.Bool("training_mode", false),
		training: n.Training,
	}
	if n.Opset < 9 && !r.Bool("spatial", true) {
		r.keep(fmt.Errorf("attribute %q is 0, wants 1", "spatial"))
	}
	if r.err != nil {
		return nil, r.err
	}
	limit := 1
	if f.always {
		limit = 3
	}
	if f.outputs > limit {
		return nil, fmt.Errorf("has %d outputs, wants at most %d", f.outputs, limit)
	}
	if f.outputs > 1 && !n.Training {
		return struct{ forwardOnly }{f}, nil // the new statistics are outputs that depend on x
	}
	return f, nil
}

func refBatchNormalization(n Node, in []*Array) []*Array {
	r := &reader{n: n}
	batch := n.Training || n.Opset >= 14 && r.Int("training_mode", 0) == 1
	y, mean, variance := refBatchNorm(in, float64(r.Float("epsilon", 1e-5)), float64(r.Float("momentum", 0.9)), batch)
	return []*Array{y, mean, variance}[:n.Outputs]
}
