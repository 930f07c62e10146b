package kernel

import (
	"fmt"
	"sync"
)

// gemmRows is how many rows of C one task computes; a multiple of all tile
// heights.
const gemmRows = 96

// Gemm computes C = alpha·op(A)·op(B) + beta·C for row-major matrices.
//
// op(A) is [m,k], op(B) is [k,n], C is [m,n]; lda, ldb and ldc are the lengths
// of the stored rows, so a transposed A is stored [k,m] with rows of lda. With
// beta 0 the old C is not read. ws has GemmWorkspace floats.
func Gemm(p *Pool, transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int, ws []float32) {
	GemmBatched(p, 1, transA, transB, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, ws)
}

// GemmWorkspace returns how many floats of workspace Gemm needs.
func GemmWorkspace(transA, transB bool, m, n, k int) int {
	return GemmBatchedWorkspace(1, transA, transB, m, n, k, 0, 0)
}

// GemmBatchedWorkspace returns how many floats of workspace GemmBatched needs.
func GemmBatchedWorkspace(batch int, transA, transB bool, m, n, k, strideA, strideB int) int {
	g := gemmLayout(batch, transA, transB, m, n, k, strideA, strideB)
	return g.packedA() + g.packedB()
}

// GemmBatched computes batch products like Gemm. strideA, strideB and strideC
// are the elements between one matrix and the next; a stride of 0 shares the
// operand. strideC must not be 0 when batch exceeds 1.
func GemmBatched(p *Pool, batch int, transA, transB bool, m, n, k int, alpha float32, a []float32, lda, strideA int, b []float32, ldb, strideB int, beta float32, c []float32, ldc, strideC int, ws []float32) {
	if batch <= 0 || m <= 0 || n <= 0 {
		return
	}
	checkMatrix("A", a, batch, transA, m, k, lda, strideA)
	checkMatrix("B", b, batch, transB, k, n, ldb, strideB)
	checkMatrix("C", c, batch, false, m, n, ldc, strideC)
	if batch > 1 && strideC == 0 {
		panic("kernel: batched products must not share C")
	}
	g := gemmLayout(batch, transA, transB, m, n, k, strideA, strideB)
	checkLen("workspace", ws, g.packedA()+g.packedB())
	j := gemmJobs.Get().(*gemmJob)
	j.gemmShape = g
	j.alpha, j.beta = alpha, beta
	j.a, j.lda, j.b, j.ldb, j.c, j.ldc, j.strideC = a, lda, b, ldb, c, ldc, strideC
	j.pool = p
	j.pa, j.pb = ws[:g.packedA()], ws[g.packedA():][:g.packedB()]
	chunks := (m + gemmRows - 1) / gemmRows
	switch {
	case k <= 0 || alpha == 0:
		p.Run(batch*chunks, j.scaleTask)
	case g.outer:
		p.Run(batch*chunks*g.blocks, j.outerTask)
	default:
		if g.packA > 0 {
			p.Run(g.packA*chunks, j.packATask)
			j.a, j.lda, j.strideA = j.pa, k, m*k
			if g.packA == 1 {
				j.strideA = 0
			}
		}
		if g.packB > 0 {
			p.Run(g.packB*g.blocks, j.packBTask)
		}
		p.Run(batch*chunks*g.blocks, j.tileTask)
	}
	j.a, j.b, j.c, j.pa, j.pb, j.pool = nil, nil, nil, nil, nil, nil
	gemmJobs.Put(j)
}

func checkMatrix(name string, s []float32, batch int, trans bool, rows, cols, ld, stride int) {
	if trans {
		rows, cols = cols, rows
	}
	if rows == 0 || cols == 0 {
		return
	}
	if ld < cols {
		panic(fmt.Sprintf("kernel: matrix %s has rows of %d, want at least %d", name, ld, cols))
	}
	checkLen(name, s, (batch-1)*stride+(rows-1)*ld+cols)
}

// gemmShape is how a product is carried out.
//
// A transposed A next to a plain B is a sum of outer products, as in the
// gradient by weights, and needs no packing. Everything else packs op(B) into
// blocks of columns and runs the convolution tile over the rows of op(A). With
// few rows a block is used by one task, which packs it for itself.
type gemmShape struct {
	batch, m, n, k   int
	transA, transB   bool
	strideA, strideB int
	outer            bool
	packA, packB     int // matrices to pack ahead of the tiles
	blocks           int // column blocks
}

func gemmLayout(batch int, transA, transB bool, m, n, k, strideA, strideB int) gemmShape {
	g := gemmShape{batch: batch, m: m, n: n, k: k, transA: transA, transB: transB, strideA: strideA, strideB: strideB}
	g.blocks = (n + 31) / 32
	if transA && !transB && m >= 16 {
		g.outer = true
		return g
	}
	count := func(stride int) int {
		if stride == 0 {
			return 1
		}
		return batch
	}
	if m > gemmRows {
		g.packB = count(strideB)
	}
	if transA {
		g.packA = count(strideA)
	}
	return g
}

func (g *gemmShape) packedA() int { return g.packA * g.m * g.k }
func (g *gemmShape) packedB() int { return g.packB * g.columns() * g.k }

// columns returns n rounded up to whole blocks.
func (g *gemmShape) columns() int {
	if r := g.n % 32; r > 0 && r <= 16 {
		return g.n - r + 16
	}
	return (g.n + 31) / 32 * 32
}

// block returns the first column, the number of columns and the width of a
// column block.
func (g *gemmShape) block(i int) (col, lanes, width int) {
	col = 32 * i
	lanes = min(32, g.n-col)
	if lanes <= 16 {
		return col, lanes, 16
	}
	return col, lanes, 32
}

type gemmJob struct {
	gemmShape
	pool                                                 *Pool
	alpha, beta                                          float32
	a, b, c, pa, pb                                      []float32
	lda, ldb, ldc, strideC                               int
	scaleTask, packATask, packBTask, tileTask, outerTask func(task, worker int)
}

var gemmJobs = sync.Pool{New: func() any {
	j := &gemmJob{}
	j.scaleTask = j.scale
	j.packATask = j.packRowsA
	j.packBTask = j.packColumnsB
	j.tileTask = j.tiles
	j.outerTask = j.outerTiles
	return j
}}

// task splits a task number into matrix, row chunk and the rest.
func (j *gemmJob) split(task, per int) (matrix, row, rows, rest int) {
	chunks := (j.m + gemmRows - 1) / gemmRows
	rest, task = task%per, task/per
	row = task % chunks * gemmRows
	return task / chunks, row, min(gemmRows, j.m-row), rest
}

func (j *gemmJob) scale(task, _ int) {
	matrix, row, rows, _ := j.split(task, 1)
	j.scaleC(matrix*j.strideC+row*j.ldc, rows, j.n)
}

// scaleC multiplies a part of C by beta.
func (j *gemmJob) scaleC(off, rows, cols int) {
	for r := range rows {
		c := j.c[off+r*j.ldc:][:cols]
		if j.beta == 0 {
			clear(c)
		} else {
			Scale(c, c, j.beta)
		}
	}
}

// packRowsA writes rows of a transposed A in order.
func (j *gemmJob) packRowsA(task, _ int) {
	matrix, row, rows, _ := j.split(task, 1)
	src := j.a[matrix*j.strideA:]
	dst := j.pa[matrix*j.m*j.k:]
	for k := range j.k {
		for i, v := range src[k*j.lda+row:][:rows] {
			dst[(row+i)*j.k+k] = v
		}
	}
}

// packColumnsB writes one block of columns of alpha·op(B).
func (j *gemmJob) packColumnsB(task, _ int) {
	matrix, bl := task/j.blocks, task%j.blocks
	col, _, width := j.block(bl)
	j.pack(j.pb[matrix*j.columns()*j.k+col*j.k:][:j.k*width], matrix, bl, 0)
}

// pack writes rows k0 to k0+len(dst)/width of a block of columns of alpha·op(B)
// as [k][width].
func (j *gemmJob) pack(dst []float32, matrix, bl, k0 int) {
	col, lanes, width := j.block(bl)
	n := len(dst) / width
	src := j.b[matrix*j.strideB:]
	switch {
	case j.transB:
		packTransposed(dst, src[col*j.ldb+k0:], n, lanes, width, j.ldb)
	case lanes == 32:
		for k := range n {
			*(*[32]float32)(dst[k*32:]) = *(*[32]float32)(src[(k0+k)*j.ldb+col:])
		}
	default:
		for k := range n {
			d := dst[k*width:][:width]
			clear(d[copy(d, src[(k0+k)*j.ldb+col:][:lanes]):])
		}
	}
	if j.alpha != 1 {
		Scale(dst, dst, j.alpha)
	}
}

// packTransposed writes dst[k·width+l] = src[l·ld+k] for k < n and l < lanes.
func packTransposed(dst, src []float32, n, lanes, width, ld int) {
	if lanes < width {
		clear(dst)
	}
	l := 0
	for ; l+8 <= lanes; l += 8 {
		s0, s1, s2, s3 := src[l*ld:][:n], src[(l+1)*ld:][:n], src[(l+2)*ld:][:n], src[(l+3)*ld:][:n]
		s4, s5, s6, s7 := src[(l+4)*ld:][:n], src[(l+5)*ld:][:n], src[(l+6)*ld:][:n], src[(l+7)*ld:][:n]
		for k := range s0 {
			d := (*[8]float32)(dst[k*width+l:])
			d[0], d[1], d[2], d[3] = s0[k], s1[k], s2[k], s3[k]
			d[4], d[5], d[6], d[7] = s4[k], s5[k], s6[k], s7[k]
		}
	}
	for ; l < lanes; l++ {
		for k, v := range src[l*ld:][:n] {
			dst[k*width+l] = v
		}
	}
}

// gemmDepth is how many rows of op(B) a task packs for itself at a time.
const gemmDepth = 2048

func (j *gemmJob) tiles(task, worker int) {
	matrix, row, rows, bl := j.split(task, j.blocks)
	col, lanes, width := j.block(bl)
	var in, out [gemmRows + tileSlack]int32
	for i := range in {
		in[i], out[i] = -1, -1
		if i < rows {
			in[i], out[i] = int32(i*j.lda), int32(i*j.ldc)
		}
	}
	var first [1]int32
	c := matrix*j.strideC + row*j.ldc + col
	t := tileArgs{
		zero: &zeros(j.k)[0],
		in:   &in[0], out: &out[0], rows: &first[0],
		y:    &j.c[c],
		taps: 1, n: rows, lanes: lanes, width: width,
		lo: -inf32, hi: inf32,
	}
	if j.beta != 0 {
		if j.beta != 1 {
			j.scaleC(c, rows, lanes)
		}
		t.res = t.y
	}
	a := j.a[matrix*j.strideA+row*j.lda:]
	if j.packB > 0 {
		pb := j.pb[col*j.k:]
		if j.packB > 1 {
			pb = pb[matrix*j.columns()*j.k:]
		}
		t.x, t.w, t.cin = &a[0], &pb[0], j.k
		tile(&t)
		return
	}
	pb := j.pool.scratch(worker, min(j.k, gemmDepth)*width)
	for k := 0; k < j.k; k += gemmDepth {
		t.cin = min(gemmDepth, j.k-k)
		j.pack(pb[:t.cin*width], matrix, bl, k)
		t.x, t.w = &a[k], &pb[0]
		tile(&t)
		t.res = t.y
	}
}

// outerDepth is how many rows of B a task of outer products copies at a time.
const outerDepth = 256

func (j *gemmJob) outerTiles(task, worker int) {
	matrix, row, rows, bl := j.split(task, j.blocks)
	col, lanes, width := j.block(bl)
	height := gradRows(width)
	a, b := j.a[matrix*j.strideA:], j.b[matrix*j.strideB+col:]
	var acc [gemmRows * 32]float32
	var pairs [2 * outerDepth]int32
	for i := range min(outerDepth, j.k) {
		pairs[2*i], pairs[2*i+1] = int32(i*j.lda), int32(i*width)
	}
	pb := j.pool.scratch(worker, outerDepth*width)
	for k := 0; k < j.k; k += outerDepth {
		n := min(outerDepth, j.k-k)
		for i := range n {
			copy(pb[i*width:][:lanes], b[(k+i)*j.ldb:])
		}
		for r := 0; r < rows; r += height {
			start := min(row+r, j.m-height)
			grad(&gradArgs{
				x: &a[k*j.lda+start], dy: &pb[0], pairs: &pairs[0], acc: &acc[r*width],
				n: n, lanes: lanes, width: width,
			})
		}
	}
	for i := range rows {
		tile := min(row+i/height*height, j.m-height)
		s := acc[i/height*height*width:][(row+i-tile)*width:]
		c := j.c[matrix*j.strideC+(row+i)*j.ldc+col:][:lanes]
		switch {
		case j.beta != 0:
			for l := range c {
				c[l] = j.alpha*s[l] + j.beta*c[l]
			}
		case j.alpha != 1:
			for l := range c {
				c[l] = j.alpha * s[l]
			}
		default:
			copy(c, s)
		}
	}
}
