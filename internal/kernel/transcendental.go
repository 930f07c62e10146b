package kernel

import "math"

// Exp computes dst[i] = exp(a[i]).
func Exp(dst, a []float32) { vecExp(dst, a[:len(dst)]) }

// Sigmoid computes dst[i] = 1 / (1 + exp(-a[i])).
func Sigmoid(dst, a []float32) { vecSigmoid(dst, a[:len(dst)]) }

// Tanh computes dst[i] = tanh(a[i]).
func Tanh(dst, a []float32) { vecTanh(dst, a[:len(dst)]) }

// Erf computes dst[i] = erf(a[i]) = 2/√π ∫₀^a exp(-t²) dt.
func Erf(dst, a []float32) { vecErf(dst, a[:len(dst)]) }

func expGo(dst, a []float32) {
	a = a[:len(dst)]
	for i, v := range a {
		dst[i] = float32(math.Exp(float64(v)))
	}
}

func sigmoidGo(dst, a []float32) {
	a = a[:len(dst)]
	for i, v := range a {
		dst[i] = float32(1 / (1 + math.Exp(-float64(v))))
	}
}

func tanhGo(dst, a []float32) {
	a = a[:len(dst)]
	for i, v := range a {
		dst[i] = float32(math.Tanh(float64(v)))
	}
}

func erfGo(dst, a []float32) {
	a = a[:len(dst)]
	for i, v := range a {
		dst[i] = float32(math.Erf(float64(v)))
	}
}
