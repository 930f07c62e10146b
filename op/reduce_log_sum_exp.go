package op

import (
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// ReduceLogSumExp: y = ln Σ e^x over the reduced axes, computed relative to
// the maximum; dx = dy·e^(x-y).
// https://onnx.ai/onnx/operators/onnx__ReduceLogSumExp.html
func init() {
	registerReduce("ReduceLogSumExp", reduceFunc{
		ref:     refLogSumExp,
		forward: logSumExp,
		grad: func(d []float32, x *vectors, n int) {
			kernel.Sub(d, x[1], x[2])
			kernel.Exp(d, d)
			kernel.Mul(d, d, x[0])
		},
		readsX: true, readsY: true,
	},
		Case{Name: "large", In: []Arg{RandIn(-300, 300, 5, 9)}},
		Case{Name: "infinite", In: []Arg{Const(Floats([]float32{minusInf, minusInf, 0, minusInf}, 2, 2))}, Opset: 11, Attrs: Attrs{"axes": IntsAttr(1)}},
	)
}

// refLogSumExp is m + ln Σ e^(x-m), where m is the maximum if finite.
func refLogSumExp(v []float64) float64 {
	m := math.Inf(-1)
	for _, x := range v {
		m = math.Max(m, x)
	}
	if math.IsInf(m, 0) {
		m = 0
	}
	s := 0.0
	for _, x := range v {
		s += math.Exp(x - m)
	}
	return m + math.Log(s)
}

// logSumExp writes y = m + ln Σ e^(x-m), where m is the maximum if finite.
func logSumExp(c *Context, x *Tensor, y operand) {
	m := operand{make([]float32, len(y.v)), y.str}
	top := reduction{init: math.Inf(-1), fold: foldMax, done: func(v float64) float64 {
		if math.IsInf(v, 0) {
			return 0
		}
		return v
	}}
	top.run(c, x.Shape, m, dense(x))
	sum := reduction{done: math.Log, each: func(e []float32, v *vectors) {
		kernel.Sub(e, v[0], v[1])
		kernel.Exp(e, e)
	}}
	sum.run(c, x.Shape, y, dense(x), m)
	kernel.Add(y.v, y.v, m.v)
}

var minusInf = float32(math.Inf(-1))
