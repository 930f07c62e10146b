package kernel

import "slices"

// newForwardPlan lays out y[p] = Σ_tap Σ_c x[p,tap,c]·w[tap,c].
func newForwardPlan(s ConvShape, win window, group int) *tilePlan {
	cg, kk := s.C/s.Groups, s.KH*s.KW
	cin, inImage := cg, s.H*s.W*s.C
	if win.size > 0 {
		cin, inImage = s.KW*s.C, win.rows*win.cols*s.C
	}
	pl := newTilePlan(s.N, group, cin, inImage, s.OH*s.OW*s.O, []phaseSpec{forwardSpec(s, win)}, s.depthwise())
	pl.lead = s.lead()
	pl.lane, pl.k = cg*kk, kk*cg
	pl.blocks = convBlocks(s, cg, s.O/s.Groups)
	for _, b := range pl.blocks {
		pl.base = append(pl.base, b.out*pl.lane)
	}
	for c := range cg {
		for t := range kk {
			pl.rows = append(pl.rows, weightRow{src: int32(c*kk + t), dst: int32(t*cg + c)})
		}
	}
	pl.order()
	return pl
}

// newDataPlan lays out dx[p] = Σ_tap Σ_o dy[p,tap,o]·w[o,tap], one phase for
// each residue of the input position modulo the strides.
func newDataPlan(s ConvShape, group int) *tilePlan {
	cg, og, kk := s.C/s.Groups, s.O/s.Groups, s.KH*s.KW
	var specs []phaseSpec
	for ry := range min(s.StrideH, s.H) {
		for rx := range min(s.StrideW, s.W) {
			if sp := dataPhase(s, ry, rx); len(sp.out) > 0 {
				specs = append(specs, sp)
			}
		}
	}
	pl := newTilePlan(s.N, group, og, s.OH*s.OW*s.O, s.H*s.W*s.C, specs, s.depthwise())
	pl.lead = (s.KH*s.DilH/s.StrideH + 2) * s.OW * s.O
	pl.lane, pl.k = kk, kk*og
	pl.blocks = convBlocks(s, og, cg)
	for _, b := range pl.blocks {
		g := b.out / cg
		pl.base = append(pl.base, (g*og*cg+b.out-g*cg)*kk)
	}
	for o := range og {
		for t := range kk {
			pl.rows = append(pl.rows, weightRow{src: int32(o*cg*kk + t), dst: int32(t*og + o)})
		}
	}
	pl.order()
	return pl
}

// lead returns how many elements of x lie between the place that corresponds
// to an output pixel and the last one it reads, roughly.
func (s ConvShape) lead() int { return (s.KH*s.DilH + 1) * s.W * s.C }

// convBlocks splits the output channels of a direction with in input and out
// output channels per group. The channels of a depthwise convolution are
// blocked across its groups.
func convBlocks(s ConvShape, in, out int) []block {
	if !s.depthwise() {
		return channelBlocks(s.Groups, in, out)
	}
	blocks := channelBlocks(1, s.C, s.C)
	for i := range blocks {
		blocks[i].in = blocks[i].out
	}
	return blocks
}

// order decides whether weights or pixels stay in the cache between tasks.
func (pl *tilePlan) order() {
	const l2 = 128 << 10 // floats
	pl.byBlock = pl.packedSize() > l2
}

func forwardSpec(s ConvShape, win window) phaseSpec {
	var sp phaseSpec
	for p := range s.OH * s.OW {
		sp.out = append(sp.out, int32(p*s.O))
	}
	if win.size > 0 {
		sp.taps = upTo(s.KH)
		sp.in = func(ky, p int) int32 {
			iy, ix := p/s.OW*s.StrideH+ky*s.DilH, p%s.OW*s.StrideW
			return int32((iy*win.cols + ix) * s.C)
		}
		return sp
	}
	sp.taps = upTo(s.KH * s.KW)
	sp.in = func(t, p int) int32 {
		iy := p/s.OW*s.StrideH - s.PadTop + t/s.KW*s.DilH
		ix := p%s.OW*s.StrideW - s.PadLeft + t%s.KW*s.DilW
		if iy < 0 || iy >= s.H || ix < 0 || ix >= s.W {
			return -1
		}
		return int32((iy*s.W + ix) * s.C)
	}
	return sp
}

func upTo(n int) []int {
	v := make([]int, n)
	for i := range v {
		v[i] = i
	}
	return v
}

// dataPhase lists the input pixels at residue (ry,rx) modulo the strides and
// the taps through which they reach the output.
func dataPhase(s ConvShape, ry, rx int) phaseSpec {
	var sp phaseSpec
	for ky := range s.KH {
		for kx := range s.KW {
			if (ry+s.PadTop-ky*s.DilH)%s.StrideH == 0 && (rx+s.PadLeft-kx*s.DilW)%s.StrideW == 0 {
				sp.taps = append(sp.taps, ky*s.KW+kx)
			}
		}
	}
	var pixels [][2]int
	for iy := ry; iy < s.H; iy += s.StrideH {
		for ix := rx; ix < s.W; ix += s.StrideW {
			pixels = append(pixels, [2]int{iy, ix})
			sp.out = append(sp.out, int32((iy*s.W+ix)*s.C))
		}
	}
	taps := slices.Clone(sp.taps)
	sp.in = func(i, p int) int32 {
		ny := pixels[p][0] + s.PadTop - taps[i]/s.KW*s.DilH
		nx := pixels[p][1] + s.PadLeft - taps[i]%s.KW*s.DilW
		if ny < 0 || nx < 0 || ny/s.StrideH >= s.OH || nx/s.StrideW >= s.OW {
			return -1
		}
		return int32((ny/s.StrideH*s.OW + nx/s.StrideW) * s.O)
	}
	return sp
}
