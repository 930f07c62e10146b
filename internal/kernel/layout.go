package kernel

import "sync"

// NCHWToNHWC writes dst[n,i,c] = src[n,c,i] for src [n,c,hw], dst [n,hw,c].
func NCHWToNHWC(p *Pool, dst, src []float32, n, c, hw int) {
	transposeImages(p, dst, src, n, c, hw)
}

// NHWCToNCHW writes dst[n,c,i] = src[n,i,c] for src [n,hw,c], dst [n,c,hw].
func NHWCToNCHW(p *Pool, dst, src []float32, n, c, hw int) {
	transposeImages(p, dst, src, n, hw, c)
}

// transposeImages transposes n matrices [rows,cols].
func transposeImages(p *Pool, dst, src []float32, n, rows, cols int) {
	j := transposeJobs.Get().(*transposeJob)
	j.dst, j.src, j.rows, j.cols = dst, src, rows, cols
	p.Run(n*j.strips(), j.task)
	j.dst, j.src = nil, nil
	transposeJobs.Put(j)
}

type transposeJob struct {
	dst, src   []float32
	rows, cols int
	task       func(task, worker int)
}

var transposeJobs = sync.Pool{New: func() any {
	j := &transposeJob{}
	j.task = j.strip
	return j
}}

const (
	transposeSide = 32
	// transposeFew is the number of rows or columns up to which the long side is
	// walked in one go.
	transposeFew = 4
)

func (j *transposeJob) strips() int {
	if j.rows <= transposeFew || j.cols <= transposeFew {
		return 1
	}
	return (j.cols + transposeSide - 1) / transposeSide
}

// strip transposes some columns of one matrix.
func (j *transposeJob) strip(task, _ int) {
	rows, cols, strips := j.rows, j.cols, j.strips()
	img := task / strips
	s, d := j.src[img*rows*cols:][:rows*cols], j.dst[img*rows*cols:][:rows*cols]
	switch {
	case rows <= transposeFew:
		for r := range rows {
			o := r
			for _, v := range s[r*cols:][:cols] {
				d[o] = v
				o += rows
			}
		}
		return
	case cols <= transposeFew:
		for c := range cols {
			i := c
			out := d[c*rows:][:rows]
			for k := range out {
				out[k] = s[i]
				i += cols
			}
		}
		return
	}
	c0 := task % strips * transposeSide
	c1 := min(cols, c0+transposeSide)
	for r0 := 0; r0 < rows; r0 += transposeSide {
		r1 := min(rows, r0+transposeSide)
		for c := c0; c < c1; c++ {
			out := d[c*rows+r0 : c*rows+r1]
			i := r0*cols + c
			for k := range out {
				out[k] = s[i]
				i += cols
			}
		}
	}
}
