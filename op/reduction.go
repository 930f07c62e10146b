package op

import "github.com/onnxprune/onnxprune/internal/kernel"

// reduction folds a tensor over some of its axes, in an order that depends on
// the shape only. The zero value sums.
type reduction struct {
	// init is the result over no elements.
	init float64
	// each, if not nil, computes what is folded from the operands; otherwise that
	// is operand 0.
	each func(e []float32, x *vectors)
	// fold, if not nil, replaces the addition.
	fold func(acc, v float64) float64
	// done, if not nil, is applied to every result.
	done func(acc float64) float64
}

// flushAfter is the number of float32 vectors that are added before the sum
// moves to float64.
const flushAfter = 32

// run writes the reduction of ops over shape. dst has stride 0 along the
// reduced axes and is dense over the others; ops[0] is dense over shape.
func (r *reduction) run(c *Context, shape []int, dst operand, ops ...operand) {
	if Size(shape) == 0 {
		for i := range dst.v {
			dst.v[i] = r.finish(r.init)
		}
		return
	}
	str := [][]int{ops[0].str, dst.str}
	for _, p := range ops[1:] {
		str = append(str, p.str)
	}
	g := r.plan(newWalk(shape, str...))
	var part []float64
	if g.chunks > 1 {
		part = make([]float64, g.kept.size()*g.pieces*g.chunks*g.width)
	}
	outputs := g.kept.size() * g.pieces
	c.Parallel(outputs*g.chunks, g.chunk*g.k*g.piece, func(lo, hi int) {
		l := newLanes()
		for u := lo; u < hi; u++ {
			width, at := g.unit(r, l, u/g.chunks, u%g.chunks, ops)
			if part != nil {
				copy(part[u*g.width:], l.acc[:width])
				continue
			}
			for i, v := range l.acc[:width] {
				dst.v[at+i*g.s[1]] = r.finish(v)
			}
		}
		lanePool.Put(l)
	})
	if part == nil {
		return
	}
	for p := 0; p < outputs; p++ {
		o, n := g.place(p)
		for i := 0; i < min(g.width, n); i++ {
			acc := part[p*g.chunks*g.width+i]
			for t := 1; t < g.chunks; t++ {
				v := part[(p*g.chunks+t)*g.width+i]
				if r.fold != nil {
					acc = r.fold(acc, v)
				} else {
					acc += v
				}
			}
			dst.v[o[1]+i*g.s[1]] = r.finish(acc)
		}
	}
}

func (r *reduction) finish(v float64) float32 {
	if r.done != nil {
		v = r.done(v)
	}
	return float32(v)
}

// reductionPlan divides a reduction into units: one piece of the innermost
// axis if that is kept, otherwise one element; and of what is folded into it
// one chunk of steps. A step is k rows by one piece.
type reductionPlan struct {
	kept, reduced odometer
	n, piece      int
	s             offsets
	columns       bool // the innermost axis is kept
	pieces        int  // of the innermost axis, if it is kept
	split         int  // pieces of the innermost axis, if it is reduced
	k, rows       int
	rs            offsets
	width         int
	chunk, chunks int
}

func (r *reduction) plan(w *walk) *reductionPlan {
	last := len(w.dims) - 1
	g := &reductionPlan{n: w.dims[last], s: w.str[last], k: 1, rows: 1, pieces: 1, split: 1, width: 1}
	g.piece = min(g.n, block)
	g.columns = g.s[1] != 0
	if g.columns {
		g.pieces, g.width = (g.n+g.piece-1)/g.piece, g.piece
	} else {
		g.split = (g.n + g.piece - 1) / g.piece
	}
	for i := 0; i < last; i++ {
		d, s := w.dims[i], w.str[i]
		if s[1] != 0 {
			g.kept.dims, g.kept.str = append(g.kept.dims, d), append(g.kept.str, s)
			continue
		}
		if i == last-1 && g.columns && g.n <= block/2 {
			g.k, g.rows, g.rs = min(d, block/g.n), d, s
			d = (d + g.k - 1) / g.k
			for j := range s {
				s[j] *= g.k
			}
		}
		g.reduced.dims, g.reduced.str = append(g.reduced.dims, d), append(g.reduced.str, s)
	}
	steps := g.reduced.size() * g.split
	g.chunk = min(steps, max(1, grain/(g.k*g.piece)))
	g.chunks = (steps + g.chunk - 1) / g.chunk
	return g
}

// place returns the offsets of output position p and the elements from there
// to the end of the innermost axis.
func (g *reductionPlan) place(p int) (offsets, int) {
	o, at := g.kept.at(p/g.pieces), p%g.pieces*g.piece
	for j := range o {
		o[j] += at * g.s[j]
	}
	return o, g.n - at
}

// unit folds chunk t of output position p into l.acc.
func (g *reductionPlan) unit(r *reduction, l *lanes, p, t int, ops []operand) (width, at int) {
	base, n := g.place(p)
	n = min(n, g.piece)
	width = 1
	if g.columns {
		width = n
	}
	acc := l.acc[:width]
	for i := range acc {
		acc[i] = r.init
	}
	var x vectors
	held := 0
	sum := l.sum[:g.k*n]
	flush := func() {
		for i, v := range sum {
			acc[i%width] += float64(v)
		}
		held = 0
	}
	steps := g.reduced.size() * g.split
	for q := t * g.chunk; q < min(steps, (t+1)*g.chunk); q++ {
		o := g.reduced.at(q / g.split)
		rows, nn, from := 1, n, 0
		if g.k > 1 {
			groups := g.reduced.dims[len(g.reduced.dims)-1]
			rows = min(g.k, g.rows-q%groups*g.k)
		}
		if g.split > 1 {
			from = q % g.split * g.piece
			nn = min(g.piece, g.n-from)
		}
		for j, p := range ops {
			i := j
			if j > 0 {
				i = j + 1 // operand 1 of the walk is the output
			}
			x[j] = l.get(j, p.v, base[i]+o[i]+from*g.s[i], rows, nn, g.rs[i], g.s[i])
		}
		e := x[0]
		if r.each != nil {
			e = l.e[:rows*nn]
			r.each(e, &x)
		}
		switch {
		case r.fold != nil && !g.columns:
			a := acc[0]
			for _, v := range e {
				a = r.fold(a, float64(v))
			}
			acc[0] = a
		case r.fold != nil:
			for i := 0; i < len(e); i += width {
				for k, v := range e[i : i+width] {
					acc[k] = r.fold(acc[k], float64(v))
				}
			}
		case !g.columns:
			acc[0] += float64(kernel.Sum(e))
		default:
			if held == 0 {
				copy(sum, e)
				clear(sum[len(e):])
			} else {
				kernel.Add(sum[:len(e)], sum[:len(e)], e)
			}
			if held++; held == flushAfter {
				flush()
			}
		}
	}
	if held > 0 {
		flush()
	}
	return width, base[1]
}

// reduceTo writes dx = scale·Σ dy over the axes along which dx was broadcast.
func reduceTo(c *Context, dx, dy *Tensor, scale float32) {
	if scale == 1 && aligned(dx, dy) {
		c.sweep(len(dx.F), copyVector, dx.F, dy.F, nil, nil)
		return
	}
	if dx.Size() == dy.Size() {
		pointwise(c, dy.Shape, over(dx, dy.Shape), func(d []float32, x *vectors) {
			if scale == 1 {
				copy(d, x[0])
			} else {
				kernel.Scale(d, x[0], scale)
			}
		}, dense(dy))
		return
	}
	r := reduction{done: func(v float64) float64 { return float64(scale) * v }}
	r.run(c, dy.Shape, over(dx, dy.Shape), dense(dy))
}

// gradTo writes dx = Σ f(dy, ops…) over the axes along which dx was broadcast.
func gradTo(c *Context, dx, dy *Tensor, f func(d []float32, x *vectors), ops ...operand) {
	all := append([]operand{dense(dy)}, ops...)
	if dx.Size() == dy.Size() {
		pointwise(c, dy.Shape, over(dx, dy.Shape), f, all...)
		return
	}
	r := reduction{each: f}
	r.run(c, dy.Shape, over(dx, dy.Shape), all...)
}
