//go:build !purego

package kernel

import "golang.org/x/sys/cpu"

func supported(v variant) bool {
	switch v {
	case variantAVX512:
		return cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasBMI2 && cpu.X86.HasFMA
	case variantAVX2:
		return cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasBMI2
	}
	return true
}

func tile(a *tileArgs) {
	switch active {
	case variantAVX512:
		if a.width == 32 {
			tile32AVX512(a)
		} else {
			tile16AVX512(a)
		}
	case variantAVX2:
		if a.width == 16 {
			tile16AVX2(a)
			return
		}
		for o := 0; o < a.lanes; o += 16 {
			h := a.half(o)
			tile32AVX2(&h)
		}
	default:
		tileGo(a)
	}
}

func depthTile(a *tileArgs) {
	switch active {
	case variantAVX512:
		if a.width == 32 {
			depthTile32AVX512(a)
		} else {
			depthTile16AVX512(a)
		}
	case variantAVX2:
		if a.width == 16 {
			depthTile16AVX2(a)
			return
		}
		for o := 0; o < a.lanes; o += 16 {
			h := a.half(o)
			h.x = at(a.x, o)
			depthTile32AVX2(&h)
		}
	default:
		depthTileGo(a)
	}
}

// half returns the call a restricted to the sixteen output channels from o.
func (a *tileArgs) half(o int) tileArgs {
	h := *a
	h.lanes = min(16, a.lanes-o)
	h.w, h.y = at(a.w, o), at(a.y, o)
	if a.bias != nil {
		h.bias = at(a.bias, o)
	}
	if a.res != nil {
		h.res = at(a.res, o)
	}
	return h
}

func grad(a *gradArgs) {
	switch active {
	case variantAVX512:
		if a.width == 32 {
			grad32AVX512(a)
		} else {
			grad16AVX512(a)
		}
	case variantAVX2:
		h := *a
		if a.lanes == 32 {
			gradWhole4x3AVX2(&h)
			h.x, h.acc = at(a.x, 4), at(a.acc, 4*32)
			gradWhole4x3AVX2(&h)
			h.x, h.acc, h.dy = a.x, at(a.acc, 24), at(a.dy, 24)
			gradWhole8x1AVX2(&h)
			return
		}
		for row := 0; row < gradRows(a.width); row += 4 {
			h.x = at(a.x, row)
			for o := 0; o < a.lanes; o += 16 {
				h.acc, h.dy, h.lanes = at(a.acc, row*a.width+o), at(a.dy, o), min(16, a.lanes-o)
				if a.width == 32 {
					grad32AVX2(&h)
				} else {
					grad16AVX2(&h)
				}
			}
		}
	default:
		gradGo(a)
	}
}

func depthGrad(a *depthGradArgs) {
	switch active {
	case variantAVX512:
		if a.width == 32 {
			depthGrad32AVX512(a)
		} else {
			depthGrad16AVX512(a)
		}
	case variantAVX2:
		h := *a
		for o := 0; o < a.lanes; o += 8 {
			h.x, h.dy, h.acc, h.lanes = at(a.x, o), at(a.dy, o), at(a.acc, o), min(8, a.lanes-o)
			if a.width == 32 {
				depthGrad32AVX2(&h)
			} else {
				depthGrad16AVX2(&h)
			}
		}
	default:
		depthGradGo(a)
	}
}

func depthRows(a *depthRowsArgs) {
	switch active {
	case variantAVX512:
		depthRowsAVX512(a)
	case variantAVX2:
		h := *a
		for o := 0; o < a.lanes; o += 8 {
			h.x, h.w, h.y, h.lanes = at(a.x, o), at(a.w, o), at(a.y, o), min(8, a.lanes-o)
			if a.bias != nil {
				h.bias = at(a.bias, o)
			}
			depthRowsAVX2(&h)
		}
	default:
		depthRowsGo(a)
	}
}

func depthRowsGrad(a *depthRowsGradArgs) {
	switch active {
	case variantAVX512:
		depthRowsGradAVX512(a)
	case variantAVX2:
		h := *a
		for o := 0; o < depthLanes; o += 8 {
			h.x, h.dy, h.acc = at(a.x, o), at(a.dy, o), at(a.acc, o)
			depthRowsGradAVX2(&h)
		}
	default:
		depthRowsGradGo(a)
	}
}

func denseRows(a *denseRowsArgs) {
	switch active {
	case variantAVX512:
		denseRowsAVX512(a)
	case variantAVX2:
		h := *a
		for o := 0; o < a.lanes; o += 8 {
			h.w, h.y, h.lanes = at(a.w, o), at(a.y, o), min(8, a.lanes-o)
			denseRowsAVX2(&h)
		}
	default:
		denseRowsGo(a)
	}
}

func denseGrad(a *denseGradArgs) {
	switch active {
	case variantAVX512:
		denseGradAVX512(a)
	case variantAVX2:
		h := *a
		for o := 0; o < depthLanes; o += 8 {
			h.dy, h.acc = at(a.dy, o), at(a.acc, o)
			denseGradAVX2(&h)
		}
	default:
		denseGradGo(a)
	}
}

// prefetch asks for the cache lines of s, which will be needed soon.
func prefetch(s []float32) {
	if active != variantGo && len(s) > 0 {
		prefetchLines(&s[0], (len(s)+15)/16)
	}
}
