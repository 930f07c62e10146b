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
		h := *a
		for half := range 2 {
			if h.half(a, half) {
				tile32AVX2(&h)
			}
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
		h := *a
		for half := range 2 {
			if h.half(a, half) {
				h.x, h.zero = at(a.x, 16*half), a.zero
				depthTile32AVX2(&h)
			}
		}
	default:
		depthTileGo(a)
	}
}

// half restricts the call a to the first or second sixteen output channels;
// it reports whether there are any.
func (h *tileArgs) half(a *tileArgs, half int) bool {
	o := 16 * half
	h.lanes = min(16, a.lanes-o)
	if h.lanes <= 0 {
		return false
	}
	h.w, h.y = at(a.w, o), at(a.y, o)
	if a.bias != nil {
		h.bias = at(a.bias, o)
	}
	if a.res != nil {
		h.res = at(a.res, o)
	}
	return true
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

