package kernel

// Add computes dst[i] = a[i] + b[i].
func Add(dst, a, b []float32) { vecAdd(dst, a[:len(dst)], b[:len(dst)]) }

// Sub computes dst[i] = a[i] - b[i].
func Sub(dst, a, b []float32) { vecSub(dst, a[:len(dst)], b[:len(dst)]) }

// Mul computes dst[i] = a[i] · b[i].
func Mul(dst, a, b []float32) { vecMul(dst, a[:len(dst)], b[:len(dst)]) }

// Div computes dst[i] = a[i] / b[i].
func Div(dst, a, b []float32) { vecDiv(dst, a[:len(dst)], b[:len(dst)]) }

// Max computes dst[i] = max(a[i], b[i]); NaN if either is NaN.
func Max(dst, a, b []float32) { vecMax(dst, a[:len(dst)], b[:len(dst)]) }

// Min computes dst[i] = min(a[i], b[i]); NaN if either is NaN.
func Min(dst, a, b []float32) { vecMin(dst, a[:len(dst)], b[:len(dst)]) }

// AddScalar computes dst[i] = a[i] + s.
func AddScalar(dst, a []float32, s float32) { vecAddScalar(dst, a[:len(dst)], s) }

// Scale computes dst[i] = a[i] · s.
func Scale(dst, a []float32, s float32) { vecScale(dst, a[:len(dst)], s) }

// Axpy computes dst[i] += s · a[i].
func Axpy(dst, a []float32, s float32) { vecAxpy(dst, a[:len(dst)], s) }

// Relu computes dst[i] = max(a[i], 0); NaN stays NaN.
func Relu(dst, a []float32) { vecRelu(dst, a[:len(dst)]) }

// AddRelu computes dst[i] = max(a[i]+b[i], 0); NaN stays NaN.
func AddRelu(dst, a, b []float32) { vecAddRelu(dst, a[:len(dst)], b[:len(dst)]) }

// ReluGrad computes dst[i] = dy[i] where y[i] > 0, else 0.
func ReluGrad(dst, dy, y []float32) { vecReluGrad(dst, dy[:len(dst)], y[:len(dst)]) }

// Clip computes dst[i] = min(max(a[i], lo), hi); NaN stays NaN.
func Clip(dst, a []float32, lo, hi float32) { vecClip(dst, a[:len(dst)], lo, hi) }

// ClipGrad computes dst[i] = dy[i] where lo ≤ x[i] ≤ hi, else 0.
func ClipGrad(dst, dy, x []float32, lo, hi float32) {
	vecClipGrad(dst, dy[:len(dst)], x[:len(dst)], lo, hi)
}

// Fill sets every element of dst to v.
func Fill(dst []float32, v float32) { fillGo(dst, v) }

// Sum returns Σ a[i], added in an order that depends on len(a) alone.
func Sum(a []float32) float32 { return vecSum(a) }

// Dot returns Σ a[i]·b[i], added in an order that depends on len(a) alone.
func Dot(a, b []float32) float32 { return vecDot(a, b[:len(a)]) }

// SumSquares returns Σ a[i]², added in an order that depends on len(a) alone.
func SumSquares(a []float32) float32 { return vecDot(a, a) }
