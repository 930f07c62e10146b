package kernel

// newForwardPlan lays out y[p] = Σ_tap Σ_c x[p,tap,c]·w[tap,c].
func newForwardPlan(s ConvShape, win window) *tilePlan {
	sp := forwardSpec(s, win)
	inImage := s.H * s.W * s.C
	if win.size > 0 {
		inImage = win.rows * win.cols * s.C
	}
	pl := newTilePlan(s.N, s.OH*s.OW, inImage, s.OH*s.OW*s.O, []phaseSpec{sp})
	cg, kk := s.C/s.Groups, s.KH*s.KW
	pl.lane = cg * kk
	pl.depth = s.depthwise()
	if pl.depth {
		pl.blocks = channelBlocks(1, s.C, s.C)
		for i := range pl.blocks {
			pl.blocks[i].in = pl.blocks[i].out
		}
	} else {
		pl.blocks = channelBlocks(s.Groups, cg, s.O/s.Groups)
	}
	for _, b := range pl.blocks {
		pl.base = append(pl.base, b.out*pl.lane)
	}
	pl.k, pl.cin = kk*cg, cg
	if win.size > 0 {
		pl.cin = s.KW * s.C
	}
	for c := range cg {
		for t := range kk {
			dst := t*cg + c
			pl.rows = append(pl.rows, weightRow{src: int32(c*kk + t), dst: int32(dst)})
		}
	}
	pl.order(s.N * inImage)
	return pl
}

// order decides whether weights or pixels stay in the cache between tasks.
func (pl *tilePlan) order(input int) {
	const l2 = 128 << 10 // floats
	pl.byBlock = pl.packedSize() > l2
}

func forwardSpec(s ConvShape, win window) phaseSpec {
	sp := phaseSpec{taps: s.KH * s.KW}
	for p := range s.OH * s.OW {
		sp.out = append(sp.out, int32(p*s.O))
	}
	if win.size > 0 {
		sp.taps = s.KH
		sp.in = func(ky, p int) int32 {
			iy, ix := p/s.OW*s.StrideH+ky*s.DilH, p%s.OW*s.StrideW
			return int32((iy*win.cols + ix) * s.C)
		}
		return sp
	}
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

// newDataPlan lays out dx[p] = Σ_tap Σ_o dy[p,tap,o]·w[o,tap], one phase for
// each residue of the input position modulo the strides.
func newDataPlan(s ConvShape) *tilePlan {
	cg, og, kk := s.C/s.Groups, s.O/s.Groups, s.KH*s.KW
	depth := s.depthwise()
	var specs []phaseSpec
	var phaseTaps [][]int
	for ry := range s.StrideH {
		for rx := range s.StrideW {
			sp, taps := dataPhase(s, ry, rx)
			if len(sp.out) > 0 {
				specs = append(specs, sp)
				phaseTaps = append(phaseTaps, taps)
			}
		}
	}
	pl := newTilePlan(s.N, s.H*s.W, s.OH*s.OW*s.O, s.H*s.W*s.C, specs)
	pl.depth = depth
	pl.cin = og
	if depth {
		pl.lane = kk
		pl.blocks = channelBlocks(1, s.C, s.C)
		for i := range pl.blocks {
			pl.blocks[i].in = pl.blocks[i].out
			pl.base = append(pl.base, pl.blocks[i].out*kk)
		}
	} else {
		pl.lane = kk
		pl.blocks = channelBlocks(s.Groups, og, cg)
		for _, b := range pl.blocks {
			g := b.out / cg
			pl.base = append(pl.base, g*og*cg*kk+(b.out-g*cg)*kk)
		}
	}
	for i, taps := range phaseTaps {
		pl.phases[i].weights = pl.k
		for t, tap := range taps {
			for o := range og {
				pl.rows = append(pl.rows, weightRow{src: int32(o*cg*kk + tap), dst: int32(pl.k + t*og + o)})
			}
		}
		pl.k += len(taps) * og
	}
	sortRows(pl.rows)
	pl.order(s.N * s.OH * s.OW * s.O)
	return pl
}

func dataPhase(s ConvShape, ry, rx int) (phaseSpec, []int) {
	var taps []int
	for ky := range s.KH {
		for kx := range s.KW {
			if (ry+s.PadTop-ky*s.DilH)%s.StrideH == 0 && (rx+s.PadLeft-kx*s.DilW)%s.StrideW == 0 {
				taps = append(taps, ky*s.KW+kx)
			}
		}
	}
	var pixels [][2]int
	sp := phaseSpec{taps: len(taps)}
	for iy := ry; iy < s.H; iy += s.StrideH {
		for ix := rx; ix < s.W; ix += s.StrideW {
			pixels = append(pixels, [2]int{iy, ix})
			sp.out = append(sp.out, int32((iy*s.W+ix)*s.C))
		}
	}
	sp.in = func(t, p int) int32 {
		ny := pixels[p][0] + s.PadTop - taps[t]/s.KW*s.DilH
		nx := pixels[p][1] + s.PadLeft - taps[t]%s.KW*s.DilW
		if ny < 0 || nx < 0 || ny/s.StrideH >= s.OH || nx/s.StrideW >= s.OW {
			return -1
		}
		return int32((ny/s.StrideH*s.OW + nx/s.StrideW) * s.O)
	}
	return sp, taps
}
