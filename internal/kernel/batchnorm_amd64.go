//go:build !purego

package kernel

// The assembly walks rows of many columns best. Narrow matrices, and those
// with a number of columns that is no multiple of the vector, are seen as
// [rows/r, c·r], with the per-channel operands repeated r times.
const wideColumns = 1024

// widen returns r.
func widen(rows, c int) int {
	if c%16 == 0 && c >= 64 {
		return 1
	}
	r := 16
	for r > 1 && c*r/2%16 == 0 {
		r /= 2
	}
	for c*r < 64 {
		r *= 2
	}
	if c*r > wideColumns || r > rows {
		return 1
	}
	return r
}

// repeat fills dst with copies of v.
func repeat(dst, v []float32, r int) []float32 {
	c := len(v)
	for i := range r {
		copy(dst[i*c:], v)
	}
	return dst[:r*c]
}

// fold adds the r repeats of every column in wide to sum.
func fold(sum, wide []float32) {
	for len(wide) > 0 {
		for i, v := range wide[:len(sum)] {
			sum[i] += v
		}
		wide = wide[len(sum):]
	}
}

func columnSumsAsm(sum, x []float32, rows, c int) {
	if active == variantAVX512 {
		columnSumsAVX512(sum, x, rows, c)
	} else {
		columnSumsAVX2(sum, x, rows, c)
	}
}

func columnSums(sum, x []float32, rows, c int) {
	if active == variantGo || rows == 0 {
		columnSumsGo(sum, x, rows, c)
		return
	}
	r := widen(rows, c)
	if r == 1 {
		columnSumsAsm(sum, x, rows, c)
		return
	}
	var wide [wideColumns]float32
	sum = sum[:c]
	if rest := rows % r; rest > 0 {
		columnSumsAsm(sum, x[(rows-rest)*c:], rest, c)
	} else {
		clear(sum)
	}
	columnSumsAsm(wide[:r*c], x, rows/r, r*c)
	fold(sum, wide[:r*c])
}

func columnMomentsAsm(s1, s2, x, mean []float32, rows, c int) {
	if active == variantAVX512 {
		columnMomentsAVX512(s1, s2, x, mean, rows, c)
	} else {
		columnMomentsAVX2(s1, s2, x, mean, rows, c)
	}
}

func columnMoments(s1, s2, x, mean []float32, rows, c int) {
	if active == variantGo {
		columnMomentsGo(s1, s2, x, mean, rows, c)
		return
	}
	r := widen(rows, c)
	if r == 1 {
		columnMomentsAsm(s1, s2, x, mean, rows, c)
		return
	}
	var w1, w2, wm [wideColumns]float32
	s1, s2 = s1[:c], s2[:c]
	if rest := rows % r; rest > 0 {
		columnMomentsAsm(s1, s2, x[(rows-rest)*c:], mean, rest, c)
	} else {
		clear(s1)
		clear(s2)
	}
	columnMomentsAsm(w1[:], w2[:], x, repeat(wm[:], mean[:c], r), rows/r, r*c)
	fold(s1, w1[:r*c])
	fold(s2, w2[:r*c])
}

func normGradSumsAsm(s1, s2, dy, x []float32, m NormMask, mean []float32, rows, c int) {
	switch m.kind() {
	case 0:
		normGradSumsAVX2(s1, s2, dy, x, mean, m.Y, m.Scale, m.Shift, rows, c, m.Lo, m.Hi)
	case 1:
		normGradSumsYAVX2(s1, s2, dy, x, mean, m.Y, m.Scale, m.Shift, rows, c, m.Lo, m.Hi)
	case 2:
		normGradSumsXAVX2(s1, s2, dy, x, mean, m.Y, m.Scale, m.Shift, rows, c, m.Lo, m.Hi)
	case 3:
		normGradSumsAVX512(s1, s2, dy, x, mean, m.Y, m.Scale, m.Shift, rows, c, m.Lo, m.Hi)
	case 4:
		normGradSumsYAVX512(s1, s2, dy, x, mean, m.Y, m.Scale, m.Shift, rows, c, m.Lo, m.Hi)
	default:
		normGradSumsXAVX512(s1, s2, dy, x, mean, m.Y, m.Scale, m.Shift, rows, c, m.Lo, m.Hi)
	}
}

func normGradSums(s1, s2, dy, x []float32, m NormMask, mean []float32, rows, c int) {
	if active == variantGo {
		normGradSumsGo(s1, s2, dy, x, m, mean, rows, c)
		return
	}
	r := widen(rows, c)
	if r == 1 {
		normGradSumsAsm(s1, s2, dy, x, m, mean, rows, c)
		return
	}
	var w1, w2, wm, wa, wb [wideColumns]float32
	s1, s2 = s1[:c], s2[:c]
	if rest := rows % r; rest > 0 {
		o := (rows - rest) * c
		normGradSumsAsm(s1, s2, dy[o:], x[o:], m.from(o), mean, rest, c)
	} else {
		clear(s1)
		clear(s2)
	}
	normGradSumsAsm(w1[:], w2[:], dy, x, m.repeat(wa[:], wb[:], c, r), repeat(wm[:], mean[:c], r), rows/r, r*c)
	fold(s1, w1[:r*c])
	fold(s2, w2[:r*c])
}

// kind numbers the routines: 0 to 2 are AVX2 without mask, with Y and with
// Scale; 3 to 5 are AVX-512.
func (m *NormMask) kind() int {
	k := 0
	switch {
	case m.Y != nil:
		k = 1
	case m.Scale != nil:
		k = 2
	}
	if active == variantAVX512 {
		k += 3
	}
	return k
}

// from returns the mask of the elements from o on.
func (m NormMask) from(o int) NormMask {
	m.Y = from(m.Y, o)
	return m
}

// repeat returns m with r repeats of its operands per channel, in the buffers.
func (m NormMask) repeat(scale, shift []float32, c, r int) NormMask {
	if m.Scale != nil {
		m.Scale, m.Shift = repeat(scale, m.Scale[:c], r), repeat(shift, m.Shift[:c], r)
	}
	return m
}

// from returns s[o:], or nil for nil.
func from(s []float32, o int) []float32 {
	if s == nil {
		return nil
	}
	return s[o:]
}

func normApplyAsm(y, x, res, scale, shift []float32, rows, c int, b Range) {
	switch {
	case active == variantAVX512 && res == nil:
		normApplyAVX512(y, x, scale, shift, rows, c, b.Lo, b.Hi)
	case active == variantAVX512:
		normApplyResAVX512(y, x, res, scale, shift, rows, c, b.Lo, b.Hi)
	case res == nil:
		normApplyAVX2(y, x, scale, shift, rows, c, b.Lo, b.Hi)
	default:
		normApplyResAVX2(y, x, res, scale, shift, rows, c, b.Lo, b.Hi)
	}
}

func normApply(y, x, res, scale, shift []float32, rows, c int, b Range) {
	if active == variantGo {
		normApplyGo(y, x, res, scale, shift, rows, c, b)
		return
	}
	r := widen(rows, c)
	if r == 1 {
		normApplyAsm(y, x, res, scale, shift, rows, c, b)
		return
	}
	var ws, wb [wideColumns]float32
	normApplyAsm(y, x, res, repeat(ws[:], scale[:c], r), repeat(wb[:], shift[:c], r), rows/r, r*c, b)
	if rest := rows % r; rest > 0 {
		o := (rows - rest) * c
		normApplyAsm(y[o:], x[o:], from(res, o), scale, shift, rest, c, b)
	}
}

func normGradApplyAsm(dx, dres, dy, x []float32, m NormMask, a, b, d []float32, rows, c int, addDx, addRes int) {
	switch m.kind() {
	case 0:
		normGradApplyAVX2(dx, dres, dy, x, m.Y, m.Scale, m.Shift, a, b, d, rows, c, addDx, addRes, m.Lo, m.Hi)
	case 1:
		normGradApplyYAVX2(dx, dres, dy, x, m.Y, m.Scale, m.Shift, a, b, d, rows, c, addDx, addRes, m.Lo, m.Hi)
	case 2:
		normGradApplyXAVX2(dx, dres, dy, x, m.Y, m.Scale, m.Shift, a, b, d, rows, c, addDx, addRes, m.Lo, m.Hi)
	case 3:
		normGradApplyAVX512(dx, dres, dy, x, m.Y, m.Scale, m.Shift, a, b, d, rows, c, addDx, addRes, m.Lo, m.Hi)
	case 4:
		normGradApplyYAVX512(dx, dres, dy, x, m.Y, m.Scale, m.Shift, a, b, d, rows, c, addDx, addRes, m.Lo, m.Hi)
	default:
		normGradApplyXAVX512(dx, dres, dy, x, m.Y, m.Scale, m.Shift, a, b, d, rows, c, addDx, addRes, m.Lo, m.Hi)
	}
}

func normGradApply(dx, dres, dy, x []float32, m NormMask, a, b, d []float32, rows, c int, addDx, addRes bool) {
	if active == variantGo {
		normGradApplyGo(dx, dres, dy, x, m, a, b, d, rows, c, addDx, addRes)
		return
	}
	fx, fr := oneIf(addDx), oneIf(addRes)
	r := widen(rows, c)
	if r == 1 {
		normGradApplyAsm(dx, dres, dy, x, m, a, b, d, rows, c, fx, fr)
		return
	}
	var wa, wb, wd, ws, wt [wideColumns]float32
	wide := m.repeat(ws[:], wt[:], c, r)
	normGradApplyAsm(dx, dres, dy, x, wide, repeat(wa[:], a[:c], r), repeat(wb[:], b[:c], r), repeat(wd[:], d[:c], r), rows/r, r*c, fx, fr)
	if rest := rows % r; rest > 0 {
		o := (rows - rest) * c
		normGradApplyAsm(dx[o:], from(dres, o), dy[o:], x[o:], m.from(o), a, b, d, rest, c, fx, fr)
	}
}
