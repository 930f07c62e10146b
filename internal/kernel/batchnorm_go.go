package kernel

// columnSumsGo computes sum[j] = Σ_i x[i,j].
func columnSumsGo(sum, x []float32, rows, c int) {
	clear(sum[:c])
	for r := range rows {
		for i, v := range x[r*c:][:c] {
			sum[i] += v
		}
	}
}

// columnMomentsGo computes s1[j] = Σ_i (x[i,j]−mean[j]) and s2[j] the same
// squared.
func columnMomentsGo(s1, s2, x, mean []float32, rows, c int) {
	clear(s1[:c])
	clear(s2[:c])
	s1, s2, mean = s1[:c], s2[:c], mean[:c]
	for r := range rows {
		for i, v := range x[r*c:][:c] {
			d := v - mean[i]
			s1[i] += d
			s2[i] += d * d
		}
	}
}

// normApplyGo computes y = clip(x·scale + shift + res).
func normApplyGo(y, x, res, scale, shift []float32, rows, c int, r Range) {
	scale, shift = scale[:c], shift[:c]
	for row := range rows {
		xr, yr := x[row*c:][:c], y[row*c:][:c]
		for i, v := range xr {
			yr[i] = v*scale[i] + shift[i]
		}
		if res != nil {
			for i, v := range res[row*c:][:c] {
				yr[i] += v
			}
		}
		if !r.open() {
			clipGo(yr, yr, r.Lo, r.Hi)
		}
	}
}

// passes reports whether the gradient of element at, of column j and with the
// input x, passes the activation.
func (m *NormMask) passes(at, j int, x float32) bool {
	var q float32
	switch {
	case m.Y != nil:
		q = m.Y[at]
	case m.Scale != nil:
		q = x*m.Scale[j] + m.Shift[j]
	default:
		return true
	}
	return q > m.Lo && q < m.Hi
}

// normGradSumsGo computes s1[j] = Σ_i dy'[i,j] and
// s2[j] = Σ_i dy'[i,j]·(x[i,j]−mean[j]).
func normGradSumsGo(s1, s2, dy, x []float32, m NormMask, mean []float32, rows, c int) {
	s1, s2, mean = s1[:c], s2[:c], mean[:c]
	clear(s1)
	clear(s2)
	for r := range rows {
		xr := x[r*c:][:c]
		for i, g := range dy[r*c:][:c] {
			if !m.passes(r*c+i, i, xr[i]) {
				continue
			}
			s1[i] += g
			s2[i] += g * (xr[i] - mean[i])
		}
	}
}

// normGradApplyGo computes dx = a·dy' + b·x + d and dres = dy'.
func normGradApplyGo(dx, dres, dy, x []float32, m NormMask, a, b, d []float32, rows, c int, addDx, addRes bool) {
	a, b, d = a[:c], b[:c], d[:c]
	for r := range rows {
		xr, or := x[r*c:][:c], dx[r*c:][:c]
		var rr []float32
		if dres != nil {
			rr = dres[r*c:][:c]
		}
		for i, g := range dy[r*c:][:c] {
			if !m.passes(r*c+i, i, xr[i]) {
				g = 0
			}
			v := a[i]*g + (b[i]*xr[i] + d[i])
			if addDx {
				v += or[i]
			}
			or[i] = v
			if rr != nil {
				if addRes {
					g += rr[i]
				}
				rr[i] = g
			}
		}
	}
}
