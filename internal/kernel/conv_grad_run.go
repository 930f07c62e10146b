package kernel

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

func (g *gradPlan) tasks() int {
	if g.together {
		return g.splits
	}
	return g.splits * len(g.items)
}

func (g *gradPlan) addTasks() int { return len(g.items) * g.most }

// tileStart returns the first input channel of a tile. The last tile is moved
// back so that it ends with the last channel, where there are enough of them.
func (g *gradPlan) tileStart(tile, rows int) int {
	return max(0, min(tile*rows, g.cin-rows))
}

// run sums one item over one split of the images.
func (g *gradPlan) run(task int, parts, x, dy, zero []float32, p *Pool, worker int) {
	if g.together {
		g.runTogether(task, parts, x, dy)
		return
	}
	split, item := task/len(g.items), &g.items[task%len(g.items)]
	first, last := split*g.groups/g.splits, (split+1)*g.groups/g.splits
	if g.depth {
		g.runDepth(item, first, last, parts[split*g.partSize+item.off:], x, dy, zero)
		return
	}
	part := parts[split*g.partSize+item.off:][:g.itemSize(item)]
	clear(part)
	var scratch []float32
	if g.packX || g.packDY {
		scratch = p.scratch(worker, g.scratch)
	}
	for group := first; group < last; group++ {
		g.sum(item, g.table(group), part, x[group*g.inGroup:], dy[group*g.outGroup:], scratch)
	}
}

// itemSize returns the number of sums of an item.
func (g *gradPlan) itemSize(item *gradItem) int {
	width := g.blocks[item.block].width
	return g.taps * item.tiles * gradRows(width) * width
}

// sum adds the sums of one group of images, whose elements x and dy start with,
// to the part of an item. scratch has g.scratch floats where the plan packs.
func (g *gradPlan) sum(item *gradItem, t *gradTable, part, x, dy, scratch []float32) {
	bl := &g.blocks[item.block]
	rows := gradRows(bl.width)
	a := gradArgs{lanes: bl.lanes, width: bl.width}
	var copyX, copyDY []float32
	if g.packX || g.packDY {
		copyDY, copyX = scratch[:gradPixels*gradPitchDY], scratch[gradPixels*gradPitchDY:]
	}
	c0 := g.tileStart(item.tile, rows)
	c1 := g.tileStart(item.tile+item.tiles-1, rows) + rows
	dy, x = dy[bl.out:], x[bl.in+c0:]
	for i := range t.subs {
		sub := &t.subs[i]
		a.dy = &dy[0]
		if g.packDY {
			gatherRows(copyDY, gradPitchDY, dy, sub.dy, bl.lanes)
			a.dy = &copyDY[0]
		}
		xs := x
		if g.packX {
			gatherRows(copyX, gradPitchX, x, sub.x, c1-c0)
			xs = copyX
		}
		for tile := range item.tiles {
			a.x = &xs[g.tileStart(item.tile+tile, rows)-c0]
			for tap, sp := range sub.spans {
				if sp.n == 0 {
					continue
				}
				a.pairs, a.n = &t.pairs[sp.first], sp.n
				a.acc = &part[(tile*g.taps+tap)*rows*bl.width]
				grad(&a)
			}
		}
	}
}

// runTogether sums all items over one split of the images, sub-block by sub-block.
func (g *gradPlan) runTogether(split int, parts, x, dy []float32) {
	part := parts[split*g.partSize:][:g.partSize]
	clear(part)
	var a gradArgs
	for group := split * g.groups / g.splits; group < (split+1)*g.groups/g.splits; group++ {
		t := g.table(group)
		xGroup, dyGroup := groupOf(x, group, g.inGroup), groupOf(dy, group, g.outGroup)
		sx, sd := newStream(xGroup, 0, 1), newStream(dyGroup, 0, 1)
		for i := range t.subs {
			sp := t.subs[i].spans[0]
			if sp.n == 0 {
				continue
			}
			a.pairs, a.n = &t.pairs[sp.first], sp.n
			for k := range g.items {
				done := i*len(g.items) + k
				sx.advance(done, len(t.subs)*len(g.items), gradPixels*g.s.C)
				sd.advance(done, len(t.subs)*len(g.items), gradPixels*g.s.O)
				item := &g.items[k]
				bl := &g.blocks[item.block]
				rows := gradRows(bl.width)
				a.dy, a.lanes, a.width = &dyGroup[bl.out], bl.lanes, bl.width
				for tile := range item.tiles {
					a.x = &xGroup[bl.in+g.tileStart(item.tile+tile, rows)]
					a.acc = &part[item.off+tile*rows*bl.width]
					grad(&a)
				}
			}
		}
	}
}

// table returns the table of a group of images.
func (g *gradPlan) table(group int) *gradTable {
	if g.hasRest && group == g.groups-1 {
		return &g.rest
	}
	return &g.full
}

// add adds up the parts of one tile of one item, in order, into the first.
func (g *gradPlan) add(task int, parts []float32) { g.addParts(task, parts, g.splits) }

// addParts is add for a number of splits other than the plan's.
func (g *gradPlan) addParts(task int, parts []float32, splits int) {
	item, tile := &g.items[task/g.most], task%g.most
	var off, size int
	switch {
	case g.depth:
		bl := &g.blocks[tile]
		off, size = depthTaps*bl.rows, depthTaps*bl.width
	case tile < item.tiles:
		bl := &g.blocks[item.block]
		size = g.taps * gradRows(bl.width) * bl.width
		off = tile * size
	}
	part := parts[item.off+off:][:size]
	for i := 1; i < splits; i++ {
		Add(part, part, parts[item.off+off+i*g.partSize:][:size])
	}
}

// gradLanes is the number of output channels that one write task handles.
const gradLanes = 8

func (g *gradPlan) writeTasks() int {
	if g.depth {
		return len(g.items)
	}
	return len(g.items) * 32 / gradLanes
}

// write brings the sums of some output channels of one item into ONNX order.
func (g *gradPlan) write(task int, dw, parts []float32, accumulate bool) {
	if g.depth {
		g.writeDepth(&g.items[task], dw, parts, accumulate)
		return
	}
	item, l0 := &g.items[task*gradLanes/32], task*gradLanes%32
	bl := &g.blocks[item.block]
	n := min(gradLanes, bl.lanes-l0)
	if n <= 0 {
		return
	}
	s := g.s
	cg, kk := s.C/s.Groups, s.KH*s.KW
	rows := gradRows(bl.width)
	d := dw[(bl.out+l0)*cg*kk:]
	var row [gradLanes][]float32
	for l := range n {
		row[l] = d[l*cg*kk:][:cg*kk]
	}
	for tile := range item.tiles {
		start, c0 := g.tileStart(item.tile+tile, rows), (item.tile+tile)*rows
		for ci := c0; ci < min(g.cin, c0+rows); ci++ {
			dst, step := ci*kk, 1
			if g.win.size > 0 {
				dst, step = ci%s.C*kk+ci/s.C, s.KW
			}
			for tap := range g.taps {
				v := parts[item.off+((tile*g.taps+tap)*rows+ci-start)*bl.width+l0:][:n]
				switch {
				case accumulate:
					for l, v := range v {
						row[l][dst] += v
					}
				case n == gradLanes:
					v := (*[gradLanes]float32)(v)
					row[0][dst], row[1][dst], row[2][dst], row[3][dst] = v[0], v[1], v[2], v[3]
					row[4][dst], row[5][dst], row[6][dst], row[7][dst] = v[4], v[5], v[6], v[7]
				default:
					for l, v := range v {
						row[l][dst] = v
					}
				}
				dst += step
			}
		}
	}
}

// gatherRows copies count floats from every offset of src to rows of dst.
func gatherRows(dst []float32, pitch int, src []float32, offsets []int32, count int) {
	for i, o := range offsets {
		d, s := dst[i*pitch:][:count], src[o:][:count]
		for len(s) >= 32 {
			*(*[32]float32)(d) = *(*[32]float32)(s)
			d, s = d[32:], s[32:]
		}
		if len(s) >= 16 {
			*(*[16]float32)(d) = *(*[16]float32)(s)
			d, s = d[16:], s[16:]
		}
		copy(d, s)
	}
}
