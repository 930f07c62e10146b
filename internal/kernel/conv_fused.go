package kernel

// Affine is an activation that is computed where it is read: z = clip(x·Scale +
// Shift + Res) per channel, with Scale and Shift [C]. Res may be nil; it needs Z,
// which keeps z for other readers.
type Affine struct {
	Scale, Shift []float32
	Range
	Res, Z []float32 // [N,H,W,C]
}

// FusedConv is a convolution that takes a chunk of images at a time through
// everything that happens to it, while it is in the cache: forward, the
// normalisation and activation of the input, the convolution, and the sums for
// the normalisation of the output; backward, the gradient of the normalisation
// behind it, both gradients of the convolution, and the sums for the gradient
// of the normalisation before it. It must not be used by two goroutines at a
// time.
type FusedConv struct {
	s       ConvShape
	images  int // of a chunk
	chunks  int
	runs    int // of chunks that a forward task takes
	splits  int // of chunks that a backward task takes, with sums of their own
	window  window
	x, dy   *padded    // the frames of those that go by rows, else nil
	wide    []float32  // coefficients of the normalisations, repeated for a row of pixels
	rows    *depthPlan // of depthwise convolutions that it can carry out, else nil
	dense   *densePlan // of narrow convolutions that it can carry out, else nil
	forward *tilePlan
	data    *tilePlan
	weights *gradPlan
	zero    []float32
	out, in moments // of y, and of x
	job     fusedJob
}

// fusedLimit and flatLimit bound the packed weights, and with them the sums of
// their gradient, in floats: both have to stay in the second-level cache beside
// a chunk, which is small where the convolution has no neighbours.
const (
	fusedLimit = 96 << 10
	flatLimit  = 160 << 10
)

// fusedRuns and fusedSplits are the numbers of tasks forward and backward. They
// must not depend on the number of threads.
const (
	fusedRuns   = 64
	fusedSplits = 32
)

// Fusable reports whether a [FusedConv] is the better way for a shape, and not
// the passes of [Conv] and of the normalisations one after the other.
func (s ConvShape) Fusable() bool {
	limit := fusedLimit
	if s.KH*s.KW == 1 {
		limit = flatLimit
	}
	return s.O*s.KH*s.KW*(s.C/s.Groups) <= limit && s.N >= 8 && s.N*s.OH*s.OW >= 1024 && (s.Groups == 1 || s.depthwise())
}

// NewFusedConv precomputes the tables for a shape. It panics when the shape is
// contradictory.
func NewFusedConv(s ConvShape) *FusedConv {
	s.check()
	s = s.flat()
	f := &FusedConv{s: s, images: fusedImages(s)}
	f.chunks = (s.N + f.images - 1) / f.images
	f.runs, f.splits = min(f.chunks, fusedRuns), min(f.chunks, fusedSplits)
	f.out = newMoments(f, f.runs, s.OH*s.OW, s.O)
	f.in = newMoments(f, f.splits, s.H*s.W, s.C)
	f.rows, f.dense = newDepthPlan(s), newDensePlan(s)
	switch {
	case f.rows != nil:
		f.x, f.dy = &f.rows.x, &f.rows.dy
	case f.dense != nil:
		f.x, f.dy = &f.dense.x, &f.dense.dy
	default:
		f.zero = zeros(max(s.C*s.KW, s.O) + 32)
		f.window = newWindow(s)
		f.forward = newForwardPlan(s, f.window, f.images)
		f.data = newDataPlan(s, f.images)
		f.weights = newGradPlan(s, f.window, f.images)
	}
	if f.x != nil {
		f.wide = make([]float32, 2*min(wideRow, s.W*s.C)+5*min(wideRow, s.OW*s.O))
	}
	f.job.init(f)
	return f
}

// flat returns the shape with images cut into runs of pixels that fit the cache
// where the convolution has no neighbours, and s elsewhere.
func (s ConvShape) flat() ConvShape {
	if s.KH*s.KW > 1 || s.StrideH > 1 || s.StrideW > 1 || s.H != s.OH || s.W != s.OW {
		return s
	}
	pixels := s.H * s.W
	best := pixels
	for p := flatLeast; p < pixels; p++ {
		if pixels%p == 0 && (p*(s.C+s.O) <= flatMost || best == pixels) {
			best = p
		}
	}
	s.N, s.H, s.W, s.OH, s.OW = s.N*(pixels/best), 1, best, 1, best
	return s
}

// Bounds of a run of pixels: its pixels, and its activations in floats.
const (
	flatLeast = 64
	flatMost  = 48 << 10
)

// fusedChunk bounds the activations of a chunk of several images, in floats.
const fusedChunk = 128 << 10

// fusedImages chooses the images of a chunk: enough pixels for whole tiles, and
// few enough for the cache and for an even share among threads.
func fusedImages(s ConvShape) int {
	n := 1
	for n < 8 && 2*n*8 <= s.N && 2*n*(s.H*s.W*s.C+s.OH*s.OW*s.O) <= fusedChunk {
		n *= 2
	}
	return n
}

// Workspace returns how many floats of workspace a pass needs.
func (f *FusedConv) Workspace() int {
	return f.packedSize() + max(f.out.size(), f.splits*f.partSize()+f.in.size())
}

// wideRow is the longest row of pixels, in floats, that gets coefficients of its
// own; longer ones would push the row itself out of the first-level cache.
const wideRow = 1024

// widen returns in with its coefficients repeated for a row of pixels, for those
// that go by rows.
func (f *FusedConv) widen(in *Affine) *Affine {
	if in == nil || f.x == nil {
		return in
	}
	n, wide := f.s.W*f.s.C, &f.job.wideIn
	*wide = *in
	wide.Scale, wide.Shift = in.Scale[:f.s.C], in.Shift[:f.s.C]
	if n <= wideRow {
		wide.Scale, wide.Shift = fill(f.wide[:n], wide.Scale), fill(f.wide[n:2*n], wide.Shift)
	}
	return wide
}

// keep computes the elements [lo,hi) of z, whole rows of pixels, from those of x.
func (in *Affine) keep(x []float32, lo, hi int) {
	var res []float32
	if in.Res != nil {
		res = in.Res[lo:hi]
	}
	c := len(in.Scale)
	normApply(in.Z[lo:hi], x[lo:hi], res, in.Scale, in.Shift, (hi-lo)/c, c, in.Range)
}

// fill fills dst with copies of v.
func fill(dst, v []float32) []float32 {
	for i := 0; i < len(dst); i += len(v) {
		copy(dst[i:], v)
	}
	return dst
}

func (f *FusedConv) packedSize() int {
	switch {
	case f.rows != nil:
		return f.rows.packedSize()
	case f.dense != nil:
		return f.dense.packedSize()
	}
	return max(f.forward.packedSize(), f.data.packedSize())
}

func (f *FusedConv) partSize() int {
	switch {
	case f.rows != nil:
		return f.rows.packedSize()
	case f.dense != nil:
		return f.dense.gradSize()
	}
	return f.weights.partSize
}

// chunk returns the first image of a chunk and how many there are.
func (f *FusedConv) chunk(i int) (first, n int) {
	return i * f.images, min(f.images, f.s.N-i*f.images)
}

// inputSize returns the floats that a worker needs for the input of a chunk.
func (f *FusedConv) inputSize() int {
	x := f.images * f.s.H * f.s.W * f.s.C
	switch {
	case f.x != nil:
		return f.x.size()
	case f.window.size > 0:
		return x + f.images*f.window.rows*f.window.cols*f.s.C + windowSlack
	default:
		return x + windowSlack
	}
}

// inputRows copies rows [from,to) of an image of x into its padded copy, with the
// activation applied, whose coefficients may be wide.
func (f *FusedConv) inputRows(dst, x []float32, in *Affine, from, to int) {
	g, row := f.x, f.s.W*f.s.C
	for r := from; r < to; r++ {
		d, src := g.row(dst, r), x[r*row:][:row]
		if in == nil {
			copy(d, src)
		} else {
			normApply(d, src, nil, in.Scale, in.Shift, row/len(in.Scale), len(in.Scale), in.Range)
		}
	}
}

// input returns the elements that a convolution not by rows reads for a chunk:
// those of x, or a copy in buf with the activation applied and the padding added.
func (f *FusedConv) input(chunk int, x []float32, in *Affine, buf []float32) []float32 {
	s := f.s
	first, n := f.chunk(chunk)
	x = x[first*s.H*s.W*s.C:][:n*s.H*s.W*s.C]
	if in != nil {
		normApply(buf, x, nil, in.Scale, in.Shift, n*s.H*s.W, s.C, in.Range)
		buf, x = buf[len(x):], buf[:len(x):len(x)+windowSlack]
	}
	if f.window.size == 0 {
		if in == nil && f.weights.copySize() > 0 {
			copy(buf, x)
			return buf
		}
		return x
	}
	for i := range n {
		f.window.copy(i, s, buf, x)
	}
	return buf
}

// fusedJob holds the operands of the call in progress; the closures are made
// once so that a call allocates nothing.
type fusedJob struct {
	f              *FusedConv
	pool           *Pool
	y, x, w        []float32
	in             *Affine
	mean, variance []float32
	packed, parts  []float32
	moments        []float32
	plan           *tilePlan
	reverse        bool
	g              FusedGrad
	wideIn         Affine
	wideMask       NormMask
	a, b, d        []float32 // of g, wide

	packTask, forwardTask, meanTask, gradTask, addTask, writeTask, sumTask func(task, worker int)
}

func (j *fusedJob) init(f *FusedConv) {
	j.f = f
	j.packTask, j.forwardTask, j.meanTask = j.pack, j.forward, j.combine
	j.gradTask, j.addTask, j.writeTask, j.sumTask = j.grad, j.add, j.write, j.combineSums
}

func (j *fusedJob) release() {
	*j = fusedJob{f: j.f, packTask: j.packTask, forwardTask: j.forwardTask, meanTask: j.meanTask,
		gradTask: j.gradTask, addTask: j.addTask, writeTask: j.writeTask, sumTask: j.sumTask}
}

func (j *fusedJob) packAll(p *Pool, plan *tilePlan, reverse bool) {
	j.plan, j.reverse = plan, reverse
	if plan == nil {
		p.Run(1, j.packTask)
	} else {
		p.Run(plan.packTasks(), j.packTask)
	}
}

func (j *fusedJob) pack(task, _ int) {
	switch f := j.f; {
	case j.plan != nil:
		j.plan.pack(task, j.packed, j.w)
	case f.rows != nil:
		f.rows.pack(j.packed, j.w, j.reverse)
	default:
		f.dense.pack(j.packed, j.w, j.reverse)
	}
}

// Forward computes y = conv(z, w) with z = in(x), or z = x where in is nil, and
// the mean and biased variance of every channel of y.
func (f *FusedConv) Forward(p *Pool, y, x, w []float32, in *Affine, mean, variance, ws []float32) {
	s, j := f.s, &f.job
	checkLen("y", y, s.N*s.OH*s.OW*s.O)
	checkLen("x", x, s.N*s.H*s.W*s.C)
	checkLen("w", w, s.O*(s.C/s.Groups)*s.KH*s.KW)
	checkLen("workspace", ws, f.packedSize()+f.out.size())
	if in != nil && in.Z != nil {
		checkLen("z", in.Z, len(x))
	} else if in != nil && in.Res != nil {
		panic("kernel: a residual without a place for the sum")
	}
	j.pool, j.y, j.x, j.w, j.in, j.mean, j.variance = p, y, x, w, f.widen(in), mean, variance
	j.packed, j.moments = ws[:f.packedSize()], ws[f.packedSize():]
	j.packAll(p, f.forward, false)
	p.Run(f.runs, j.forwardTask)
	p.Run(f.out.columns(), j.meanTask)
	j.release()
}

// forward takes a run of chunks through all steps.
func (j *fusedJob) forward(run, worker int) {
	f := j.f
	s := f.s
	buf := j.pool.scratch(worker, f.inputSize()+f.out.scratch())
	part := f.out.part(j.moments, run)
	if f.x != nil {
		f.x.clear(buf)
	}
	from, to := run*f.chunks/f.runs, (run+1)*f.chunks/f.runs
	keep, x, affine, size := j.in != nil && j.in.Z != nil, j.x, j.in, s.H*s.W*s.C
	if keep {
		x, affine = j.in.Z, nil
	}
	for chunk := from; chunk < to; chunk++ {
		first, n := f.chunk(chunk)
		y := j.y[first*s.OH*s.OW*s.O:][:n*s.OH*s.OW*s.O]
		if f.x == nil {
			if keep {
				j.in.keep(j.x, first*size, (first+n)*size)
			}
			in := f.input(chunk, x, affine, buf)
			f.forward.runGroup(chunk, &operands{y: y, x: in, packed: j.packed, zero: f.zero, ep: &Epilogue{}})
			f.out.add(part, y, buf[f.inputSize():], chunk == from)
			continue
		}
		for i := range n {
			xi, yi, start := x[(first+i)*size:], y[i*s.OH*s.OW*s.O:][:s.OH*s.OW*s.O], chunk == from && i == 0
			if keep {
				j.in.keep(j.x, (first+i)*size, (first+i+1)*size)
			}
			if f.rows != nil {
				j.forwardRows(part, xi, yi, buf, affine, start)
				continue
			}
			f.inputRows(buf, xi, affine, 0, s.H)
			f.dense.forward(yi, buf, j.packed)
			f.out.add(part, yi, buf[f.inputSize():], start)
		}
	}
	f.out.finish(part, run)
}

// forwardRows takes one image through all steps, strip by strip. The frame in buf
// is clear.
func (j *fusedJob) forwardRows(part, x, y, buf []float32, in *Affine, first bool) {
	f, d := j.f, j.f.rows
	strip, row := d.strip(f.s.OW), f.s.OW*f.s.O
	done := 0
	for r := 0; r < f.s.OH; r += strip {
		to := min(f.s.OH, r+strip)
		need := d.inputRows(to)
		f.inputRows(buf, x, in, done, need)
		done = need
		d.forward(y, buf, j.packed, r, to, nil, Unbounded)
		f.out.add(part, y[r*row:to*row], buf[f.inputSize():], first && r == 0)
	}
}

func (j *fusedJob) combine(task, _ int) {
	m := &j.f.out
	lo := task * normColumns
	combineMoments(j.mean, j.variance, j.moments, len(m.weights), m.c, lo, min(m.c, lo+normColumns), m.total, func(k int) float64 { return m.weights[k] })
}
