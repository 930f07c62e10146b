package prune

// hold makes the trainer's variables part of the journal, until release is called.
func (t *Trainer) hold() {
	if t.Journal == nil {
		t.Journal = &Journal{}
	}
	if t.release != nil {
		t.release()
	}
	a := t.Journal.hold("trainer", true, t.visit)
	b := t.Journal.hold("best", false, func(s *slots) {
		s.count("batches", &t.batches)
		t.visitKept(s, &t.best)
	})
	t.release = func() {
		a()
		b()
	}
}

// visit lists the variables: values, masks, momenta. Z follows from them.
func (t *Trainer) visit(s *slots) {
	s.count("step", &t.step)
	s.number("rising", &t.rising)
	masked := map[string]bool{}
	for _, list := range [][]Layer{t.Masks.Layers, t.Masks.Fixed} {
		for i := range list {
			l := &list[i]
			masked[l.Name] = true
			s.floats(named("theta", l.Name), l.Theta)
			s.mask(named("mask", l.Name), l.Mask)
			if l.Gate != nil {
				s.mask(named("gate", l.Name), l.Gate)
			}
			if s.loading {
				l.apply()
			}
		}
	}
	for _, name := range t.State.Names() {
		if !masked[name] {
			s.floats(named("value", name), t.State.Tensor(name).F)
		}
	}
	for _, name := range t.plan.Trained() {
		s.floats(named("momentum", name), t.sgd.momenta[name])
	}
}

// apply writes Z = Theta under the gate, or the mask where there is none, with exact zeros.
func (l *Layer) apply() {
	keep := l.Mask
	if l.Gate != nil {
		keep = l.Gate
	}
	for i, k := range keep {
		if k == 0 {
			l.Z[i] = 0
		} else {
			l.Z[i] = l.Theta[i]
		}
	}
}

// visitKept lists the variables of a kept epoch, which may be none.
func (t *Trainer) visitKept(s *slots, p **kept) {
	there := *p != nil
	s.flag("there", &there)
	if !there || s.err != nil {
		*p = nil
		return
	}
	k := *p
	if s.loading {
		k = &kept{state: t.State.Snapshot(), score: &Score{}}
		for _, l := range t.Masks.Layers {
			k.masks = append(k.masks, make([]float32, len(l.Mask)))
			k.theta = append(k.theta, make([]float32, len(l.Theta)))
		}
		*p = k
	}
	s.count("epoch", &k.epoch)
	for i, l := range t.Masks.Layers {
		s.floats(named("theta", l.Name), k.theta[i])
		s.mask(named("mask", l.Name), k.masks[i])
	}
	for _, name := range t.State.Names() {
		s.floats(named("value", name), k.state.Floats(name))
	}
	scored := k.score != nil
	if s.flag("scored", &scored); !scored {
		k.score = nil
		return
	}
	s.number("loss", &k.score.Loss)
	s.number("top1", &k.score.Top1)
	s.number("top5", &k.score.Top5)
	s.count("samples", &k.score.Samples)
	s.flag("classes", &k.score.Classes)
}
