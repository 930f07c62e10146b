package op

import (
	"fmt"
	"slices"
	"strings"
)

// Einsum: every letter of the equation is an index; y sums the product of the
// inputs over all letters that it does not have. "…" stands for axes that
// broadcast; without "->" the letters that occur once are those of y, in order.
// https://onnx.ai/onnx/operators/onnx__Einsum.html
func init() {
	eq := func(s string) Attrs { return Attrs{"equation": StringAttr(s)} }
	Register(Def{
		Name: "Einsum", Since: 12, Params: []int{0, 1, 2, 3},
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			text := strings.ReplaceAll(r.String("equation", ""), " ", "")
			if text == "" {
				r.keep(fmt.Errorf("attribute %q is missing or empty", "equation"))
			}
			o := &einsum{}
			r.keep(o.read(text))
			return o, r.err
		},
		Reference: refEinsum,
		Cases: []Case{
			{Attrs: eq("ij,jk->ik"), In: []Arg{Rand(3, 4), Rand(4, 5)}},
			{Name: "heads", Attrs: eq("bqhd,bkhd->bhqk"), In: []Arg{Rand(2, 3, 2, 4), Rand(2, 5, 2, 4)}},
			{Name: "transposed", Attrs: eq("bij, bjk -> kbi"), In: []Arg{Rand(2, 3, 4), Rand(2, 4, 5)}},
			{Name: "implicit", Attrs: eq("ij,jk"), In: []Arg{Rand(3, 4), Rand(4, 2)}},
			{Name: "implicit order", Attrs: eq("ba"), In: []Arg{Rand(3, 4)}},
			{Name: "outer", Attrs: eq("i,j->ji"), In: []Arg{Rand(3), Rand(4)}},
			{Name: "inner", Attrs: eq("i,i"), In: []Arg{Rand(7), Rand(7)}},
			{Name: "sum", Attrs: eq("ij->i"), In: []Arg{Rand(3, 4)}},
			{Name: "diagonal", Attrs: eq("...ii->...i"), In: []Arg{Rand(2, 3, 3)}},
			{Name: "trace", Attrs: eq("ii"), In: []Arg{Rand(4, 4)}},
			{Name: "ellipsis", Attrs: eq("...ij,...jk->...ik"), In: []Arg{Rand(2, 1, 3, 4), Rand(5, 4, 2)}},
			{Name: "one-sided sum", Attrs: eq("ijk,j->j"), In: []Arg{Rand(2, 3, 4), Rand(3)}},
			{Name: "three", Attrs: eq("ab,bc,cd->ad"), In: []Arg{Rand(2, 3), Rand(3, 4), Rand(4, 2)}},
			{Name: "scalar", Attrs: eq("->"), In: []Arg{Rand()}},
			{Name: "unit", Attrs: eq("ij,ij->ij"), In: []Arg{Rand(3, 1), Rand(3, 4)}},
		},
	})
}

// label is a letter of an equation; those below 0 are axes of the ellipsis, −1 the
// last.
type label int

// einsum holds the equation. An ellipsis is the label 0 until the ranks are known.
type einsum struct {
	terms    [][]label
	out      []label
	implicit bool
}

// read parses an equation without spaces.
func (o *einsum) read(text string) error {
	left, right, explicit := strings.Cut(text, "->")
	for _, t := range strings.Split(left, ",") {
		ls, err := readTerm(t)
		if err != nil {
			return err
		}
		o.terms = append(o.terms, ls)
	}
	o.implicit = !explicit
	if !explicit {
		return nil
	}
	var err error
	if o.out, err = readTerm(right); err != nil {
		return err
	}
	seen := map[label]bool{}
	for _, l := range o.out {
		if seen[l] {
			return fmt.Errorf("attribute %q: the output names an index twice", "equation")
		}
		seen[l] = true
	}
	return nil
}

func readTerm(t string) ([]label, error) {
	var ls []label
	before, after, dots := strings.Cut(t, "...")
	for i, part := range []string{before, after} {
		if i == 1 && dots {
			ls = append(ls, 0)
		}
		for _, c := range part {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
				return nil, fmt.Errorf("attribute %q has %q, wants letters, \"...\", \",\" and \"->\"", "equation", c)
			}
			ls = append(ls, label(c))
		}
	}
	return ls, nil
}

// spellOut replaces the ellipsis of a term for a rank.
func spellOut(term []label, rank int) ([]label, error) {
	var ls []label
	letters := 0
	for _, l := range term {
		if l != 0 {
			letters++
		}
	}
	for _, l := range term {
		if l != 0 {
			ls = append(ls, l)
			continue
		}
		for k := letters - rank; k < 0; k++ {
			ls = append(ls, label(k))
		}
	}
	if len(ls) != rank {
		return nil, fmt.Errorf("a term of the equation has %d indices, its input rank %d", letters, rank)
	}
	return ls, nil
}

// contraction is the equation for known shapes.
type contraction struct {
	labels  []label // in order of first use
	dims    map[label]int
	in      [][]label
	out     []label
	product int
}

func (o *einsum) contraction(in []*Tensor) (*contraction, error) {
	if len(in) != len(o.terms) {
		return nil, fmt.Errorf("has %d inputs, the equation %d terms", len(in), len(o.terms))
	}
	c := &contraction{dims: map[label]int{}, product: 1}
	count := map[label]int{}
	wide := 0 // axes of the longest ellipsis
	for i, t := range o.terms {
		if in[i] == nil {
			return nil, fmt.Errorf("input %d is missing", i)
		}
		ls, err := spellOut(t, in[i].Rank())
		if err != nil {
			return nil, err
		}
		c.in = append(c.in, ls)
		for a, l := range ls {
			if l < 0 {
				wide = max(wide, int(-l))
			}
			d := in[i].Shape[a]
			old, seen := c.dims[l]
			if !seen {
				c.labels = append(c.labels, l)
			}
			count[l]++
			switch {
			case !seen || old == 1:
				c.dims[l] = d
			case d != 1 && d != old:
				return nil, fmt.Errorf("an index of the equation has length %d and %d", old, d)
			}
		}
	}
	c.out = o.outputs(c, count, wide)
	for _, l := range c.out {
		if _, ok := c.dims[l]; !ok {
			return nil, fmt.Errorf("the output of the equation has an index that no input has")
		}
	}
	for _, d := range c.dims {
		if d > 0 && c.product > maxSize/d {
			return nil, fmt.Errorf("the equation has more than %d products", int64(maxSize))
		}
		c.product *= max(1, d)
	}
	return c, nil
}

// outputs returns the labels of the output.
func (o *einsum) outputs(c *contraction, count map[label]int, wide int) []label {
	var out []label
	ellipsis := func() {
		for k := wide; k > 0; k-- {
			out = append(out, label(-k))
		}
	}
	if o.implicit {
		ellipsis()
		for l := label('A'); l <= 'z'; l++ {
			if count[l] == 1 {
				out = append(out, l)
			}
		}
		return out
	}
	for _, l := range o.out {
		if l == 0 {
			ellipsis()
		} else {
			out = append(out, l)
		}
	}
	return out
}

func (o *einsum) Infer(in []*Tensor) ([]*Tensor, error) {
	if len(in) > 32 { // Reads has a bit per input
		return nil, fmt.Errorf("has %d inputs, wants at most 32", len(in))
	}
	if err := wantFloats(in); err != nil {
		return nil, err
	}
	c, err := o.contraction(in)
	if err != nil {
		return nil, err
	}
	y := Info(in[0].Type)
	for _, l := range c.out {
		y.Shape = append(y.Shape, c.dims[l])
	}
	return []*Tensor{y}, checkSize(y.Shape)
}

// MACs counts the products of equations with two inputs and more.
func (o *einsum) MACs(in, out []*Tensor) int64 {
	c, err := o.contraction(in)
	if err != nil || len(in) < 2 {
		return 0
	}
	return int64(c.product) * int64(len(in)-1)
}

// Links: every index names the axes that go together.
func (o *einsum) Links(in, out []*Tensor) []Link {
	c, err := o.contraction(in)
	if err != nil {
		return nil
	}
	var links []Link
	for _, l := range c.labels {
		var link Link
		for i, ls := range c.in {
			for a, k := range ls {
				if k == l && in[i].Shape[a] == c.dims[l] {
					link = append(link, AxisRef{i, a})
				}
			}
		}
		for a, k := range c.out {
			if k == l {
				link = append(link, AxisRef{^0, a})
			}
		}
		if c.dims[l] > 1 {
			links = append(links, link)
		}
	}
	return links
}

// Zeros: a product is zero where a factor is.
func (o *einsum) Zeros(zero []bool) bool { return slices.Contains(zero, true) }

// Prepare: the workspace is that of all products that can be.
func (o *einsum) Prepare(in, out []*Tensor, training bool) (int, error) {
	c, err := o.contraction(in)
	if err != nil {
		return 0, err
	}
	y := factor{nil, c.out, out[0].Shape}
	ws := newMatrixProduct(c, y, o.factors(c, in, -1)).workspace()
	for i := range in {
		if training && len(in) == 2 {
			ws = max(ws, newMatrixProduct(c, factor{nil, c.in[i], in[i].Shape}, append(o.factors(c, in, i), y)).workspace())
		}
	}
	return ws, nil
}

func (o *einsum) factors(c *contraction, in []*Tensor, without int) []factor {
	var fs []factor
	for i, t := range in {
		if i != without {
			fs = append(fs, factor{t.F, c.in[i], t.Shape})
		}
	}
	return fs
}

func (o *einsum) Forward(c *Context, in, out []*Tensor) error {
	k, err := o.contraction(in)
	if err != nil {
		return err
	}
	k.compute(c, factor{out[0].F, k.out, out[0].Shape}, o.factors(k, in, -1))
	return nil
}

func (o *einsum) Reads() (in, out uint32) { return ^uint32(0), 0 }

// Backward: the gradient of an input is the equation with y in its place.
func (o *einsum) Backward(c *Context, in, out, dout, din []*Tensor) error {
	k, err := o.contraction(in)
	if err != nil {
		return err
	}
	dy := factor{dout[0].F, k.out, dout[0].Shape}
	for i, dx := range din {
		if dx != nil {
			k.compute(c, factor{dx.F, k.in[i], dx.Shape}, append(o.factors(k, in, i), dy))
		}
	}
	return nil
}

// refEinsum runs over all indices at once.
func refEinsum(n Node, in []*Array) []*Array {
	text := strings.ReplaceAll(n.Attrs["equation"].S, " ", "")
	left, right, explicit := strings.Cut(text, "->")
	terms := strings.Split(left, ",")
	// Upper case Greek letters stand for the axes of the ellipsis, from the last.
	dots := func(t string, rank int) string {
		s := ""
		for k := rank - (len(t) - 3); k > 0; k-- {
			s += string(rune('Α' + k))
		}
		return strings.Replace(t, "...", s, 1)
	}
	dims, most := map[rune]int{}, ""
	count := map[rune]int{}
	for i, t := range terms {
		if strings.Contains(t, "...") {
			if s := dots("...", len(in[i].Shape)-(len(t)-3)); len(s) > len(most) {
				most = s
			}
			terms[i] = dots(t, len(in[i].Shape))
		}
		for a, c := range []rune(terms[i]) {
			dims[c] = max(dims[c], in[i].Shape[a])
			count[c]++
		}
	}
	if !explicit {
		right = most
		for c := 'A'; c <= 'z'; c++ {
			if count[c] == 1 {
				right += string(c)
			}
		}
	}
	right = strings.Replace(right, "...", most, 1)
	var all []rune
	var lengths, shape []int
	for c := rune(0); c < 1000; c++ {
		if d, ok := dims[c]; ok {
			all, lengths = append(all, c), append(lengths, d)
		}
	}
	for _, c := range right {
		shape = append(shape, dims[c])
	}
	y := NewArray(shape...)
	Each(lengths, func(idx []int) {
		at := func(a *Array, term string) int {
			var p []int
			for k, c := range []rune(term) {
				for i, l := range all {
					if l == c {
						p = append(p, min(idx[i], a.Shape[k]-1))
					}
				}
			}
			return a.At(p...)
		}
		v := 1.0
		for i, t := range terms {
			v *= in[i].V[at(in[i], t)]
		}
		y.V[at(y, right)] += v
	})
	return []*Array{y}
}
