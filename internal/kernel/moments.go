package kernel

// moments are the sums over the rows of an activation [N·H·W,C]: three rows of
// C for every run of chunks, summed in strips that fit the caches.
type moments struct {
	c, strip int
	weights  []float64 // rows of every run
	total    float64
}

// newMoments has runs runs of chunks of images.
func newMoments(f *FusedConv, runs, pixels, c int) moments {
	m := moments{c: c, strip: normRows(c), total: float64(f.s.N * pixels)}
	for r := range runs {
		first, _ := f.chunk(r * f.chunks / runs)
		last, n := f.chunk((r+1)*f.chunks/runs - 1)
		m.weights = append(m.weights, float64((last+n-first)*pixels))
	}
	return m
}

// size returns the floats of the sums of all runs.
func (m *moments) size() int { return 3 * m.c * len(m.weights) }

// scratch returns the floats that one strip needs.
func (m *moments) scratch() int { return 3 * m.c }

func (m *moments) columns() int { return (m.c + normColumns - 1) / normColumns }

// part returns the sums of a run.
func (m *moments) part(ws []float32, run int) []float32 { return ws[3*run*m.c:][:3*m.c] }

// add adds the rows x to the sums of a run: the deviations from the mean of the
// run's first strip, which is near enough to that of the run for their sums to
// lose nothing, and their squares.
func (m *moments) add(part, x, scratch []float32, first bool) {
	c := m.c
	mean, m2, s1 := part[:c], part[c:2*c], part[2*c:]
	rows := len(x) / c
	if first {
		n := min(rows, m.strip)
		columnSums(mean, x[:n*c], n, c)
		Scale(mean, mean, 1/float32(n))
		clear(part[c:])
	}
	for r := 0; r < rows; r += m.strip {
		n := min(m.strip, rows-r)
		columnMoments(scratch[:c], scratch[c:2*c], x[r*c:(r+n)*c], mean, n, c)
		Add(s1, s1, scratch[:c])
		Add(m2, m2, scratch[c:2*c])
	}
}

// finish turns the sums of a run into its mean and sum of squared deviations.
func (m *moments) finish(part []float32, run int) {
	c := m.c
	mean, m2 := part[:c], part[c:2*c]
	inv := float32(1 / m.weights[run])
	for i, s := range part[2*c:] {
		mean[i] += s * inv
		m2[i] = max(0, m2[i]-s*s*inv)
	}
}

// addGrad adds the sums of normGradSums to those of a run.
func (m *moments) addGrad(part, dy, x []float32, mask NormMask, mean, scratch []float32, first bool) {
	c := m.c
	if first {
		clear(part)
	}
	rows := len(x) / c
	for r := 0; r < rows; r += m.strip {
		n := min(m.strip, rows-r)
		lo, hi := r*c, (r+n)*c
		normGradSums(scratch[:c], scratch[c:2*c], dy[lo:hi], x[lo:hi], mask.slice(lo, hi), mean, n, c)
		Add(part[:c], part[:c], scratch[:c])
		Add(part[c:2*c], part[c:2*c], scratch[c:2*c])
	}
}
