package op

import (
	"fmt"
	"math"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Gelu: y = x·Φ(x) = x/2·(1 + erf(x/√2)), or with approximate = tanh y =
// x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))).
// https://onnx.ai/onnx/operators/onnx__Gelu.html
func init() {
	registerUnary("Gelu", 20, func(r *reader) elementFunc {
		switch s := r.String("approximate", "none"); s {
		case "tanh":
			return geluTanh()
		case "none":
		default:
			r.keep(fmt.Errorf("attribute \"approximate\" is %q, wants none or tanh", s))
		}
		return geluErf()
	},
		Case{In: []Arg{RandIn(-4, 4, 2, 5, 3, 7)}},
		Case{Name: "vector", In: []Arg{RandIn(-30, 30, 37)}},
		Case{Name: "tanh", Attrs: Attrs{"approximate": StringAttr("tanh")}, In: []Arg{RandIn(-4, 4, 2, 5, 3, 7)}},
		Case{Name: "tanh vector", Attrs: Attrs{"approximate": StringAttr("tanh")}, In: []Arg{RandIn(-30, 30, 37)}},
	)
}

// geluErf has dx = dy·(Φ(x) + x·φ(x)) with φ(x) = e^(-x²/2)/√2π.
func geluErf() elementFunc {
	return elementFunc{
		ref: func(x float64) float64 { return x * 0.5 * (1 + math.Erf(x/math.Sqrt2)) },
		fwd: func(y, x []float32) {
			kernel.Scale(y, x, 1/math.Sqrt2)
			kernel.Erf(y, y)
			for i, v := range x {
				y[i] = 0.5 * v * (1 + y[i])
			}
		},
		grad: func(dx, dy, x, y []float32) {
			l := newLanes()
			for lo := 0; lo < len(dx); lo += block {
				hi := min(len(dx), lo+block)
				d, g, v, e := dx[lo:hi], dy[lo:hi], x[lo:hi], l.e[:hi-lo]
				kernel.Scale(d, v, 1/math.Sqrt2)
				kernel.Erf(d, d)
				for i, u := range v {
					e[i] = -0.5 * u * u
				}
				kernel.Exp(e, e)
				const norm = 1 / (math.Sqrt2 * math.SqrtPi)
				for i, u := range v {
					d[i] = g[i] * (0.5*(1+d[i]) + u*e[i]*norm)
				}
			}
			lanePool.Put(l)
		},
		readsX: true,
	}
}

func geluTanh() elementFunc {
	const a, b = math.Sqrt2 / math.SqrtPi, 0.044715
	inner := func(d, x []float32) {
		for i, v := range x {
			d[i] = a * v * (1 + b*v*v)
		}
		kernel.Tanh(d, d)
	}
	return elementFunc{
		ref: func(x float64) float64 {
			return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*math.Pow(x, 3))))
		},
		fwd: func(y, x []float32) {
			inner(y, x)
			for i, v := range x {
				y[i] = 0.5 * v * (1 + y[i])
			}
		},
		grad: func(dx, dy, x, y []float32) {
			inner(dx, x)
			for i, v := range x {
				t := dx[i]
				dx[i] = dy[i] * (0.5*(1+t) + 0.5*v*(1-t*t)*a*(1+3*b*v*v))
			}
		},
		readsX: true,
	}
}
