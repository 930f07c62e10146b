package op

import "fmt"

// PRelu: y = x for x ≥ 0, slope·x for x < 0. x of any shape, slope broadcasts to
// x. https://onnx.ai/onnx/operators/onnx__PRelu.html
func init() {
	f := pairFunc{
		ref: func(x, slope float64) float64 {
			if x < 0 {
				return slope * x
			}
			return x
		},
		vec: pairs(func(x, slope float32) float32 {
			if x < 0 {
				return slope * x
			}
			return x
		}),
		ints: func(x, slope int64) int64 {
			if x < 0 {
				return slope * x
			}
			return x
		},
		gradA: func(d, dy, x, slope, _ []float32) {
			for i, v := range x {
				d[i] = dy[i]
				if v < 0 {
					d[i] *= slope[i]
				}
			}
		},
		gradB: func(d, dy, x, _, _ []float32) {
			for i, v := range x {
				d[i] = 0
				if v < 0 {
					d[i] = dy[i] * v
				}
			}
		},
		readsX: true,
	}
	Register(Def{
		Name: "PRelu", Since: 7, Params: []int{1},
		New:       func(Node) (Op, error) { return &prelu{binaryGrad{newBinary(f)}}, nil },
		Reference: func(_ Node, in []*Array) []*Array { return refPairs(f.ref, in) },
		Cases: []Case{
			{In: []Arg{Rand(2, 5, 3, 4), Rand(5, 1, 1)}},
			{Name: "shared", Opset: 7, In: []Arg{Rand(2, 5, 3, 4), Rand(1)}},
			{Name: "full", Opset: 9, In: []Arg{Rand(2, 5, 3), Rand(2, 5, 3)}},
			{Name: "last-axis", Opset: 16, In: []Arg{Rand(3, 4, 7), Rand(7)}},
			{Name: "int64", Opset: 9, In: []Arg{Const(Ints([]int64{-3, 0, 4}, 3)), Const(Ints([]int64{2}, 1))}},
		},
	})
}

type prelu struct{ binaryGrad }

func (p *prelu) Infer(in []*Tensor) ([]*Tensor, error) {
	out, err := p.binaryGrad.Infer(in)
	if err == nil && !EqualShape(out[0].Shape, in[0].Shape) {
		return nil, fmt.Errorf("slope has shape %s, wants one that broadcasts to %s", ShapeString(in[1].Shape), ShapeString(in[0].Shape))
	}
	return out, err
}
