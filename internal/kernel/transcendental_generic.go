//go:build !amd64 || purego

package kernel

func vecExp(dst, a []float32)     { expGo(dst, a) }
func vecSigmoid(dst, a []float32) { sigmoidGo(dst, a) }
func vecTanh(dst, a []float32)    { tanhGo(dst, a) }
func vecErf(dst, a []float32)     { erfGo(dst, a) }
