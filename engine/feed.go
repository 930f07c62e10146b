package engine

// Feed copies rows of samples, one slice per input, into the inputs of a plan. Rows that are missing
// repeat the first. An input without the batch gets the first row.
func (p *Plan) Feed(rows [][]float32, n int) {
	for k, in := range p.Inputs {
		samples := p.Batch
		if p.unbatched[k] {
			samples = 1
		}
		per := in.Size() / samples
		for r := range samples {
			from := r
			if r >= n {
				from = 0
			}
			row := rows[k][from*per : (from+1)*per]
			if in.F != nil {
				copy(in.F[r*per:], row)
				continue
			}
			for i, v := range row {
				in.I[r*per+i] = int64(v)
			}
		}
	}
}
