package kernel

import "slices"

// pixelTable lists the output pixels of a run of images and, for every tap,
// the input pixel that each of them reads, as offsets in elements.
type pixelTable struct {
	n, pitch int
	in       []int32 // [taps][pitch], negative for padding
	out      []int32 // [pitch], negative past the n-th
}

// phase is a set of output pixels that use the same taps. A forward
// convolution has one phase; a gradient by data of stride s has s·s.
type phase struct {
	rows       []int32    // per tap: its first row of packed weights
	full, rest pixelTable // for group images, and for the images left over
}

// table returns the pixels of a whole group or of the rest.
func (ph *phase) table(rest bool) *pixelTable {
	if rest {
		return &ph.rest
	}
	return &ph.full
}

// unit is the part of a plan that one task works on, for one block.
type unit struct {
	phase    int
	group    int
	rest     bool
	first, n int
}

// block is a run of up to 32 output channels of one convolution group.
type block struct {
	in, out int // first input and output channel
	lanes   int
	width   int // 16 or 32
	rows    int // packed weights before it, in floats per K row
}

// weightRow says where the K rows of packed weights come from.
type weightRow struct{ src, dst int32 }

// tilePlan is the precomputed course of one convolution direction.
type tilePlan struct {
	phases   []phase
	units    []unit
	first    []int // per group: its first unit; one more entry ends the last
	blocks   []block
	rows     []weightRow // source order
	k        int         // K rows of packed weights per block
	cin      int
	inGroup  int // elements between groups of images
	outGroup int
	lane     int   // weight elements between neighbouring output channels
	base     []int // per block: weight element of its first lane
	byBlock  bool  // tasks run through all units of a block before the next
	depth    bool
	lead     int // elements of input that a pixel reads ahead of its place
}

// phaseSpec describes a phase of one image to newTilePlan.
type phaseSpec struct {
	out  []int32                  // offsets of the output pixels
	taps []int                    // taps that they use
	in   func(i, pixel int) int32 // offset of the input of taps[i], or -1
}

// groupImages chooses how many images share one pixel table, so that small
// images still fill tiles and tasks.
func groupImages(n, pixels int) int {
	const enough = 192
	if pixels >= enough {
		return 1
	}
	least := min(n, (enough+pixels-1)/pixels)
	for g := least; g <= min(n, 2*least); g++ {
		if n%g == 0 {
			return g
		}
	}
	return least
}

// unitPixels is the number of pixels of one task; a multiple of all tile
// heights.
const unitPixels = 480

// splitPixels is how many pixels the classes of splitClasses are taken from
// together, at least, so that little of their last tiles is wasted.
const splitPixels = 2048

// splitImages is how many images a group must have for the classes of
// splitClasses to fill tiles.
const splitImages = 4

// newTilePlan lays out the phases. A positive group fixes how many images share
// a pixel table.
func newTilePlan(images, group, cin, inImage, outImage int, specs []phaseSpec, depth bool) *tilePlan {
	pl := &tilePlan{cin: cin, depth: depth}
	pixels := 0
	for _, sp := range specs {
		pixels += len(sp.out)
	}
	g := groupImages(images, pixels)
	if images >= 8 && !depth && (group == 0 || group >= splitImages) {
		if split := splitClasses(specs); split != nil {
			specs, g = split, max(g, 8, min(images, splitPixels/pixels))
		}
	}
	if group > 0 {
		g = min(group, images)
	}
	pl.inGroup, pl.outGroup = g*inImage, g*outImage
	for _, sp := range specs {
		ph := phase{
			rows: make([]int32, len(sp.taps)+1),
			full: newPixelTable(sp, g, inImage, outImage),
			rest: newPixelTable(sp, images%g, inImage, outImage),
		}
		for i, tap := range sp.taps {
			ph.rows[i] = int32(tap * cin)
		}
		pl.phases = append(pl.phases, ph)
	}
	for group := 0; group*g < images; group++ {
		pl.first = append(pl.first, len(pl.units))
		rest := (group+1)*g > images
		for i := range pl.phases {
			n := pl.phases[i].full.n
			if rest {
				n = pl.phases[i].rest.n
			}
			step := n
			if n > 3*unitPixels/2 {
				step = unitPixels
			}
			for f := 0; f < n; f += step {
				pl.units = append(pl.units, unit{phase: i, group: group, rest: rest, first: f, n: min(step, n-f)})
			}
		}
	}
	pl.first = append(pl.first, len(pl.units))
	if depth {
		pl.newDepthUnits()
	}
	return pl
}

// splitClasses splits phases by which taps fall into the padding, so that
// those are left out instead of multiplying zeros. It returns nil when too few
// do for this to pay.
func splitClasses(specs []phaseSpec) []phaseSpec {
	var split []phaseSpec
	all, used := 0, 0
	for _, sp := range specs {
		classes := map[string]int{}
		var keys []string
		var pixels [][]int
		for p := range sp.out {
			key := make([]byte, len(sp.taps))
			for i := range key {
				if sp.in(i, p) >= 0 {
					key[i] = 1
					used++
				}
			}
			all += len(key)
			class, ok := classes[string(key)]
			if !ok {
				class = len(keys)
				classes[string(key)] = class
				keys, pixels = append(keys, string(key)), append(pixels, nil)
			}
			pixels[class] = append(pixels[class], p)
		}
		for class, key := range keys {
			split = append(split, sp.restrict(key, pixels[class]))
		}
	}
	if used*20 > all*19 {
		return nil
	}
	return split
}

// restrict returns the part of sp with the taps set in key and the given
// pixels.
func (sp phaseSpec) restrict(key string, pixels []int) phaseSpec {
	var class phaseSpec
	var from []int
	for i, tap := range sp.taps {
		if key[i] != 0 {
			class.taps, from = append(class.taps, tap), append(from, i)
		}
	}
	for _, p := range pixels {
		class.out = append(class.out, sp.out[p])
	}
	class.in = func(i, p int) int32 { return sp.in(from[i], pixels[p]) }
	return class
}

func newPixelTable(sp phaseSpec, images, inImage, outImage int) pixelTable {
	per := len(sp.out)
	n := per * images
	if n == 0 {
		return pixelTable{}
	}
	t := pixelTable{n: n, pitch: n + tileSlack}
	t.in = slices.Repeat([]int32{-1}, max(1, len(sp.taps)*t.pitch))
	t.out = slices.Repeat([]int32{-1}, t.pitch)
	for i := range images {
		for p, o := range sp.out {
			t.out[i*per+p] = o + int32(i*outImage)
			for tap := range sp.taps {
				if off := sp.in(tap, p); off >= 0 {
					t.in[tap*t.pitch+i*per+p] = off + int32(i*inImage)
				}
			}
		}
	}
	return t
}

// channelBlocks splits the output channels of every group into blocks of 32
// and, where 16 or fewer are left, one of 16.
func channelBlocks(groups, in, out int) []block {
	var blocks []block
	rows := 0
	for g := range groups {
		for o := 0; o < out; {
			b := block{in: g * in, out: g*out + o, lanes: min(32, out-o), width: 32, rows: rows}
			if b.lanes <= 16 {
				b.width = 16
			}
			blocks = append(blocks, b)
			rows += b.width
			o += b.lanes
		}
	}
	return blocks
}

// packedRows returns the width of all blocks together.
func packedRows(blocks []block) int {
	last := blocks[len(blocks)-1]
	return last.rows + last.width
}

// packParts is how many tasks share a block's weights, where all its lanes are
// valid.
const packParts = 4

func (pl *tilePlan) packTasks() int { return packParts * len(pl.blocks) }

// pack writes a part of the weights of a block as [k][width].
func (pl *tilePlan) pack(task int, dst, w []float32) {
	bl, part := &pl.blocks[task/packParts], task%packParts
	lo, hi := part*len(pl.rows)/packParts, (part+1)*len(pl.rows)/packParts
	if bl.lanes < bl.width {
		if part > 0 {
			return
		}
		hi = len(pl.rows)
	}
	packRows(dst[bl.rows*pl.k:][:bl.width*pl.k], w[pl.base[task/packParts]:], pl.rows[lo:hi], bl.width, bl.lanes, pl.lane)
}

func packRows(dst, w []float32, rows []weightRow, width, lanes, lane int) {
	if lanes < width {
		clear(dst)
	}
	l := 0
	for ; l+8 <= lanes; l += 8 {
		w0, w1, w2, w3 := w[l*lane:], w[(l+1)*lane:], w[(l+2)*lane:], w[(l+3)*lane:]
		w4, w5, w6, w7 := w[(l+4)*lane:], w[(l+5)*lane:], w[(l+6)*lane:], w[(l+7)*lane:]
		for _, r := range rows {
			d := (*[8]float32)(dst[int(r.dst)*width+l:])
			i := int(r.src)
			d[0], d[1], d[2], d[3] = w0[i], w1[i], w2[i], w3[i]
			d[4], d[5], d[6], d[7] = w4[i], w5[i], w6[i], w7[i]
		}
	}
	for ; l < lanes; l++ {
		wl := w[l*lane:]
		for _, r := range rows {
			dst[int(r.dst)*width+l] = wl[r.src]
		}
	}
}

// packedSize returns the number of floats that the packed weights need.
func (pl *tilePlan) packedSize() int { return packedRows(pl.blocks) * max(1, pl.k) }

func (pl *tilePlan) tasks() int {
	if pl.depth {
		return len(pl.units)
	}
	return len(pl.units) * len(pl.blocks)
}

// run computes one task: one unit of pixels times one block of channels, or
// all blocks of a depthwise convolution, whose rows are contiguous then.
func (pl *tilePlan) run(task int, y, x, packed []float32, zero []float32, ep *Epilogue) {
	if pl.depth {
		un := &pl.units[task]
		o := pl.operands(un.group, y, x, packed, zero, ep)
		pl.runDepth(un, &o)
		return
	}
	u, b := task/len(pl.blocks), task%len(pl.blocks)
	if pl.byBlock {
		b, u = task/len(pl.units), task%len(pl.units)
	}
	un := &pl.units[u]
	o := pl.operands(un.group, y, x, packed, zero, ep)
	pl.tile(un, b, &o)
}

// runGroup computes all units and blocks of one group of images.
func (pl *tilePlan) runGroup(group int, o *operands) {
	if pl.depth {
		un := unit{group: group, rest: pl.units[len(pl.units)-1].rest && group == len(pl.first)-2}
		un.n = (pl.phases[0].table(un.rest).n + depthStep - 1) / depthStep
		pl.runDepth(&un, o)
		return
	}
	for u := pl.first[group]; u < pl.first[group+1]; u++ {
		for b := range pl.blocks {
			pl.tile(&pl.units[u], b, o)
		}
	}
}

// operands are what the tiles of one group of images work on.
type operands struct {
	y, x, res    []float32 // from the group's first element on
	packed, zero []float32
	ep           *Epilogue
}

func (pl *tilePlan) operands(group int, y, x, packed, zero []float32, ep *Epilogue) operands {
	o := operands{y: groupOf(y, group, pl.outGroup), x: groupOf(x, group, pl.inGroup), packed: packed, zero: zero, ep: ep}
	if ep.Residual != nil {
		o.res = groupOf(ep.Residual, group, pl.outGroup)
	}
	return o
}

func (pl *tilePlan) tile(un *unit, b int, o *operands) {
	bl := &pl.blocks[b]
	ph := &pl.phases[un.phase]
	t := ph.table(un.rest)
	ep := o.ep
	a := tileArgs{
		x:     &o.x[bl.in],
		zero:  &o.zero[0],
		in:    &t.in[min(un.first, len(t.in)-1)],
		out:   &t.out[un.first],
		w:     &o.packed[bl.rows*pl.k],
		y:     &o.y[bl.out],
		pitch: t.pitch,
		taps:  len(ph.rows) - 1,
		rows:  &ph.rows[0],
		cin:   pl.cin,
		n:     un.n,
		lanes: bl.lanes,
		width: bl.width,
		lo:    -inf32,
		hi:    inf32,
	}
	if ep.Bias != nil {
		a.bias = &ep.Bias[bl.out]
	}
	if o.res != nil {
		a.res = &o.res[bl.out]
	}
	if ep.Clip {
		a.lo, a.hi = ep.Min, ep.Max
	}
	if pl.depth {
		depthTile(&a)
	} else {
		tile(&a)
	}
}
