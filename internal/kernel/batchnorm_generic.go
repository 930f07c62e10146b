//go:build !amd64 || purego

package kernel

func columnSums(sum, x []float32, rows, c int) { columnSumsGo(sum, x, rows, c) }

func columnMoments(s1, s2, x, mean []float32, rows, c int) {
	columnMomentsGo(s1, s2, x, mean, rows, c)
}

func normApply(y, x, res, scale, shift []float32, rows, c int, r Range) {
	normApplyGo(y, x, res, scale, shift, rows, c, r)
}

func normGradSums(s1, s2, dy, x []float32, m NormMask, mean []float32, rows, c int) {
	normGradSumsGo(s1, s2, dy, x, m, mean, rows, c)
}

func normGradApply(dx, dres, dy, x []float32, m NormMask, a, b, d []float32, rows, c int, addDx, addRes bool) {
	normGradApplyGo(dx, dres, dy, x, m, a, b, d, rows, c, addDx, addRes)
}
