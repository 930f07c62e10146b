package kernel

import "sync"

// Batch normalisation over the rows of a [rows,c] matrix: rows = N·H·W of a
// channels-last activation. Sums run over chunks of rows whose size depends on
// the shape alone; chunks are combined in order in float64.

// normChunk is the number of elements that a chunk has at most, where a chunk
// of normLeast rows allows it; it fits the second-level cache.
const (
	normChunk = 24 << 10
	normLeast = 8
)

func normRows(c int) int {
	r := max(normLeast, normChunk/c)
	if r >= 64 {
		r -= r % 64
	}
	return r
}

func normChunks(rows, c int) int { r := normRows(c); return (rows + r - 1) / r }

// BatchNormWorkspace returns how many floats of workspace BatchNormStats and
// BatchNormGradStats need.
func BatchNormWorkspace(rows, c int) int { return 3 * c * normChunks(rows, c) }

// BatchNormStats computes the mean and the biased variance of every column of
// x [rows,c].
func BatchNormStats(p *Pool, mean, variance []float32, x []float32, rows, c int, ws []float32) {
	j := newNormJob(rows, c)
	j.x, j.ws, j.out1, j.out2 = x[:rows*c], ws[:BatchNormWorkspace(rows, c)], mean[:c], variance[:c]
	p.Run(normChunks(rows, c), j.statsTask)
	p.Run((c+normColumns-1)/normColumns, j.statsSumTask)
	j.free()
}

// Range is what an activation clips to: y = min(max(x, Lo), Hi), with infinities
// for open ends. NaN stays NaN.
type Range struct{ Lo, Hi float32 }

// The ranges of no activation and of Relu.
var (
	Unbounded = Range{-inf32, inf32}
	Positive  = Range{0, inf32}
)

func (r Range) open() bool { return r == Unbounded }

// NormMask says where a gradient passes an activation: where the output lies
// strictly inside the range. The output is Y or, where Y is nil, x·Scale +
// Shift. The zero value lets everything pass.
type NormMask struct {
	Range
	Y            []float32 // [rows,c]
	Scale, Shift []float32 // [c]
}

// slice is the mask of the elements [lo,hi), whole rows.
func (m NormMask) slice(lo, hi int) NormMask {
	if m.Y != nil {
		m.Y = m.Y[lo:hi]
	}
	return m
}

// BatchNormApply computes y = clip(x·scale + shift + residual) for x, y and
// residual [rows,c], scale and shift [c]; residual may be nil. y may be x.
func BatchNormApply(p *Pool, y, x, scale, shift []float32, residual []float32, clip Range, rows, c int) {
	j := newNormJob(rows, c)
	j.y, j.x, j.a, j.b, j.clip = y[:rows*c], x[:rows*c], scale[:c], shift[:c], clip
	if residual != nil {
		j.res = residual[:rows*c]
	}
	p.Run(normChunks(rows, c), j.applyTask)
	j.free()
}

// BatchNormGradStats computes, for every column,
//
//	dbeta = Σ dy'
//	dgamma = Σ dy'·(x−mean)·invstd
//
// with dy' = dy where the mask lets it pass and 0 elsewhere.
func BatchNormGradStats(p *Pool, dbeta, dgamma []float32, dy, x []float32, mask NormMask, mean, invstd []float32, rows, c int, ws []float32) {
	j := newNormJob(rows, c)
	j.dy, j.x, j.a, j.b = dy[:rows*c], x[:rows*c], mean[:c], invstd[:c]
	j.out1, j.out2, j.ws = dbeta[:c], dgamma[:c], ws[:BatchNormWorkspace(rows, c)]
	j.mask = mask
	p.Run(normChunks(rows, c), j.gradStatsTask)
	p.Run((c+normColumns-1)/normColumns, j.gradSumTask)
	j.free()
}

// BatchNormGradApply computes dx = a·dy' + b·x + d, with a, b and d [c] and
// dy' as in BatchNormGradStats, and dres = dy' where dres is not nil. The
// flags add to dx and dres instead. dx and dres may be dy.
func BatchNormGradApply(p *Pool, dx, dres, dy, x []float32, mask NormMask, a, b, d []float32, accumulateDx, accumulateDres bool, rows, c int) {
	j := newNormJob(rows, c)
	j.dx, j.dy, j.x = dx[:rows*c], dy[:rows*c], x[:rows*c]
	j.a, j.b, j.d = a[:c], b[:c], d[:c]
	j.accumulate, j.accumulateRes = accumulateDx, accumulateDres
	j.mask = mask
	if dres != nil {
		j.res = dres[:rows*c]
	}
	p.Run(normChunks(rows, c), j.gradApplyTask)
	j.free()
}

// ColumnSums computes db[j] = Σ_i dy[i,j] of dy [rows,cols], or adds it to db.
// The result depends on the shape and the values alone.
func ColumnSums(p *Pool, db, dy []float32, rows, cols int, accumulate bool) {
	j := newNormJob(rows, cols)
	j.x, j.out1, j.accumulate = dy[:rows*cols], db[:cols], accumulate
	j.ws = j.buffer(normChunks(rows, cols) * cols)
	p.Run(normChunks(rows, cols), j.columnsTask)
	p.Run((cols+normColumns-1)/normColumns, j.columnsSumTask)
	j.free()
}

// normColumns is the number of columns that one task combines.
const normColumns = 64

type normJob struct {
	rows, c                   int
	x, y, dy, dx, res         []float32
	a, b, d, out1, out2, ws   []float32
	own                       []float32
	clip                      Range
	mask                      NormMask
	accumulate, accumulateRes bool

	statsTask, statsSumTask, applyTask, gradStatsTask, gradSumTask, gradApplyTask func(task, worker int)
	columnsTask, columnsSumTask                                                   func(task, worker int)
}

var normJobs = sync.Pool{New: func() any {
	j := &normJob{}
	j.statsTask, j.statsSumTask, j.applyTask = j.stats, j.statsSum, j.apply
	j.gradStatsTask, j.gradSumTask, j.gradApplyTask = j.gradStats, j.gradSum, j.gradApply
	j.columnsTask, j.columnsSumTask = j.columns, j.columnsSum
	return j
}}

func newNormJob(rows, c int) *normJob {
	j := normJobs.Get().(*normJob)
	j.rows, j.c = rows, c
	return j
}

func (j *normJob) free() {
	j.x, j.y, j.dy, j.dx, j.res = nil, nil, nil, nil, nil
	j.a, j.b, j.d, j.out1, j.out2, j.ws = nil, nil, nil, nil, nil, nil
	j.mask = NormMask{}
	normJobs.Put(j)
}

// buffer returns n floats that j keeps.
func (j *normJob) buffer(n int) []float32 {
	if cap(j.own) < n {
		j.own = make([]float32, n)
	}
	return j.own[:n]
}

// chunk returns the element range and the number of rows of a chunk.
func (j *normJob) chunk(i int) (lo, hi, rows int) {
	r := normRows(j.c)
	rows = min(r, j.rows-i*r)
	return i * r * j.c, (i*r + rows) * j.c, rows
}

// part returns the i-th of the three result rows of a chunk.
func (j *normJob) part(chunk, i int) []float32 { return j.ws[(3*chunk+i)*j.c:][:j.c] }

func (j *normJob) stats(task, _ int) {
	lo, hi, rows := j.chunk(task)
	rowMoments(j.ws[3*task*j.c:][:3*j.c], j.x[lo:hi], rows, j.c)
}

// rowMoments writes the mean of every column of x [rows,c] and its sum of
// squared deviations to part [3,c], whose last row is scratch.
func rowMoments(part, x []float32, rows, c int) {
	mean, m2, s1 := part[:c], part[c:2*c], part[2*c:3*c]
	columnSums(mean, x, rows, c)
	inv := 1 / float32(rows)
	Scale(mean, mean, inv)
	columnMoments(s1, m2, x, mean, rows, c)
	for i, s := range s1 {
		mean[i] += s * inv
		m2[i] = max(0, m2[i]-s*s*inv)
	}
}

func (j *normJob) statsSum(task, _ int) {
	chunks, full := normChunks(j.rows, j.c), float64(normRows(j.c))
	_, _, rest := j.chunk(chunks - 1)
	lo := task * normColumns
	combineMoments(j.out1, j.out2, j.ws, chunks, j.c, lo, min(j.c, lo+normColumns), float64(j.rows), func(k int) float64 {
		if k == chunks-1 {
			return float64(rest)
		}
		return full
	})
}

// combineMoments computes mean and variance of the columns [lo,hi), at most
// normColumns, from the results of rowMoments for consecutive parts of all
// rows; weight returns the rows of a part.
func combineMoments(mean, variance, parts []float32, n, c, lo, hi int, rows float64, weight func(part int) float64) {
	var sum, m2 [normColumns]float64
	for k := range n {
		w := weight(k)
		for i, m := range parts[3*k*c:][lo:hi] {
			sum[i] += w * float64(m)
		}
	}
	for i := range sum {
		sum[i] /= rows
	}
	for k := range n {
		w := weight(k)
		second := parts[(3*k+1)*c:][lo:hi]
		for i, m := range parts[3*k*c:][lo:hi] {
			d := float64(m) - sum[i]
			m2[i] += float64(second[i]) + w*d*d
		}
	}
	for i := range hi - lo {
		mean[lo+i] = float32(sum[i])
		variance[lo+i] = float32(m2[i] / rows)
	}
}

func (j *normJob) apply(task, _ int) {
	lo, hi, rows := j.chunk(task)
	var res []float32
	if j.res != nil {
		res = j.res[lo:hi]
	}
	normApply(j.y[lo:hi], j.x[lo:hi], res, j.a, j.b, rows, j.c, j.clip)
}

func (j *normJob) gradStats(task, _ int) {
	lo, hi, rows := j.chunk(task)
	normGradSums(j.part(task, 0), j.part(task, 1), j.dy[lo:hi], j.x[lo:hi], j.mask.slice(lo, hi), j.a, rows, j.c)
}

func (j *normJob) gradSum(task, _ int) {
	lo := task * normColumns
	combineGradSums(j.out1, j.out2, j.ws, normChunks(j.rows, j.c), j.c, lo, min(j.c, lo+normColumns), j.b)
}

// combineGradSums adds up rows 0 and 1 of n parts [3,c] for the columns [lo,hi),
// at most normColumns, the second multiplied by invstd.
func combineGradSums(dbeta, dgamma, parts []float32, n, c, lo, hi int, invstd []float32) {
	var s1, s2 [normColumns]float64
	for k := range n {
		for i, v := range parts[3*k*c:][lo:hi] {
			s1[i] += float64(v)
		}
		for i, v := range parts[(3*k+1)*c:][lo:hi] {
			s2[i] += float64(v)
		}
	}
	for i := range hi - lo {
		dbeta[lo+i] = float32(s1[i])
		dgamma[lo+i] = float32(s2[i] * float64(invstd[lo+i]))
	}
}

func (j *normJob) gradApply(task, _ int) {
	lo, hi, rows := j.chunk(task)
	var res []float32
	if j.res != nil {
		res = j.res[lo:hi]
	}
	normGradApply(j.dx[lo:hi], res, j.dy[lo:hi], j.x[lo:hi], j.mask.slice(lo, hi), j.a, j.b, j.d, rows, j.c, j.accumulate, j.accumulateRes)
}

func (j *normJob) columns(task, _ int) {
	lo, hi, rows := j.chunk(task)
	columnSums(j.ws[task*j.c:][:j.c], j.x[lo:hi], rows, j.c)
}

func (j *normJob) columnsSum(task, _ int) {
	lo := task * normColumns
	hi := min(j.c, lo+normColumns)
	var sum [normColumns]float64
	if j.accumulate {
		for i, v := range j.out1[lo:hi] {
			sum[i] = float64(v)
		}
	}
	for k := range normChunks(j.rows, j.c) {
		for i, v := range j.ws[k*j.c:][lo:hi] {
			sum[i] += float64(v)
		}
	}
	for i := range hi - lo {
		j.out1[lo+i] = float32(sum[i])
	}
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}
