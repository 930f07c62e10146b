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

func normGradSumsAsm(s1, s2, dy, x, y, mean []float32, rows, c int) {
	switch {
	case active == variantAVX512 && y == nil:
		normGradSumsAVX512(s1, s2, dy, x, mean, rows, c)
	case active == variantAVX512:
		normReluGradSumsAVX512(s1, s2, dy, x, y, mean, rows, c)
	case y == nil:
		normGradSumsAVX2(s1, s2, dy, x, mean, rows, c)
	default:
		normReluGradSumsAVX2(s1, s2, dy, x, y, mean, rows, c)
	}
}

func normGradSums(s1, s2, dy, x, y, mean []float32, rows, c int) {
	if active == variantGo {
		normGradSumsGo(s1, s2, dy, x, y, mean, rows, c)
		return
	}
	r := widen(rows, c)
	if r == 1 {
		normGradSumsAsm(s1, s2, dy, x, y, mean, rows, c)
		return
	}
	var w1, w2, wm [wideColumns]float32
	s1, s2 = s1[:c], s2[:c]
	if rest := rows % r; rest > 0 {
		o := (rows - rest) * c
		normGradSumsAsm(s1, s2, dy[o:], x[o:], from(y, o), mean, rest, c)
	} else {
		clear(s1)
		clear(s2)
	}
	normGradSumsAsm(w1[:], w2[:], dy, x, y, repeat(wm[:], mean[:c], r), rows/r, r*c)
	fold(s1, w1[:r*c])
	fold(s2, w2[:r*c])
}

// from returns s[o:], or nil for nil.
func from(s []float32, o int) []float32 {
	if s == nil {
		return nil
	}
	return s[o:]
}

func normApplyAsm(y, x, res, scale, shift []float32, rows, c int, lo float32) {
	switch {
	case active == variantAVX512 && res == nil:
		normApplyAVX512(y, x, scale, shift, rows, c, lo)
	case active == variantAVX512:
		normApplyResAVX512(y, x, res, scale, shift, rows, c, lo)
	case res == nil:
		normApplyAVX2(y, x, scale, shift, rows, c, lo)
	default:
		normApplyResAVX2(y, x, res, scale, shift, rows, c, lo)
	}
}

func normApply(y, x, res, scale, shift []float32, rows, c int, relu bool) {
	if active == variantGo {
		normApplyGo(y, x, res, scale, shift, rows, c, relu)
		return
	}
	lo := -inf32
	if relu {
		lo = 0
	}
	r := widen(rows, c)
	if r == 1 {
		normApplyAsm(y, x, res, scale, shift, rows, c, lo)
		return
	}
	var ws, wb [wideColumns]float32
	normApplyAsm(y, x, res, repeat(ws[:], scale[:c], r), repeat(wb[:], shift[:c], r), rows/r, r*c, lo)
	if rest := rows % r; rest > 0 {
		o := (rows - rest) * c
		normApplyAsm(y[o:], x[o:], from(res, o), scale, shift, rest, c, lo)
	}
}

func normGradApplyAsm(dx, dres, dy, x, y, a, b, d []float32, rows, c int, addDx, addRes int) {
	if active == variantAVX512 {
		normGradApplyAVX512(dx, dres, dy, x, y, a, b, d, rows, c, addDx, addRes)
	} else {
		normGradApplyAVX2(dx, dres, dy, x, y, a, b, d, rows, c, addDx, addRes)
	}
}

func normGradApply(dx, dres, dy, x, y, a, b, d []float32, rows, c int, addDx, addRes bool) {
	if active == variantGo {
		normGradApplyGo(dx, dres, dy, x, y, a, b, d, rows, c, addDx, addRes)
		return
	}
	fx, fr := oneIf(addDx), oneIf(addRes)
	r := widen(rows, c)
	if r == 1 {
		normGradApplyAsm(dx, dres, dy, x, y, a, b, d, rows, c, fx, fr)
		return
	}
	var wa, wb, wd [wideColumns]float32
	normGradApplyAsm(dx, dres, dy, x, y, repeat(wa[:], a[:c], r), repeat(wb[:], b[:c], r), repeat(wd[:], d[:c], r), rows/r, r*c, fx, fr)
	if rest := rows % r; rest > 0 {
		o := (rows - rest) * c
		normGradApplyAsm(dx[o:], from(dres, o), dy[o:], x[o:], from(y, o), a, b, d, rest, c, fx, fr)
	}
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}
