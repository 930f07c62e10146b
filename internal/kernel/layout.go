package kernel

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
	const side = 32
	strips := (cols + side - 1) / side
	p.Run(n*strips, func(task, _ int) {
		img, c0 := task/strips, task%strips*side
		s, d := src[img*rows*cols:][:rows*cols], dst[img*rows*cols:][:rows*cols]
		c1 := min(cols, c0+side)
		for r0 := 0; r0 < rows; r0 += side {
			r1 := min(rows, r0+side)
			for c := c0; c < c1; c++ {
				out := d[c*rows+r0 : c*rows+r1]
				i := r0*cols + c
				for k := range out {
					out[k] = s[i]
					i += cols
				}
			}
		}
	})
}
