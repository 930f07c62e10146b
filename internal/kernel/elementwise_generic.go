//go:build !amd64 || purego

package kernel

func vecAdd(dst, a, b []float32)               { addGo(dst, a, b) }
func vecSub(dst, a, b []float32)               { subGo(dst, a, b) }
func vecMul(dst, a, b []float32)               { mulGo(dst, a, b) }
func vecDiv(dst, a, b []float32)               { divGo(dst, a, b) }
func vecMax(dst, a, b []float32)               { maxGo(dst, a, b) }
func vecMin(dst, a, b []float32)               { minGo(dst, a, b) }
func vecAddRelu(dst, a, b []float32)           { addReluGo(dst, a, b) }
func vecReluGrad(dst, a, b []float32)          { reluGradGo(dst, a, b) }
func vecRelu(dst, a []float32)                 { reluGo(dst, a) }
func vecAddScalar(dst, a []float32, s float32) { addScalarGo(dst, a, s) }
func vecScale(dst, a []float32, s float32)     { scaleGo(dst, a, s) }
func vecAxpy(dst, a []float32, s float32)      { axpyGo(dst, a, s) }
func vecClip(dst, a []float32, lo, hi float32) { clipGo(dst, a, lo, hi) }
func vecSum(a []float32) float32               { return sumGo(a) }
func vecDot(a, b []float32) float32            { return dotGo(a, b) }

func vecClipGrad(dst, dy, x []float32, lo, hi float32) { clipGradGo(dst, dy, x, lo, hi) }
