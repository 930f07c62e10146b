package engine

import (
	"slices"

	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/op"
)

// widen gives activations that pass from one convolution to another as many
// channels in memory as make their pixels start with a cache line, see
// op.WideChannels: pruned widths would otherwise split most loads and stores in
// two, which costs more than some channels save. Where other operators read such
// an activation, a call before them takes the additional channels away.
func (c *compiler) widen() {
	w := &widener{
		class: map[*value]*value{}, made: map[*value]bool{}, narrows: map[*value]int{}, reads: map[*value]int{},
		weights: map[*value]int{}, depthwise: map[*value]bool{},
	}
	for _, i := range c.insts {
		free, same, ok := wideInputs(i)
		if ok {
			for _, o := range i.out {
				if o != nil && !o.final && !o.constant && o.t.Rank() >= 3 && o.t.Type == op.Float && o.t.Size() > 0 {
					w.made[o] = true
				}
			}
			for _, k := range same {
				for _, o := range i.out {
					if o != nil {
						w.join(i.in[k], o)
					}
				}
			}
			if len(same) == 0 && len(i.out) > 1 && i.out[1] != nil {
				w.join(i.out[1], i.out[0])
			}
		}
		params := 0
		for k, v := range i.in {
			switch {
			case v == nil:
			case ok && (slices.Contains(free, k) || slices.Contains(same, k)):
				w.reads[v]++
			default:
				w.narrows[v]++
				params += v.t.Size()
			}
		}
		if ok {
			w.depthwise[i.out[0]] = i.macs > 0 && len(free) == 0
			if !c.constant() {
				w.weights[i.in[0]] += params
				w.weights[i.out[0]] += params
			}
		}
	}
	w.settle()
	var insts []*inst
	for _, i := range c.insts {
		free, same, ok := wideInputs(i)
		for k, v := range i.in {
			if v == nil || w.wide[v] == 0 || ok && (slices.Contains(free, k) || slices.Contains(same, k)) {
				continue
			}
			if v.narrow == nil {
				n := &narrow{shape: v.t.Shape}
				v.narrow = &value{t: op.Info(v.t.Type, v.t.Shape...)}
				v.narrow.product = &inst{title: "first channels of " + op.ShapeString(v.t.Shape), op: n, in: []*value{v}, out: []*value{v.narrow}}
				insts = append(insts, v.narrow.product)
			}
			i.in[k] = v.narrow
		}
		insts = append(insts, i)
	}
	for v, channels := range w.wide {
		v.t.Shape = slices.Clone(v.t.Shape)
		v.t.Shape[1] = channels
	}
	c.insts = insts
	c.count()
}

// wideInputs returns the inputs of i whose channels may be wider, ok whether there
// are any.
func wideInputs(i *inst) (free, same []int, ok bool) {
	o, ok := i.op.(op.Widener)
	if !ok {
		return nil, nil, false
	}
	free, same = o.Wide(tensors(i.in))
	has := func(k int) bool { return k >= len(i.in) || i.in[k] == nil }
	free, same = slices.DeleteFunc(free, has), slices.DeleteFunc(same, has)
	return free, same, len(free)+len(same) > 0
}

// widener finds the values that are widened together.
type widener struct {
	class   map[*value]*value // to another of the same class, or none
	made    map[*value]bool   // by an operator that can widen
	narrows map[*value]int    // readers that cannot
	reads   map[*value]int    // readers that can
	weights map[*value]int    // elements of the parameters that have to be widened with it
	wide    map[*value]int    // channels
	// depthwise are the outputs of depthwise convolutions, which are bound by memory.
	depthwise map[*value]bool
}

func (w *widener) root(v *value) *value {
	for w.class[v] != nil {
		v = w.class[v]
	}
	return v
}

func (w *widener) join(a, b *value) {
	if a, b = w.root(a), w.root(b); a != b {
		w.class[a] = b
	}
}

// settle decides about every class. One call that narrows is allowed beside others
// that need none, its cost is that of one pass over an activation; parameters that may change
// are copied at every run, and must not be more than the activations.
func (w *widener) settle() {
	w.wide = map[*value]int{}
	members := map[*value][]*value{}
	for v := range w.class {
		if r := w.root(v); r != v {
			members[r] = append(members[r], v)
		}
	}
	for v := range w.made {
		r := w.root(v)
		if v == r {
			members[r] = append(members[r], v)
		}
	}
	for r, vs := range members {
		if !slices.Contains(vs, r) {
			vs = append(vs, r)
		}
		if slices.ContainsFunc(vs, func(v *value) bool { return !w.made[v] }) {
			continue
		}
		part := 6
		if slices.ContainsFunc(vs, func(v *value) bool { return w.depthwise[v] }) {
			part = 4
		}
		channels, narrows, reads, size := op.WideChannels(r.t.Shape[1], part), 0, 0, 0
		ok := channels > r.t.Shape[1]
		for _, v := range vs {
			ok = ok && v.t.Shape[1] == r.t.Shape[1]
			size += v.t.Size() - w.weights[v]
			reads += w.reads[v]
			if w.narrows[v] > 0 {
				narrows++
			}
		}
		if !ok || narrows > 1 || reads == 0 || size < 0 {
			continue
		}
		for _, v := range vs {
			w.wide[v] = channels
		}
	}
}

// narrow: y [N,C,…] is the first C channels of x [N,C',…], both channels-last.
type narrow struct{ shape []int }

func (n *narrow) Infer(in []*op.Tensor) ([]*op.Tensor, error) {
	return []*op.Tensor{op.Info(in[0].Type, n.shape...)}, nil
}

func (n *narrow) Layouts(in []*op.Tensor) (want, out []op.Layout) {
	return []op.Layout{op.ChannelsLast}, []op.Layout{op.ChannelsLast}
}

func (n *narrow) each(c *op.Context, wide *op.Tensor, f func(p, at int)) {
	channels, columns := n.shape[1], wide.Shape[1]
	c.Parallel(wide.Size()/columns, columns, func(lo, hi int) {
		for p := lo; p < hi; p++ {
			f(p*channels, p*columns)
		}
	})
}

func (n *narrow) Forward(c *op.Context, in, out []*op.Tensor) error {
	n.each(c, in[0], func(p, at int) { copy(out[0].F[p:][:n.shape[1]], in[0].F[at:]) })
	return nil
}

func (n *narrow) Reads() (in, out uint32) { return 0, 0 }

func (n *narrow) Accumulates() {}

func (n *narrow) Backward(c *op.Context, in, out, dout, din []*op.Tensor) error {
	dx, dy := din[0], dout[0].F
	n.each(c, dx, func(p, at int) {
		to, from := dx.F[at:][:dx.Shape[1]], dy[p:][:n.shape[1]]
		if dx.Acc {
			kernel.Add(to[:len(from)], to[:len(from)], from)
			return
		}
		clear(to[copy(to, from):])
	})
	return nil
}
