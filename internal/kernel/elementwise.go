package kernel

// The binary and unary passes work on len(dst) elements; the operands must be
// at least as long. dst may be one of the operands, but must not overlap them
// otherwise.

func addGo(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] + b[i]
	}
}

func subGo(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] - b[i]
	}
}

func mulGo(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] * b[i]
	}
}

func divGo(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] / b[i]
	}
}

func maxGo(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = max(a[i], b[i])
	}
}

func minGo(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = min(a[i], b[i])
	}
}

func addReluGo(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		v := a[i] + b[i]
		if 0 > v {
			v = 0
		}
		dst[i] = v
	}
}

func reluGradGo(dst, dy, y []float32) {
	dy, y = dy[:len(dst)], y[:len(dst)]
	for i := range dst {
		v := float32(0)
		if y[i] > 0 {
			v = dy[i]
		}
		dst[i] = v
	}
}

func reluGo(dst, a []float32) {
	a = a[:len(dst)]
	for i, v := range a {
		if 0 > v {
			v = 0
		}
		dst[i] = v
	}
}

func addScalarGo(dst, a []float32, s float32) {
	a = a[:len(dst)]
	for i, v := range a {
		dst[i] = v + s
	}
}

func scaleGo(dst, a []float32, s float32) {
	a = a[:len(dst)]
	for i, v := range a {
		dst[i] = v * s
	}
}

func axpyGo(dst, a []float32, s float32) {
	a = a[:len(dst)]
	for i, v := range a {
		dst[i] += s * v
	}
}

func clipGo(dst, a []float32, lo, hi float32) {
	a = a[:len(dst)]
	for i, v := range a {
		if lo > v {
			v = lo
		}
		if hi < v {
			v = hi
		}
		dst[i] = v
	}
}

func clipGradGo(dst, dy, x []float32, lo, hi float32) {
	dy, x = dy[:len(dst)], x[:len(dst)]
	for i, v := range x {
		g := float32(0)
		if lo <= v && v <= hi {
			g = dy[i]
		}
		dst[i] = g
	}
}

func fillGo(dst []float32, v float32) {
	for i := range dst {
		dst[i] = v
	}
}

// The sums keep sixteen partial sums, element i in sum i mod 16, and add
// these in a fixed tree.

func sumGo(a []float32) float32 {
	var s [16]float32
	for i, v := range a {
		s[i&15] += v
	}
	return tree(&s)
}

func dotGo(a, b []float32) float32 {
	b = b[:len(a)]
	var s [16]float32
	for i, v := range a {
		s[i&15] += v * b[i]
	}
	return tree(&s)
}

func tree(s *[16]float32) float32 {
	for n := 8; n > 0; n /= 2 {
		for i := range n {
			s[i] += s[i+n]
		}
	}
	return s[0]
}
