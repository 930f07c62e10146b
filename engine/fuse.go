package engine

import (
	"maps"
	"math"

	"github.com/onnxprune/onnxprune/op"
)

// fuse joins calls that run faster as one: in training BatchNormalization with a
// following Add, Relu or Clip, and with the Conv before it; in inference Conv with BatchNormalization, Add, Relu
// or Clip.
func (c *compiler) fuse() {
	users := map[*value][]*inst{}
	at := map[*inst]int{}
	for k, i := range c.insts {
		at[i] = k
		for _, v := range i.in {
			if v != nil {
				users[v] = append(users[v], i)
			}
		}
	}
	f := &fuser{c: c, users: users, at: at, after: map[*inst]*inst{}, before: map[*inst]*inst{}}
	for _, i := range c.insts {
		if i.dead || i.def == nil || i.def.Domain != "" {
			continue
		}
		switch {
		case c.opt.Loss != nil && i.def.Name == "BatchNormalization":
			f.norm(i)
		case c.opt.Loss == nil && i.def.Name == "Conv":
			f.conv(i)
		}
	}
	var insts []*inst
	for _, i := range c.insts {
		if n := f.before[i]; n != nil {
			insts = append(insts, n)
		}
		if !i.dead {
			insts = append(insts, i)
		}
		if n := f.after[i]; n != nil {
			insts = append(insts, n)
		}
	}
	c.insts = insts
	c.deferNorms()
	for _, i := range c.insts {
		for _, o := range i.out {
			if o != nil {
				o.product = i
			}
		}
	}
	c.count()
}

type fuser struct {
	c             *compiler
	users         map[*value][]*inst
	at            map[*inst]int
	after, before map[*inst]*inst
}

// next returns the only reader of v, if it is an operator of that name.
func (f *fuser) next(v *value, name string) *inst {
	if v.final || len(f.users[v]) != 1 {
		return nil
	}
	i := f.users[v][0]
	if i.dead || i.def == nil || i.def.Domain != "" || i.def.Name != name {
		return nil
	}
	return i
}

// residual returns the Add that reads v, and its other operand of equal shape.
func (f *fuser) residual(v *value) (*inst, *value) {
	add := f.next(v, "Add")
	if add == nil {
		return nil, nil
	}
	other := add.in[0]
	if other == v {
		other = add.in[1]
	}
	if other == v || other.constant || !op.EqualShape(other.t.Shape, v.t.Shape) {
		return nil, nil
	}
	return add, other
}

// replace puts a fused call where the last of the calls it stands for was.
func (f *fuser) replace(fused *inst, parts ...*inst) {
	last := parts[0]
	for _, p := range parts {
		p.dead = true
		if f.at[p] > f.at[last] {
			last = p
		}
		fused.macs += p.macs
	}
	f.after[last] = fused
	for _, v := range fused.in {
		if v != nil {
			f.users[v] = append(f.users[v], fused)
		}
	}
}

func (f *fuser) make(name string, title string, attrs op.Attrs, in []*value, out ...*value) *inst {
	d := op.Lookup("onnxprune", name)
	if d == nil {
		return nil
	}
	n := op.Node{Type: name, Opset: 13, Attrs: attrs, Outputs: 1, Training: f.c.opt.Loss != nil}
	for _, v := range in {
		n.Inputs = append(n.Inputs, v != nil)
	}
	o, err := d.Make(n)
	if err != nil {
		return nil
	}
	return &inst{title: title, def: d, op: o, in: in, out: out, attrs: attrs, opset: n.Opset}
}

func (f *fuser) norm(bn *inst) {
	parts := []*inst{bn}
	in := append([]*value{}, bn.in[:5]...)
	in = append(in, nil)
	out := bn.out[0]
	if add, other := f.residual(out); add != nil {
		in[5] = other
		out = add.out[0]
		parts = append(parts, add)
	}
	attrs := op.Attrs{}
	if act := f.activation(out, attrs); act != nil {
		out = act.out[0]
		parts = append(parts, act)
	}
	for _, name := range []string{"epsilon", "momentum"} {
		if a, ok := bn.attrs[name]; ok {
			attrs[name] = a
		}
	}
	if conv := f.producer(bn); conv != nil {
		maps.Copy(attrs, conv.attrs)
		both := append([]*value{conv.in[0], conv.in[1]}, in[1:]...)
		if fused := f.make("ConvNormAct", conv.title, attrs, both, out, conv.out[0]); fused != nil {
			f.replace(fused, append([]*inst{conv}, parts...)...)
		}
		return
	}
	if fused := f.make("NormAct", bn.title, attrs, in, out); fused != nil {
		f.replace(fused, parts...)
	}
}

// producer returns the convolution before a BatchNormalization, if nothing else
// reads it and both run faster as one.
func (f *fuser) producer(bn *inst) *inst {
	y := bn.in[0]
	conv := y.product
	if conv == nil || conv.dead || conv.def == nil || conv.def.Domain != "" || conv.def.Name != "Conv" || f.next(y, "BatchNormalization") != bn {
		return nil
	}
	if !op.Fusable(conv.op, tensors(conv.in)) {
		return nil
	}
	return conv
}

// deferNorms lets convolutions normalise what they read, where they are the first
// to read it: the only one, or one that keeps it for the others.
func (c *compiler) deferNorms() {
	readers := map[*value][]*inst{}
	for _, i := range c.insts {
		for _, v := range i.in {
			if v != nil {
				readers[v] = append(readers[v], i)
			}
		}
	}
	for _, i := range c.insts {
		if i.def == nil || i.def.Domain != "onnxprune" || i.def.Name != "ConvNormAct" {
			continue
		}
		z := i.out[0]
		r := readers[z]
		if len(r) == 0 || r[0].in[0] != z || z.final {
			continue
		}
		keep := len(r) > 1 || len(i.in) > 6 && i.in[6] != nil
		if !op.Defer(i.op, r[0].op, keep) {
			continue
		}
		r[0].completes = i
		if !keep {
			i.out = i.out[:1]
		}
	}
}

func (f *fuser) conv(conv *inst) {
	if conv.out[0].t.Rank() > 4 {
		return
	}
	parts := []*inst{conv}
	in := []*value{conv.in[0], conv.in[1], nil, nil}
	if len(conv.in) > 2 {
		in[2] = conv.in[2]
	}
	out := conv.out[0]
	var folded *inst
	if bn := f.next(out, "BatchNormalization"); bn != nil && bn.in[0] == out && foldable(in, bn) {
		folded = foldNorm(in, bn)
		out = bn.out[0]
		parts = append(parts, bn)
	}
	if add, other := f.residual(out); add != nil {
		in[3] = other
		out = add.out[0]
		parts = append(parts, add)
	}
	attrs := op.Attrs{}
	for k, a := range conv.attrs {
		attrs[k] = a
	}
	if act := f.activation(out, attrs); act != nil {
		out = act.out[0]
		parts = append(parts, act)
	}
	if len(parts) == 1 {
		return
	}
	if fused := f.make("ConvAct", conv.title, attrs, in, out); fused != nil {
		f.replace(fused, parts...)
		if folded != nil {
			f.before[conv] = folded
		}
	}
}

// activation returns the Relu or Clip that reads v, and puts its range into
// attrs.
func (f *fuser) activation(v *value, attrs op.Attrs) *inst {
	if r := f.next(v, "Relu"); r != nil {
		attrs["min"] = op.FloatAttr(0)
		return r
	}
	if r := f.next(v, "Clip"); r != nil {
		if lo, hi, ok := clipRange(r); ok {
			attrs["min"], attrs["max"] = op.FloatAttr(lo), op.FloatAttr(hi)
			return r
		}
	}
	return nil
}

func clipRange(i *inst) (lo, hi float32, ok bool) {
	lo, hi = float32(math.Inf(-1)), float32(math.Inf(1))
	if a, has := i.attrs["min"]; has {
		lo = a.F
	}
	if a, has := i.attrs["max"]; has {
		hi = a.F
	}
	for k, p := range []*float32{&lo, &hi} {
		if k+1 < len(i.in) && i.in[k+1] != nil {
			v := i.in[k+1]
			if !v.constant || len(v.t.F) != 1 {
				return 0, 0, false
			}
			*p = v.t.F[0]
		}
	}
	return lo, hi, lo <= hi
}

// foldable reports whether weights, bias and statistics are all held as
// elements.
func foldable(conv []*value, bn *inst) bool {
	vs := append([]*value{conv[1]}, bn.in[1:5]...)
	if conv[2] != nil {
		vs = append(vs, conv[2])
	}
	for _, v := range vs {
		if v == nil || !v.constant || v.t.F == nil {
			return false
		}
	}
	return true
}

// foldNorm replaces weight and bias in conv by ones with the normalisation
// multiplied in, w' = w·scale/√(var+ε) and b' = (b−mean)·scale/√(var+ε)+bias,
// computed anew at every run since the state may have changed.
func foldNorm(conv []*value, bn *inst) *inst {
	eps := 1e-5
	if a, ok := bn.attrs["epsilon"]; ok {
		eps = float64(a.F)
	}
	w, b := conv[1].t, conv[2]
	scale, bias, mean, variance := bn.in[1].t, bn.in[2].t, bn.in[3].t, bn.in[4].t
	fw, fb := op.New(op.Float, w.Shape...), op.New(op.Float, w.Shape[0])
	each := len(w.F) / max(1, w.Shape[0])
	plain := func(*op.Context) {
		for o := range fb.F {
			f := float64(scale.F[o]) / math.Sqrt(float64(variance.F[o])+eps)
			c := 0.0
			if b != nil {
				c = float64(b.t.F[o])
			}
			fb.F[o] = float32((c-float64(mean.F[o]))*f + float64(bias.F[o]))
			dst, src := fw.F[o*each:(o+1)*each], w.F[o*each:(o+1)*each]
			for i, x := range src {
				dst[i] = float32(float64(x) * f)
			}
		}
	}
	vw := &value{t: fw, constant: true}
	vb := &value{t: fb, constant: true}
	conv[1], conv[2] = vw, vb
	return &inst{title: bn.title + ": folded into Conv", plain: plain, out: []*value{vw, vb}}
}
