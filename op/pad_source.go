package op

// window returns the box of elements that x and y share when x is laid at begin
// into y.
func (o *pad) window(begin []int, x, y *Tensor) (shape []int, xOff, yOff int) {
	shape = make([]int, len(begin))
	xs, ys := x.Strides(), y.Strides()
	for a, b := range begin {
		lo, hi := max(0, b), min(y.Shape[a], x.Shape[a]+b)
		shape[a] = max(0, hi-lo)
		yOff += lo * ys[a]
		xOff += (lo - b) * xs[a]
	}
	return shape, xOff, yOff
}

// sources returns, for every axis and position of y, the offset in x that the
// axis contributes.
func (o *pad) sources(begin, end []int, x, y *Tensor) [][]int {
	xs := x.Strides()
	tab := make([][]int, len(begin))
	for a := range tab {
		lo := max(0, -begin[a])
		n := x.Shape[a] - lo - max(0, -end[a])
		tab[a] = make([]int, y.Shape[a])
		for p := range tab[a] {
			tab[a][p] = (lo + o.source(p-max(0, begin[a]), n)) * xs[a]
		}
	}
	return tab
}

// source maps a position outside [0,n) into it.
func (o *pad) source(p, n int) int {
	switch {
	case o.mode == "edge" || n == 1:
		return max(0, min(n-1, p))
	case o.mode == "wrap":
		return ((p % n) + n) % n
	}
	period := 2 * (n - 1)
	p = ((p % period) + period) % period
	return min(p, period-p)
}

// lines calls f for all runs of y along its innermost axis in memory: the offset
// of the run in y, that of its origin in x, and the offsets in x from there.
func lines(c *Context, y *Tensor, tab [][]int, f func(yo, xo int, inner []int)) {
	r := y.Rank()
	if r == 0 {
		f(0, 0, []int{0})
		return
	}
	order := make([]int, r) // axes from outermost to innermost in memory
	for i := range order {
		order[i] = i
	}
	if y.Layout == ChannelsLast && r >= 3 {
		order = append(append(append(order[:0], 0), order[2:]...), 1)
	}
	shape := permute(y.Shape, order)
	n := shape[r-1]
	c.Parallel(Size(shape[:r-1]), n, func(lo, hi int) {
		for l := lo; l < hi; l++ {
			xo, rest := 0, l
			for i := r - 2; i >= 0; i-- {
				xo += tab[order[i]][rest%shape[i]]
				rest /= shape[i]
			}
			f(l*n, xo, tab[order[r-1]])
		}
	})
}
