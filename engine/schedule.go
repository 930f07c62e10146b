package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/op"
)

// needGradients marks the values through which trained initializers reach the
// loss. The error names every node on such a way that has no gradient.
func (c *compiler) needGradients() error {
	reach := map[*value]bool{c.loss: true}
	for _, v := range c.others {
		if v != nil {
			reach[v] = true
		}
	}
	for k := len(c.insts) - 1; k >= 0; k-- {
		i := c.insts[k]
		for _, o := range i.out {
			if o != nil && reach[o] {
				for _, v := range i.in {
					if v != nil {
						reach[v] = true
					}
				}
				break
			}
		}
	}
	var errs []error
	for _, i := range c.insts {
		wants := false
		for _, v := range i.in {
			wants = wants || v != nil && v.wants
		}
		if !wants {
			continue
		}
		_, ok := i.op.(op.Gradient)
		for _, o := range i.out {
			if o == nil || !reach[o] || !o.t.Type.IsFloat() {
				continue
			}
			if !ok {
				errs = append(errs, fmt.Errorf("%s: the operator has no gradient", i.title))
			}
			ok, o.wants = true, true
		}
	}
	if len(errs) > 0 {
		return errors.Join(append(errs, errors.New("hint: without --data the model can be pruned by magnitude, which runs nothing"))...)
	}
	if !c.loss.wants {
		return fmt.Errorf("%s: output 0 %q depends on no weight that can be trained", c.g.Name, c.g.Outputs[0].Name)
	}
	return nil
}

// scheduler orders the calls, and records when every buffer is alive.
type scheduler struct {
	c      *compiler
	stores []*storage
	now    int
	grads  map[string]bool // written parameter gradients
	ints   int             // bytes of integer values
	params int64           // bytes of parameter gradients and of what is kept of parameters
}

func (s *scheduler) storage(size int) *storage {
	st := &storage{size: size, first: s.now, last: s.now}
	s.stores = append(s.stores, st)
	return st
}

// schedule emits the calls and places the buffers.
func (c *compiler) schedule() error {
	s := &scheduler{c: c, grads: map[string]bool{}}
	for _, in := range c.g.Inputs {
		if err := s.own(c.values[in.Index], fmt.Sprintf("%s: input %q", c.g.Name, in.Name)); err != nil {
			return err
		}
	}
	for _, i := range c.insts {
		s.now++
		if err := s.forward(i); err != nil {
			return err
		}
	}
	s.now++
	if c.opt.Loss != nil {
		c.loss.store.touch(s.now)
		c.loss.grad = s.storage(c.loss.t.Size())
		c.plan.dlogits = s.gradTensor(c.loss, false)
		for i, v := range c.others {
			if v == nil || !v.wants || v == c.loss || v.grad != nil {
				continue
			}
			v.store.touch(s.now)
			v.grad = s.storage(v.t.Size())
			c.plan.others = append(c.plan.others, further{c.opt.Others[i], v.t, s.gradTensor(v, false)})
		}
		for k := len(c.insts) - 1; k >= 0; k-- {
			s.now++
			s.backward(c.insts[k])
		}
	}
	s.now++
	for _, v := range c.insts {
		for _, o := range v.out {
			if o != nil && o.final {
				o.store.touch(s.now)
			}
		}
	}
	for _, in := range c.g.Inputs {
		c.values[in.Index].store.touch(s.now)
	}
	arena := place(s.stores)
	if need := 4*(arena+c.plan.work) + s.ints; need > memoryLimit() {
		return fmt.Errorf("%s: a plan for batch size %d needs %s, the machine has %s\nhint: try a smaller --batch", c.g.Name, c.opt.Batch, gibibytes(need), gibibytes(memoryLimit()))
	}
	if c.plan.need = int64(4*(arena+c.plan.work)+s.ints) + s.params; c.opt.dry {
		return nil
	}
	c.plan.arena = kernel.Floats(arena)
	bind(s.stores, c.plan.arena)
	c.plan.ctx.Workspace = kernel.Floats(c.plan.work)
	for _, name := range c.state.Names() {
		if c.plan.grads[name] != nil {
			c.plan.trained = append(c.plan.trained, name)
		}
	}
	return nil
}

// own gives a value its buffer. The error, which starts with title, is for a value
// that no machine of this size can hold.
func (s *scheduler) own(v *value, title string) error {
	need, limit := 4*v.t.Size(), memoryLimit()
	if !v.t.Type.IsFloat() {
		s.ints += 2 * need
		need = s.ints
	}
	if need > limit {
		return fmt.Errorf("%s: a value of shape %s at batch size %d needs %s, the machine has %s", title, op.ShapeString(v.t.Shape), s.c.opt.Batch, gibibytes(need), gibibytes(limit))
	}
	if v.t.Type.IsFloat() {
		v.store = s.storage(v.t.Size())
		v.store.tensors = append(v.store.tensors, v.t)
	} else if !s.c.opt.dry {
		v.t.Alloc()
	}
	return nil
}

func (s *scheduler) forward(i *inst) error {
	reads := i.in
	if p := i.completes; p != nil {
		reads = slices.Concat(reads, p.in, p.out)
	}
	for _, v := range reads {
		if v != nil {
			v.store.touch(s.now)
		}
	}
	shared := i.view && len(i.in) > 0 && i.in[0].store != nil && i.in[0].t.Type == i.out[0].t.Type
	for k, v := range i.out {
		switch {
		case k == 0 && shared:
			v.store = i.in[0].store
			v.store.tensors = append(v.store.tensors, v.t)
		case !v.constant:
			if err := s.own(v, i.title); err != nil {
				return err
			}
		}
	}
	i.view = shared
	if p, ok := i.op.(op.Preparer); ok {
		ws, err := p.Prepare(tensors(i.in), tensors(i.out), s.c.opt.Loss != nil)
		if err != nil {
			return fmt.Errorf("%s: %w", i.title, err)
		}
		s.c.plan.work = max(s.c.plan.work, ws)
		if k, ok := i.op.(op.Keeper); ok && s.c.constant() {
			s.params += 4 * int64(k.Keep(tensors(i.in)))
		}
	}
	if !shared || len(i.out) > 1 {
		s.c.plan.forward = append(s.c.plan.forward, call{title: i.title, kind: kindOf(i), op: i.op, in: tensors(i.in), out: tensors(i.out), plain: i.plain, macs: i.macs, once: i.plain != nil && s.c.constant()})
	}
	return nil
}

// gradTensor is a tensor over the gradient of v.
func (s *scheduler) gradTensor(v *value, acc bool) *op.Tensor {
	t := &op.Tensor{Type: v.t.Type, Shape: v.t.Shape, Layout: v.t.Layout, Acc: acc}
	v.grad.touch(s.now)
	v.grad.tensors = append(v.grad.tensors, t)
	return t
}

func (s *scheduler) backward(i *inst) {
	wants := false
	for _, v := range i.in {
		wants = wants || v != nil && v.wants
	}
	some := false
	dout := make([]*op.Tensor, len(i.out))
	for k, v := range i.out {
		if v != nil && v.grad != nil && v.wants {
			dout[k] = s.gradTensor(v, false)
			some = true
		}
	}
	if !wants || !some {
		return
	}
	if i.view && i.in[0].name == "" && i.in[0].grad == nil {
		i.in[0].grad = i.out[0].grad
		return
	}
	g := i.op.(op.Gradient)
	ri, ro := g.Reads()
	for k, v := range i.in {
		if v != nil && ri&(1<<k) != 0 {
			v.store.touch(s.now)
		}
	}
	for k, v := range i.out {
		if v != nil && ro&(1<<k) != 0 {
			v.store.touch(s.now)
		}
	}
	_, accumulates := i.op.(op.Accumulator)
	din := make([]*op.Tensor, len(i.in))
	var sums []call
	seen := map[*value]bool{}
	for k, v := range i.in {
		if v == nil || !v.wants || !v.t.Type.IsFloat() {
			continue
		}
		var first bool
		din[k], first = s.contribution(v, accumulates && !seen[v])
		seen[v] = true
		if !first && !din[k].Acc {
			// A second contribution of an operator that cannot add: through a
			// buffer of its own.
			total := din[k]
			part := s.storage(v.t.Size())
			tmp := &op.Tensor{Type: v.t.Type, Shape: v.t.Shape, Layout: v.t.Layout}
			part.tensors = append(part.tensors, tmp)
			din[k] = tmp
			sums = append(sums, call{title: i.title + ": sum of gradients", kind: "sum", plain: func(c *op.Context) {
				op.AddTo(c, total, tmp)
			}})
		}
	}
	s.c.plan.backward = append(s.c.plan.backward, call{title: i.title, kind: kindOf(i), op: i.op, in: tensors(i.in), out: tensors(i.out), dout: dout, din: din, macs: backwardMACs(i, din)})
	s.c.plan.backward = append(s.c.plan.backward, sums...)
}

// contribution returns where a gradient of v goes, and whether it is the first.
func (s *scheduler) contribution(v *value, acc bool) (t *op.Tensor, first bool) {
	if v.name != "" {
		if first = !s.grads[v.name]; first {
			s.grads[v.name] = true
			s.c.plan.grads[v.name] = op.Info(op.Float, v.t.Shape...)
			s.params += 4 * int64(v.t.Size())
			if !s.c.opt.dry {
				s.c.plan.grads[v.name].Alloc()
			}
		}
		g := *s.c.plan.grads[v.name]
		g.Acc = acc && !first
		return &g, first
	}
	if first = v.grad == nil; first {
		v.grad = s.storage(v.t.Size())
	}
	return s.gradTensor(v, acc && !first), first
}
