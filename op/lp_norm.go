package op

import (
	"fmt"
	"math"
)

// readP reads the attribute p of a norm (Σ |x|^p)^(1/p).
func readP(r *reader) float64 {
	p := r.Int("p", 2)
	if p < 1 || p > math.MaxInt32 {
		r.keep(fmt.Errorf("attribute %q is %d, wants at least 1", "p", p))
	}
	return float64(p)
}

// powP returns |x|^p.
func powP(x, p float64) float64 {
	switch p {
	case 1:
		return math.Abs(x)
	case 2:
		return x * x
	}
	return math.Pow(math.Abs(x), p)
}

// rootP returns s^(1/p).
func rootP(s, p float64) float64 {
	switch p {
	case 1:
		return s
	case 2:
		return math.Sqrt(s)
	}
	return math.Pow(s, 1/p)
}

// slopeP returns the derivative of a norm of value y by an element x:
// sign(x)·(|x|/y)^(p−1), and 0 for y = 0.
func slopeP(x, y, p float64) float64 {
	switch {
	case x == 0 || y == 0:
		return 0
	case p == 1:
		return math.Copysign(1, x)
	case p == 2:
		return x / y
	}
	return math.Copysign(math.Pow(math.Abs(x)/y, p-1), x)
}
