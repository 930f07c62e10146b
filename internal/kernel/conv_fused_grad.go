package kernel

// FusedGrad is the operands of a backward pass of a [FusedConv].
//
// The gradient of the convolution's output y is dy = A·dz' + B·y + D with dz' =
// dz where Mask lets it pass, or dy = dz where A is nil.
type FusedGrad struct {
	DZ, Y   []float32 // [N,OH,OW,O]
	Mask    NormMask
	A, B, D []float32 // [O], or nil

	DRes    []float32 // dz', or nil
	AddDRes bool

	X  []float32 // [N,H,W,C]
	In *Affine   // the activation of x that the forward pass had
	W  []float32

	DX    []float32 // the gradient of in(x), or nil
	AddDX bool
	DW    []float32 // or nil
	AddDW bool

	// With SumDX set, for every channel SumDX = Σ dx' and SumDXX = Σ
	// dx'·(u−Mean)·InvStd with u = SumX, dx' being what is in DX afterwards, where
	// SumMask lets it pass.
	SumDX, SumDXX, Mean, InvStd []float32 // [C]
	SumX                        []float32 // [N,H,W,C]
	SumMask                     NormMask
}

// Backward computes what g asks for.
func (f *FusedConv) Backward(p *Pool, g FusedGrad, ws []float32) {
	s, j := f.s, &f.job
	checkLen("dz", g.DZ, s.N*s.OH*s.OW*s.O)
	checkLen("x", g.X, s.N*s.H*s.W*s.C)
	checkLen("workspace", ws, f.Workspace())
	if g.SumDX != nil {
		checkLen("dx", g.DX, len(g.SumX))
		checkLen("x of the sums", g.SumX, s.N*s.H*s.W*s.C)
	}
	j.pool, j.g, j.w, j.in = p, g, g.W, f.widen(g.In)
	j.a, j.b, j.d, j.wideMask = g.A, g.B, g.D, g.Mask
	if g.A != nil {
		j.a = g.A[:s.O]
	}
	if n := s.OW * s.O; f.x != nil && g.A != nil && n <= wideRow {
		wide := f.wide[2*min(wideRow, s.W*s.C):]
		j.a, j.b, j.d = fill(wide[:n], g.A[:s.O]), fill(wide[n:2*n], g.B[:s.O]), fill(wide[2*n:3*n], g.D[:s.O])
		if g.Mask.Scale != nil {
			j.wideMask.Scale, j.wideMask.Shift = fill(wide[3*n:4*n], g.Mask.Scale[:s.O]), fill(wide[4*n:5*n], g.Mask.Shift[:s.O])
		}
	}
	j.packed, ws = ws[:f.packedSize()], ws[f.packedSize():]
	j.parts, j.moments = ws[:f.splits*f.partSize()], ws[f.splits*f.partSize():]
	if g.DX != nil {
		checkLen("dx", g.DX, s.N*s.H*s.W*s.C)
		j.packAll(p, f.data, true)
	}
	p.Run(f.splits, j.gradTask)
	if g.DW != nil {
		switch {
		case f.rows != nil:
			p.Run(1, j.writeTask)
		case f.dense != nil:
			p.Run(f.dense.writeTasks(), j.writeTask)
		default:
			if f.splits > 1 {
				p.Run(f.weights.addTasks(), j.addTask)
			}
			p.Run(f.weights.writeTasks(), j.writeTask)
		}
	}
	if g.SumDX != nil {
		p.Run(f.in.columns(), j.sumTask)
	}
	j.release()
}

// grad takes the chunks of one split through all steps.
func (j *fusedJob) grad(split, worker int) {
	f := j.f
	part := j.parts[split*f.partSize():][:f.partSize()]
	clear(part)
	work := 0
	if f.weights != nil && (f.weights.packX || f.weights.packDY) {
		work = f.weights.scratch
	}
	buf := j.pool.scratch(worker, max(f.in.scratch(), f.inputSize()+f.gradSize()+work))
	if f.x != nil {
		f.x.clear(buf)
		f.dy.clear(buf[f.inputSize():])
	}
	from, to := split*f.chunks/f.splits, (split+1)*f.chunks/f.splits
	for c := from; c < to; c++ {
		first, n := f.chunk(c)
		if f.x != nil {
			for i := range n {
				xbuf, dybuf, start := buf[:f.inputSize()], buf[f.inputSize():], c == from && i == 0
				if f.rows != nil {
					j.gradRows(first+i, split, part, xbuf, dybuf, start)
				} else {
					j.gradDense(first+i, split, part, xbuf, dybuf, start)
				}
			}
			continue
		}
		j.gradChunk(c, part, buf[:f.inputSize()], buf[f.inputSize():][:f.gradSize()], buf[f.inputSize()+f.gradSize():])
		size := f.s.H * f.s.W * f.s.C
		j.sum(split, first*size, (first+n)*size, buf, c == from)
	}
}

// gradSize returns the floats that a worker needs for the gradient of a chunk's
// output.
func (f *FusedConv) gradSize() int {
	if f.x != nil {
		return f.dy.size() + f.s.OW*f.s.O + f.in.scratch()
	}
	return f.images * f.s.OH * f.s.OW * f.s.O
}

func (j *fusedJob) gradChunk(chunk int, part, xbuf, dybuf, scratch []float32) {
	f, g := j.f, &j.g
	s := f.s
	first, n := f.chunk(chunk)
	lo, hi := first*s.OH*s.OW*s.O, (first+n)*s.OH*s.OW*s.O
	dy := g.DZ[lo:hi]
	if g.A != nil {
		dy = dybuf
		j.gradNorm(dy, lo, hi)
	}
	if g.DW != nil {
		f.sumWeights(part, f.weights.table(chunk), f.input(chunk, g.X, g.In, xbuf), dy, scratch)
	}
	if g.DX == nil {
		return
	}
	dx := g.DX[first*s.H*s.W*s.C : (first+n)*s.H*s.W*s.C]
	o := operands{y: dx, x: dy, packed: j.packed, zero: f.zero, ep: &Epilogue{}}
	if g.AddDX {
		o.res = dx
	}
	f.data.runGroup(chunk, &o)
}

// sumWeights adds the gradient by weights of one group of images to a part.
func (f *FusedConv) sumWeights(part []float32, t *gradTable, x, dy, scratch []float32) {
	for i := range f.weights.items {
		it := &f.weights.items[i]
		if f.weights.depth {
			f.weights.sumDepth(it, t, part[it.off:], x, dy, f.zero)
		} else {
			f.weights.sum(it, t, part[it.off:][:f.weights.itemSize(it)], x, dy, scratch)
		}
	}
}

// gradDense takes one image of a narrow convolution through all steps. The frames
// in the buffers are clear.
func (j *fusedJob) gradDense(image, split int, part, xbuf, dybuf []float32, first bool) {
	f, g, s := j.f, &j.g, j.f.s
	x0, row := image*s.H*s.W*s.C, s.OW*s.O
	for r := range s.OH {
		j.gradRow(r, (image*s.OH+r)*row, dybuf)
	}
	scratch := dybuf[f.dy.size()+row:]
	if g.DW != nil {
		f.inputRows(xbuf, g.X[x0:], j.in, 0, s.H)
		f.dense.gradWeights(part, xbuf, dybuf)
	}
	if g.DX != nil {
		f.dense.gradData(g.DX[x0:], dybuf, j.packed, g.AddDX)
		j.sum(split, x0, x0+s.H*s.W*s.C, scratch, first)
	}
}

// sum adds the elements [lo,hi) to the sums for the normalisation before the
// convolution, if they are wanted.
func (j *fusedJob) sum(split, lo, hi int, scratch []float32, start bool) {
	f, g := j.f, &j.g
	if g.SumDX == nil || lo == hi {
		return
	}
	f.in.addGrad(f.in.part(j.moments, split), g.DX[lo:hi], g.SumX[lo:hi], g.SumMask.slice(lo, hi), g.Mean, scratch, start)
}

// gradRows takes one image of a depthwise convolution through all steps, strip
// by strip. The frames in the buffers are clear.
func (j *fusedJob) gradRows(image, split int, part, xbuf, dybuf []float32, first bool) {
	f, g, d := j.f, &j.g, j.f.rows
	s := f.s
	x0, y0 := image*s.H*s.W*s.C, image*s.OH*s.OW*s.O
	scratch := dybuf[d.dy.size()+s.OW*s.O:]
	strip, row := d.strip(s.OW), s.OW*s.O
	xDone, dxDone := 0, 0
	for r := 0; r < s.OH; r += strip {
		to := min(s.OH, r+strip)
		for i := r; i < to; i++ {
			j.gradRow(i, y0+i*row, dybuf)
		}
		if g.DW != nil {
			need := d.inputRows(to)
			f.inputRows(xbuf, g.X[x0:], j.in, xDone, need)
			xDone = need
			d.gradWeights(part, xbuf, dybuf, r, to)
		}
		if g.DX == nil {
			continue
		}
		if ready := d.gradRows(to); ready > dxDone {
			d.gradData(g.DX[x0:], dybuf, j.packed, dxDone, ready, g.AddDX)
			j.sum(split, x0+dxDone*s.W*s.C, x0+ready*s.W*s.C, scratch, first)
			dxDone, first = ready, false
		}
	}
}

// gradRow puts row r of the gradient of an image of output, whose elements start
// at lo, into its padded copy.
func (j *fusedJob) gradRow(r, lo int, buf []float32) {
	f, g, d := j.f, &j.g, j.f.dy
	n := f.s.OW * f.s.O
	dst, src := d.row(buf, r), g.DZ[lo:lo+n]
	if g.A != nil {
		out := buf[d.size():][:n]
		if d.stepC == 1 {
			out = dst
		}
		j.gradNorm(out, lo, lo+n)
		src = out
	}
	switch {
	case d.stepC > 1:
		d.spread(dst, src)
	case g.A == nil:
		copy(dst, src)
	}
}

// gradNorm computes the gradient of the elements [lo,hi) of the convolution's
// output.
func (j *fusedJob) gradNorm(dst []float32, lo, hi int) {
	g := &j.g
	var res []float32
	if g.DRes != nil {
		res = g.DRes[lo:hi]
	}
	c := len(j.a)
	normGradApply(dst[:hi-lo], res, g.DZ[lo:hi], g.Y[lo:hi], j.wideMask.slice(lo, hi), j.a, j.b, j.d, (hi-lo)/c, c, false, g.AddDRes)
}

func (j *fusedJob) add(task, _ int) { j.f.weights.addParts(task, j.parts, j.f.splits) }

func (j *fusedJob) write(task, _ int) {
	f := j.f
	switch {
	case f.dense != nil:
		f.dense.write(task, j.g.DW, j.parts, f.splits, j.g.AddDW)
		return
	case f.rows == nil:
		f.weights.write(task, j.g.DW, j.parts, j.g.AddDW)
		return
	}
	n := f.partSize()
	for i := 1; i < f.splits; i++ {
		Add(j.parts[:n], j.parts[:n], j.parts[i*n:][:n])
	}
	f.rows.write(j.g.DW, j.parts, j.g.AddDW)
}

func (j *fusedJob) combineSums(task, _ int) {
	m := &j.f.in
	lo := task * normColumns
	combineGradSums(j.g.SumDX, j.g.SumDXX, j.moments, len(m.weights), m.c, lo, min(m.c, lo+normColumns), j.g.InvStd)
}
