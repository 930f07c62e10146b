package kernel

import "unsafe"

// gradPlan is the precomputed course of a gradient by weights.
//
// An item is a run of input channels next to a block of output channels; all
// taps of an item are summed by one task for a fixed share of the images (a
// split), into a part of its own. The parts are then added in order.
type gradPlan struct {
	s          ConvShape
	win        window
	taps       int
	cin        int // input channels per tap
	full, rest gradTable
	groups     int
	hasRest    bool
	inGroup    int
	outGroup   int
	splits     int
	blocks     []block
	items      []gradItem
	partSize   int
	depth      bool
}

// gradTable lists (x, dy) offset pairs for every sub-block of pixels and tap.
type gradTable struct {
	pairs []int32
	spans [][]gradSpan // [sub-block][tap]
	in    [][]int32    // depthwise: [chunk of taps][pixel][depthTaps]
	out   []int32      // depthwise: [pixel]
}

type gradSpan struct{ first, n int }

type gradItem struct {
	block int
	tile  int // first tile of input channels, or depthwise chunk of taps
	tiles int
	off   int // in a part
}

func newGradPlan(s ConvShape, win window) *gradPlan {
	g := &gradPlan{s: s, win: win, depth: s.depthwise()}
	sp := forwardSpec(s, win)
	g.taps, g.cin = sp.taps, s.C/s.Groups
	inImage := s.H * s.W * s.C
	if win.size > 0 {
		inImage = win.rows * win.cols * s.C
		g.cin = s.KW * s.C
	}
	outImage := s.OH * s.OW * s.O
	n := groupImages(s.N, s.OH*s.OW)
	g.groups, g.inGroup, g.outGroup = (s.N+n-1)/n, n*inImage, n*outImage
	g.hasRest = s.N%n != 0
	if g.depth {
		g.blocks = channelBlocks(1, s.C, s.C)
		for i := range g.blocks {
			g.blocks[i].in = g.blocks[i].out
		}
		g.depthItems()
		g.full = newDepthGradTable(sp, n, inImage, outImage)
		g.rest = newDepthGradTable(sp, s.N%n, inImage, outImage)
	} else {
		g.blocks = channelBlocks(s.Groups, s.C/s.Groups, s.O/s.Groups)
		per := g.denseItems()
		g.full = newGradTable(sp, n, inImage, outImage, per)
		g.rest = newGradTable(sp, s.N%n, inImage, outImage, per)
	}
	// Enough tasks for an even share among a few threads; a number that must
	// not depend on how many there are.
	const tasks = 32
	g.splits = min(g.groups, max(1, (tasks+len(g.items)-1)/len(g.items)))
	return g
}

// denseItems fills in the items and returns how many pixels a sub-block may
// have for its inputs to stay in the second-level cache.
func (g *gradPlan) denseItems() int {
	const channels = 128
	for b, bl := range g.blocks {
		rows := gradRows(bl.width)
		all, step := (g.cin+rows-1)/rows, channels/rows
		for t := 0; t < all; t += step {
			it := gradItem{block: b, tile: t, tiles: min(step, all-t), off: g.partSize}
			g.items = append(g.items, it)
			g.partSize += g.taps * it.tiles * rows * bl.width
		}
	}
	const floats = 80 << 10
	return max(64, floats/(min(g.cin, channels)+32))
}

func (g *gradPlan) depthItems() {
	for b, bl := range g.blocks {
		for t := range (g.taps + depthTaps - 1) / depthTaps {
			g.items = append(g.items, gradItem{block: b, tile: t, tiles: 1, off: g.partSize})
			g.partSize += depthTaps * bl.width
		}
	}
}

func newGradTable(sp phaseSpec, images, inImage, outImage, per int) gradTable {
	var t gradTable
	n := len(sp.out) * images
	if n == 0 {
		return t
	}
	subs := (n + per - 1) / per
	per = (n + subs - 1) / subs
	for f := 0; f < n; f += per {
		spans := make([]gradSpan, sp.taps)
		for tap := range spans {
			spans[tap].first = len(t.pairs)
			for i := f; i < min(n, f+per); i++ {
				img, p := i/len(sp.out), i%len(sp.out)
				if off := sp.in(tap, p); off >= 0 {
					t.pairs = append(t.pairs, off+int32(img*inImage), sp.out[p]+int32(img*outImage))
				}
			}
			spans[tap].n = (len(t.pairs) - spans[tap].first) / 2
		}
		t.spans = append(t.spans, spans)
	}
	return t
}

func newDepthGradTable(sp phaseSpec, images, inImage, outImage int) gradTable {
	var t gradTable
	for t0 := 0; t0 < sp.taps; t0 += depthTaps {
		var in []int32
		for img := range images {
			for p := range sp.out {
				for tap := t0; tap < t0+depthTaps; tap++ {
					off := int32(-1)
					if tap < sp.taps {
						if off = sp.in(tap, p); off >= 0 {
							off += int32(img * inImage)
						}
					}
					in = append(in, off)
				}
			}
		}
		t.in = append(t.in, in)
	}
	for img := range images {
		for _, o := range sp.out {
			t.out = append(t.out, o+int32(img*outImage))
		}
	}
	return t
}

// size returns the number of floats that the parts need.
func (g *gradPlan) size() int { return g.splits * g.partSize }

// copySize returns the number of floats of a copy of the input, which is
// needed when a tile would read past the end of x; 0 otherwise.
func (g *gradPlan) copySize() int {
	if g.win.size > 0 {
		return g.win.size
	}
	if g.depth {
		return 0
	}
	for _, bl := range g.blocks {
		if g.cin < gradRows(bl.width) {
			return g.s.N*g.s.H*g.s.W*g.s.C + windowSlack
		}
	}
	return 0
}

func (g *gradPlan) tasks() int    { return g.splits * len(g.items) }
func (g *gradPlan) sumTasks() int { return len(g.items) * g.taps }

// tileStart returns the first input channel of a tile. The last tile is moved
// back so that it ends with the last channel, where there are enough of them.
func (g *gradPlan) tileStart(tile, rows int) int {
	return max(0, min(tile*rows, g.cin-rows))
}

// run sums one item over one split of the images.
func (g *gradPlan) run(task int, parts, x, dy, zero []float32) {
	split, item := task/len(g.items), &g.items[task%len(g.items)]
	bl := &g.blocks[item.block]
	rows := gradRows(bl.width)
	first, last := split*g.groups/g.splits, (split+1)*g.groups/g.splits
	if g.depth {
		g.runDepth(item, first, last, parts[split*g.partSize+item.off:], x, dy, zero)
		return
	}
	part := parts[split*g.partSize+item.off:][:g.taps*item.tiles*rows*bl.width]
	clear(part)
	a := gradArgs{lanes: bl.lanes, width: bl.width}
	for group := first; group < last; group++ {
		t := &g.full
		if g.hasRest && group == g.groups-1 {
			t = &g.rest
		}
		for _, spans := range t.spans {
			a.dy = &dy[group*g.outGroup+bl.out]
			for tile := range item.tiles {
				a.x = &x[group*g.inGroup+bl.in+g.tileStart(item.tile+tile, rows)]
				for tap, sp := range spans {
					if sp.n == 0 {
						continue
					}
					a.pairs, a.n = &t.pairs[sp.first], sp.n
					a.acc = &part[(tap*item.tiles+tile)*rows*bl.width]
					grad(&a)
				}
			}
		}
	}
}

func (g *gradPlan) runDepth(item *gradItem, first, last int, part, x, dy, zero []float32) {
	bl := &g.blocks[item.block]
	part = part[:depthTaps*bl.width]
	clear(part)
	a := depthGradArgs{zero: &zero[0], acc: &part[0], lanes: bl.lanes, width: bl.width}
	for group := first; group < last; group++ {
		t := &g.full
		if g.hasRest && group == g.groups-1 {
			t = &g.rest
		}
		a.x, a.dy = &x[group*g.inGroup+bl.in], &dy[group*g.outGroup+bl.out]
		a.in, a.out, a.n = &t.in[item.tile][0], &t.out[0], len(t.out)
		depthGrad(&a)
	}
}

// sum adds the parts of one tap of one item and writes them in ONNX order.
func (g *gradPlan) sum(task int, dw, parts []float32, accumulate bool) {
	item, tap := &g.items[task/g.taps], task%g.taps
	bl := &g.blocks[item.block]
	s := g.s
	kk := s.KH * s.KW
	cg := s.C / s.Groups
	var row [32]float32
	write := func(off, src int) {
		copy(row[:bl.width], parts[off:][:bl.width])
		for i := 1; i < g.splits; i++ {
			for l, v := range parts[off+i*g.partSize:][:bl.width] {
				row[l] += v
			}
		}
		d := dw[bl.out*cg*kk+src:]
		for l, v := range row[:bl.lanes] {
			if accumulate {
				v += d[l*cg*kk]
			}
			d[l*cg*kk] = v
		}
	}
	if g.depth {
		if tap/depthTaps == item.tile {
			write(item.off+tap%depthTaps*bl.width, tap)
		}
		return
	}
	rows := gradRows(bl.width)
	for tile := range item.tiles {
		start := g.tileStart(item.tile+tile, rows)
		for ci := (item.tile + tile) * rows; ci < min(g.cin, (item.tile+tile+1)*rows); ci++ {
			src := ci*kk + tap
			if g.win.size > 0 {
				src = ci%s.C*kk + tap*s.KW + ci/s.C
			}
			write(item.off+((tap*item.tiles+tile)*rows+ci-start)*bl.width, src)
		}
	}
}

// gradRange runs the weight-gradient tile over k consecutive rows of two
// matrices: acc[r·width+l] += Σ_i a[i·lda+r]·b[i·ldb+l].
func gradRange(acc, a, b *float32, k, lda, ldb, lanes, width int) {
	const step = 64
	var pairs [2 * step]int32
	for i := range min(step, k) {
		pairs[2*i], pairs[2*i+1] = int32(i*lda), int32(i*ldb)
	}
	g := gradArgs{x: a, dy: b, pairs: &pairs[0], acc: acc, lanes: lanes, width: width}
	for i := 0; i < k; i += step {
		g.n = min(step, k-i)
		grad(&g)
		if i+step < k {
			g.x = (*float32)(unsafe.Add(unsafe.Pointer(g.x), 4*step*lda))
			g.dy = (*float32)(unsafe.Add(unsafe.Pointer(g.dy), 4*step*ldb))
		}
	}
}
