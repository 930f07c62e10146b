package prune

import (
	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/internal/kernel"
)

// SGD makes steps of stochastic gradient descent with momentum and weight decay on
// all trained initializers of a plan, as [kernel.SGDMomentum] does. Masked weights
// stay.
type SGD struct {
	pool     *kernel.Pool
	momenta  map[string][]float32
	pieces   []piece
	lr, m, d float32
	anchor   float32
	task     func(task, worker int)
}

// piece is a run of elements of one initializer; mask, gate and z are nil without a
// mask, start without an anchor. It is [at,at+len(theta)) of layer number layer of Masks.Layers, −1 for
// others.
type piece struct {
	theta, mom, grad, mask, gate, z, start []float32
	layer, at                              int
}

const pieceSize = 1 << 15

// NewSGD prepares steps on what plan trains; the weights in masks (which may be nil)
// are updated under their mask.
func NewSGD(pool *kernel.Pool, plan *engine.Plan, state *engine.State, masks *Masks) *SGD {
	s := &SGD{pool: pool, momenta: map[string][]float32{}}
	layers := map[string]*Layer{}
	numbers := map[string]int{}
	if masks != nil {
		for _, list := range [][]Layer{masks.Layers, masks.Fixed} {
			for i := range list {
				layers[list[i].Name] = &list[i]
			}
		}
		for i := range masks.Layers {
			numbers[masks.Layers[i].Name] = i
		}
	}
	for _, name := range plan.Trained() {
		all := piece{theta: state.Tensor(name).F, grad: plan.Grad(name).F, layer: -1}
		if i, ok := numbers[name]; ok {
			all.layer = i
		}
		if l := layers[name]; l != nil {
			all.theta, all.mask, all.gate, all.z = l.Theta, l.Mask, l.Mask, l.Z
			if l.Gate != nil {
				all.gate = l.Gate
			}
		}
		all.mom = kernel.Floats(len(all.theta))
		s.momenta[name] = all.mom
		for lo := 0; lo < len(all.theta); lo += pieceSize {
			s.pieces = append(s.pieces, all.slice(lo, min(len(all.theta), lo+pieceSize)))
		}
	}
	s.task = s.update
	return s
}

func (p piece) slice(lo, hi int) piece {
	q := piece{theta: p.theta[lo:hi], mom: p.mom[lo:hi], grad: p.grad[lo:hi], layer: p.layer, at: p.at + lo}
	if p.start != nil {
		q.start = p.start[lo:hi]
	}
	if p.mask != nil {
		q.mask, q.gate, q.z = p.mask[lo:hi], p.gate[lo:hi], p.z[lo:hi]
	}
	return q
}

// Anchor makes steps pull masked weights to their present values instead of to zero, with
// strength·(θ − θ₀) in the gradient in place of weight decay.
func (s *SGD) Anchor(strength float64) {
	s.anchor = float32(strength)
	for i := range s.pieces {
		if p := &s.pieces[i]; p.mask != nil {
			p.start = append([]float32(nil), p.theta...)
		}
	}
}

// Reset sets all momenta to zero.
func (s *SGD) Reset() {
	for _, m := range s.momenta {
		clear(m)
	}
}

// Step descends along the gradients that the plan's last step left.
func (s *SGD) Step(lr, momentum, weightDecay float64) {
	s.rates(lr, momentum, weightDecay)
	s.pool.Run(len(s.pieces), s.task)
}

func (s *SGD) rates(lr, momentum, weightDecay float64) {
	s.lr, s.m, s.d = float32(lr), float32(momentum), float32(weightDecay)
}

func (s *SGD) update(i, _ int) {
	p := &s.pieces[i]
	s.descend(p)
	if p.mask != nil {
		kernel.MulMask(p.z, p.theta, p.gate)
	}
}

// descend leaves z to the caller. With an anchor it changes the gradient.
func (s *SGD) descend(p *piece) {
	decay := s.d
	if p.start != nil {
		decay = s.anchor
		kernel.Axpy(p.grad, p.start, -decay)
	}
	kernel.SGDMomentum(p.theta, p.mom, p.grad, p.mask, s.lr, s.m, decay)
}
