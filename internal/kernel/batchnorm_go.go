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

// normApplyGo computes y = act(x·scale + shift + res).
func normApplyGo(y, x, res, scale, shift []float32, rows, c int, relu bool) {
	scale, shift = scale[:c], shift[:c]
	for r := range rows {
		xr, yr := x[r*c:][:c], y[r*c:][:c]
		for i, v := range xr {
			yr[i] = v*scale[i] + shift[i]
		}
		if res != nil {
			for i, v := range res[r*c:][:c] {
				yr[i] += v
			}
		}
		if relu {
			reluGo(yr, yr)
		}
	}
}

// normGradSumsGo computes s1[j] = Σ_i dy'[i,j] and
// s2[j] = Σ_i dy'[i,j]·(x[i,j]−mean[j]).
func normGradSumsGo(s1, s2, dy, x, y, mean []float32, rows, c int) {
	s1, s2, mean = s1[:c], s2[:c], mean[:c]
	clear(s1)
	clear(s2)
	for r := range rows {
		xr, dr := x[r*c:][:c], dy[r*c:][:c]
		if y == nil {
			for i, g := range dr {
				s1[i] += g
				s2[i] += g * (xr[i] - mean[i])
			}
			continue
		}
		yr := y[r*c:][:c]
		for i, g := range dr {
			if yr[i] > 0 {
				s1[i] += g
				s2[i] += g * (xr[i] - mean[i])
			}
		}
	}
}

// normGradApplyGo computes dx = a·dy' + b·x + d and dres = dy'.
func normGradApplyGo(dx, dres, dy, x, y, a, b, d []float32, rows, c int, addDx, addRes bool) {
	a, b, d = a[:c], b[:c], d[:c]
	for r := range rows {
		xr, gr, or := x[r*c:][:c], dy[r*c:][:c], dx[r*c:][:c]
		var yr, rr []float32
		if y != nil {
			yr = y[r*c:][:c]
		}
		if dres != nil {
			rr = dres[r*c:][:c]
		}
		for i, g := range gr {
			if yr != nil && !(yr[i] > 0) {
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
