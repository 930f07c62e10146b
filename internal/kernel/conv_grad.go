package kernel

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
	most       int // tiles or taps of an item at most
	scratch    int // floats
	depth      bool
	lead       int
	packX      bool // copy the inputs of a sub-block next to each other
	packDY     bool
	together   bool // a task sums all items
}

// togetherSize bounds a part, in floats, for which all items are summed by one task.
const togetherSize = 160 << 10

// Sizes of the copies of a sub-block.
const (
	gradPixels   = 96  // output pixels
	gradChannels = 128 // input channels of an item
	gradPitchX   = gradChannels + 16
	gradPitchDY  = 32
)

// gradTable lists (x, dy) offset pairs for every sub-block of pixels and tap.
type gradTable struct {
	pairs []int32
	subs  []gradSub
	in    [][]int32 // depthwise: [chunk of taps][pixel][depthTaps]
	out   []int32   // depthwise: [pixel]
}

// gradSub is a sub-block: few enough pixels for the first-level cache.
type gradSub struct {
	spans []gradSpan // [tap]
	x, dy []int32    // offsets of the pixels to copy
}

type gradSpan struct{ first, n int }

type gradItem struct {
	block int
	tile  int // first tile of input channels, or depthwise chunk of taps
	tiles int
	off   int // in a part
}

// newGradPlan lays out a gradient by weights. A positive group fixes how many
// images share a table.
func newGradPlan(s ConvShape, win window, group int) *gradPlan {
	sp := forwardSpec(s, win)
	g := &gradPlan{s: s, win: win, depth: s.depthwise(), lead: s.lead()}
	g.taps, g.cin = len(sp.taps), s.C/s.Groups
	inImage := s.H * s.W * s.C
	if win.size > 0 {
		inImage = win.rows * win.cols * s.C
		g.cin = s.KW * s.C
	}
	outImage := s.OH * s.OW * s.O
	n := groupImages(s.N, s.OH*s.OW)
	if group > 0 {
		n = min(group, s.N)
	}
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
		g.denseItems()
		// Strides that map the rows of a sub-block to few cache sets.
		g.packX = g.taps > 1 && s.C >= gradChannels
		g.packDY = g.taps*g.items[0].tiles >= 12 && s.O > 64
		// A pointwise convolution reads dy and x once where all sums fit in the cache.
		g.together = g.taps == 1 && len(g.items) > 1 && g.partSize <= togetherSize
		g.packDY = g.packDY && !g.together
		g.full = g.newTable(sp, n, inImage, outImage)
		g.rest = g.newTable(sp, s.N%n, inImage, outImage)
	}
	g.most = len(g.blocks)
	if !g.depth {
		g.most = 0
		for _, it := range g.items {
			g.most = max(g.most, it.tiles)
		}
	}
	g.scratch = g.scratchSize()
	// Enough tasks for an even share among a few threads; a number that must
	// not depend on how many there are.
	const tasks = 32
	g.splits = min(g.groups, max(1, (tasks+len(g.items)-1)/len(g.items)))
	if g.together {
		g.splits = min(g.groups, tasks/2)
	}
	return g
}

func (g *gradPlan) denseItems() {
	for b, bl := range g.blocks {
		rows := gradRows(bl.width)
		all, step := (g.cin+rows-1)/rows, gradChannels/rows
		for t := 0; t < all; t += step {
			it := gradItem{block: b, tile: t, tiles: min(step, all-t), off: g.partSize}
			g.items = append(g.items, it)
			g.partSize += g.taps * it.tiles * rows * bl.width
		}
	}
}

// depthItems makes one item for every chunk of taps, over all channels.
func (g *gradPlan) depthItems() {
	for t := range (g.taps + depthTaps - 1) / depthTaps {
		g.items = append(g.items, gradItem{tile: t, off: g.partSize})
		g.partSize += depthTaps * packedRows(g.blocks)
	}
}

func (g *gradPlan) newTable(sp phaseSpec, images, inImage, outImage int) gradTable {
	var t gradTable
	n := len(sp.out) * images
	if n == 0 {
		return t
	}
	count := (n + gradPixels - 1) / gradPixels
	per := (n + count - 1) / count
	for f := 0; f < n; f += per {
		sub := gradSub{spans: make([]gradSpan, len(sp.taps))}
		index := map[int32]int32{}
		for tap := range sub.spans {
			sub.spans[tap].first = len(t.pairs)
			for i := f; i < min(n, f+per); i++ {
				img, p := i/len(sp.out), i%len(sp.out)
				x, dy := sp.in(tap, p), sp.out[p]+int32(img*outImage)
				if x < 0 {
					continue
				}
				x += int32(img * inImage)
				if g.packX {
					if _, ok := index[x]; !ok {
						index[x] = int32(len(sub.x) * gradPitchX)
						sub.x = append(sub.x, x)
					}
					x = index[x]
				}
				if g.packDY {
					dy = int32((i - f) * gradPitchDY)
				}
				t.pairs = append(t.pairs, x, dy)
			}
			sub.spans[tap].n = (len(t.pairs) - sub.spans[tap].first) / 2
		}
		if g.packDY {
			for i := f; i < min(n, f+per); i++ {
				sub.dy = append(sub.dy, sp.out[i%len(sp.out)]+int32(i/len(sp.out)*outImage))
			}
		}
		t.subs = append(t.subs, sub)
	}
	return t
}

// scratchSize returns the number of floats that the copies of a sub-block
// need.
func (g *gradPlan) scratchSize() int {
	n := gradPixels * gradPitchDY
	for _, t := range []*gradTable{&g.full, &g.rest} {
		for _, sub := range t.subs {
			n = max(n, gradPixels*gradPitchDY+len(sub.x)*gradPitchX)
		}
	}
	return n
}

func newDepthGradTable(sp phaseSpec, images, inImage, outImage int) gradTable {
	var t gradTable
	for t0 := 0; t0 < len(sp.taps); t0 += depthTaps {
		var in []int32
		for img := range images {
			for p := range sp.out {
				for tap := t0; tap < t0+depthTaps; tap++ {
					off := int32(-1)
					if tap < len(sp.taps) {
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
