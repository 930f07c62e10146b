package kernel

// A depthwise convolution does too little arithmetic for the processor to look
// ahead far enough: the lines that it will touch are asked for explicitly.

// stream prefetches a slice that is consumed steadily, once.
type stream struct {
	s    []float32
	done int
}

// newStream starts a stream at part first of n.
func newStream(s []float32, first, n int) stream { return stream{s, len(s) * first / n} }

// advance prefetches up to part p of n and lead elements further. Small steps
// let the lines arrive while the processor computes.
func (f *stream) advance(p, n, lead int) {
	to := min(len(f.s), len(f.s)*p/n+lead)
	if to > f.done {
		prefetch(f.s[f.done:to])
		f.done = to
	}
}

// depthStep is the number of pixels for which all channels are computed before
// the next pixels are.
const depthStep = 24

// depthUnits is the least number of tasks of a depthwise pass, where there are
// pixels enough.
const depthUnits = 16

// newDepthUnits splits a plan into units of steps: first and n count steps of
// depthStep pixels in every phase.
func (pl *tilePlan) newDepthUnits() {
	units := pl.units
	pl.units = nil
	for _, un := range units {
		if un.phase != 0 || un.first != 0 {
			continue
		}
		steps := 0
		for i := range pl.phases {
			steps = max(steps, (pl.phases[i].table(un.rest).n+depthStep-1)/depthStep)
		}
		groups := units[len(units)-1].group + 1
		parts := min(steps, (depthUnits+groups-1)/groups)
		for p := range parts {
			lo, hi := p*steps/parts, (p+1)*steps/parts
			pl.units = append(pl.units, unit{group: un.group, rest: un.rest, first: lo, n: hi - lo})
		}
	}
}

// runDepth computes one unit for all channels and phases, so that memory is
// walked in order.
func (pl *tilePlan) runDepth(u *unit, o *operands) {
	n := (pl.phases[0].table(u.rest).n + depthStep - 1) / depthStep
	last := pl.blocks[len(pl.blocks)-1]
	channels := last.out + last.lanes
	sx, sy := newStream(o.x, u.first, n), newStream(o.y, u.first, n)
	for step := u.first; step < u.first+u.n; step++ {
		for i := range pl.phases {
			first := step * depthStep
			un := unit{phase: i, group: u.group, rest: u.rest, first: first, n: min(depthStep, pl.phases[i].table(u.rest).n-first)}
			if un.n <= 0 {
				continue
			}
			for b := range pl.blocks {
				done := (step*len(pl.phases)+i)*len(pl.blocks) + b
				sx.advance(done, n*len(pl.phases)*len(pl.blocks), pl.lead)
				sy.advance(done, n*len(pl.phases)*len(pl.blocks), 2*depthStep*channels)
				pl.tile(&un, b, o)
			}
		}
	}
}

// groupOf returns the part of an activation that belongs to a group of images.
func groupOf(s []float32, group, size int) []float32 {
	s = s[group*size:]
	return s[:min(size, len(s))]
}

func (g *gradPlan) runDepth(item *gradItem, first, last int, part, x, dy, zero []float32) {
	part = part[:depthTaps*packedRows(g.blocks)]
	clear(part)
	for group := first; group < last; group++ {
		g.sumDepth(item, g.table(group), part, groupOf(x, group, g.inGroup), groupOf(dy, group, g.outGroup), zero)
	}
}

// sumDepth adds the sums of one group of images to a part.
func (g *gradPlan) sumDepth(item *gradItem, t *gradTable, part, xs, ds, zero []float32) {
	n := len(t.out)
	sx, sd := newStream(xs, 0, n), newStream(ds, 0, n)
	for f := 0; f < n; f += depthStep {
		for i := range g.blocks {
			done := f*len(g.blocks) + depthStep*i
			sx.advance(done, n*len(g.blocks), g.lead)
			sd.advance(done, n*len(g.blocks), 2*depthStep*g.s.C)
			bl := &g.blocks[i]
			depthGrad(&depthGradArgs{
				x: &xs[bl.in], dy: &ds[bl.out], zero: &zero[0],
				in: &t.in[item.tile][f*depthTaps], out: &t.out[f], acc: &part[depthTaps*bl.rows],
				n: min(depthStep, n-f), lanes: bl.lanes, width: bl.width,
			})
		}
	}
}

func (g *gradPlan) writeDepth(item *gradItem, dw, parts []float32, accumulate bool) {
	first := item.tile * depthTaps
	for i := range g.blocks {
		bl := &g.blocks[i]
		part := parts[item.off+depthTaps*bl.rows:]
		for tap := first; tap < min(g.taps, first+depthTaps); tap++ {
			for l, v := range part[(tap-first)*bl.width:][:bl.lanes] {
				d := &dw[(bl.out+l)*g.taps+tap]
				if accumulate {
					v += *d
				}
				*d = v
			}
		}
	}
}
