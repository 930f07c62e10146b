package op

import (
	"slices"

	"github.com/onnxprune/onnxprune/internal/kernel"
)

// factor is a row-major tensor with the labels of its axes. An axis of length 1
// broadcasts.
type factor struct {
	v      []float32
	labels []label
	shape  []int
}

// stride returns how far apart two neighbours along a label lie in the factor.
func (f factor) stride(l label) int {
	s := 0
	for a, str := range Strides(f.shape, RowMajor) {
		if f.labels[a] == l && f.shape[a] != 1 {
			s += str
		}
	}
	return s
}

func (f factor) has(l label) bool {
	for a, k := range f.labels {
		if k == l && f.shape[a] != 1 {
			return true
		}
	}
	return false
}

// compute writes the sums of products of the factors into dst.
func (k *contraction) compute(c *Context, dst factor, fs []factor) {
	if m := newMatrixProduct(k, dst, fs); m != nil && m.ok {
		m.run(c, dst, fs)
		return
	}
	clear(dst.v)
	// Labels of dst come first: their elements are summed one after the other.
	labels := slices.Clone(k.labels)
	slices.SortStableFunc(labels, func(a, b label) int {
		return int(truth(dst.stride(b) != 0) - truth(dst.stride(a) != 0))
	})
	dims := make([]int, len(labels))
	str := make([][]int, 1+len(fs))
	kept := 1
	for i, l := range labels {
		dims[i] = k.dims[l]
		str[0] = append(str[0], dst.stride(l))
		for j, f := range fs {
			str[1+j] = append(str[1+j], f.stride(l))
		}
		if dst.stride(l) != 0 {
			kept *= dims[i]
		}
	}
	if Size(dims) == 0 {
		return
	}
	inner := Size(dims) / kept
	c.Parallel(kept, inner*(1+len(fs)), func(lo, hi int) {
		at := make([]int, 1+len(fs))
		for p := lo; p < hi; p++ {
			sum := 0.0
			for q := range inner {
				clear(at)
				rest := p*inner + q
				for i := len(dims) - 1; i >= 0; i-- {
					x := rest % dims[i]
					rest /= dims[i]
					for j := range at {
						at[j] += x * str[j][i]
					}
				}
				v := 1.0
				for j, f := range fs {
					v *= float64(f.v[at[1+j]])
				}
				sum += v
			}
			dst.v[at[0]] += float32(sum)
		}
	})
}

// matrixProduct is a contraction of two factors a and b as products of matrices
// [m,k]·[k,n], batch of them. ok is false where it is none.
type matrixProduct struct {
	ok                       bool
	batch, m, n, k           []label
	nb, nm, nn, nk           int
	dims                     map[label]int
	spaceA, spaceB, spaceDst int // floats for operands in another order
}

func newMatrixProduct(c *contraction, dst factor, fs []factor) *matrixProduct {
	p := &matrixProduct{dims: c.dims, nb: 1, nm: 1, nn: 1, nk: 1}
	if len(fs) != 2 {
		return p
	}
	for _, f := range append([]factor{dst}, fs...) {
		for i, l := range f.labels {
			if slices.Contains(f.labels[:i], l) || f.shape[i] != c.dims[l] {
				return p // a diagonal or a broadcast axis
			}
		}
	}
	for _, l := range c.labels {
		d := c.dims[l]
		switch a, b, y := fs[0].holds(l), fs[1].holds(l), dst.holds(l); {
		case d == 0:
			return p
		case a && b && y:
			p.batch, p.nb = append(p.batch, l), p.nb*d
		case a && y:
			p.m, p.nm = append(p.m, l), p.nm*d
		case b && y:
			p.n, p.nn = append(p.n, l), p.nn*d
		case a && b:
			p.k, p.nk = append(p.k, l), p.nk*d
		default:
			return p // summed in one factor alone, or repeated in dst
		}
	}
	p.ok = p.nm*p.nn > 1 && p.nk > 1
	p.spaceA = p.space(fs[0], p.batch, p.m, p.k)
	p.spaceB = p.space(fs[1], p.batch, p.k, p.n)
	p.spaceDst = p.space(dst, p.batch, p.m, p.n)
	return p
}

// holds reports whether the factor has an axis of that label.
func (f factor) holds(l label) bool { return slices.Contains(f.labels, l) }

// space returns 0 where f has its axes in the order of the groups, otherwise its
// size.
func (p *matrixProduct) space(f factor, groups ...[]label) int {
	if slices.Equal(f.labels, slices.Concat(groups...)) {
		return 0
	}
	return Size(f.shape)
}

func (p *matrixProduct) workspace() int {
	if !p.ok {
		return 0
	}
	return p.spaceA + p.spaceB + p.spaceDst + p.product()
}

func (p *matrixProduct) product() int {
	return kernel.GemmBatchedWorkspace(p.nb, false, false, p.nm, p.nn, p.nk, p.nm*p.nk, p.nk*p.nn)
}

func (p *matrixProduct) run(c *Context, dst factor, fs []factor) {
	ws := c.scratch(p.workspace())
	take := func(n int) []float32 {
		v := ws[:n]
		ws = ws[n:]
		return v
	}
	arrange := func(f factor, space int, groups ...[]label) []float32 {
		if space == 0 {
			return f.v
		}
		v := take(space)
		shape, str := p.order(f, groups...)
		move(c, shape, v, 0, Strides(shape, RowMajor), f.v, 0, str)
		return v
	}
	a := arrange(fs[0], p.spaceA, p.batch, p.m, p.k)
	b := arrange(fs[1], p.spaceB, p.batch, p.k, p.n)
	y := dst.v
	if p.spaceDst > 0 {
		y = take(p.spaceDst)
	}
	kernel.GemmBatched(c.pool(), p.nb, false, false, p.nm, p.nn, p.nk, 1, a, p.nk, p.nm*p.nk, b, p.nn, p.nk*p.nn, 0, y, p.nn, p.nm*p.nn, ws)
	if p.spaceDst > 0 {
		shape, str := p.order(dst, p.batch, p.m, p.n)
		move(c, shape, dst.v, 0, str, y, 0, Strides(shape, RowMajor))
	}
}

// order returns the lengths of groups of labels and their strides in f.
func (p *matrixProduct) order(f factor, groups ...[]label) (shape, str []int) {
	for _, l := range slices.Concat(groups...) {
		shape, str = append(shape, p.dims[l]), append(str, f.stride(l))
	}
	return shape, str
}
