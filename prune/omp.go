package prune

import (
	"errors"
	"io"

	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/internal/kernel"
)

// OMP is one-shot magnitude pruning: of all masked weights together the k with the
// largest |w| stay. Weights of equal magnitude stay in file order. With N:M or blocks
// it is the same choice within every group of M, or of blocks by their mean |w|.
// Source: Han et al. 2015, "Learning both Weights and Connections for Efficient
// Neural Networks".
func OMP(m *Masks, s Structure, ratio float64, pool *kernel.Pool) {
	scores := make([][]float32, len(m.Layers))
	for i, l := range m.Layers {
		scores[i] = l.Theta
	}
	m.projection(s, ratio, pool, magnitude).project(scores, m.masks())
	m.Apply()
}

func (m *Masks) selector(pool *kernel.Pool, order order) *Selector {
	var lengths []int
	for _, l := range m.Layers {
		lengths = append(lengths, len(l.Mask))
	}
	return NewSelector(pool, lengths, order)
}

func (m *Masks) masks() [][]float32 {
	ms := make([][]float32, len(m.Layers))
	for i, l := range m.Layers {
		ms[i] = l.Mask
	}
	return ms
}

// Retrain trains with the masks as they are for the configured epochs.
func (t *Trainer) Retrain() error {
	if err := t.epochEnd(0, 0, 0); err != nil {
		return err
	}
	return t.train()
}

// train makes the configured epochs of lower steps, on both batches of an iteration if
// the settings say so.
func (t *Trainer) train() error {
	var second func(b *data.Batch) (float64, error)
	if t.Config.BothBatches {
		second = func(b *data.Batch) (float64, error) {
			loss, err := t.gradients(b)
			if err == nil && finite(loss) {
				t.descend()
			}
			return loss, err
		}
	}
	for epoch := 1; epoch <= t.Config.Epochs; epoch++ {
		mean, err := t.epoch(epoch, second)
		if err != nil {
			return err
		}
		if err := t.epochEnd(epoch, mean, 0); err != nil {
			return err
		}
	}
	return nil
}

// epoch makes one pass of lower steps; after each, upper (if not nil) gets a
// batch of the second stream.
func (t *Trainer) epoch(epoch int, upper func(b *data.Batch) (float64, error)) (mean float64, err error) {
	open := func(seed uint64) (*data.Batches, error) {
		return t.Train.Batches(data.BatchOptions{Size: t.Config.Batch, Shuffle: true, DropLast: true, Augment: t.Config.Augment, Seed: seed, Epoch: t.Config.Before + epoch})
	}
	low, err := open(2 * t.Config.Seed)
	if err != nil {
		return 0, err
	}
	defer low.Close()
	up := low
	if upper != nil {
		if up, err = open(2*t.Config.Seed + 1); err != nil {
			return 0, err
		}
		defer up.Close()
	}
	total := 0.0
	for step := 0; step < t.steps; step++ {
		loss, err := t.pass(low, t.gradients)
		if err != nil {
			return 0, err
		}
		if !finite(loss) {
			return 0, t.diverged(t.Config.Before+epoch, step, loss)
		}
		t.descend()
		total += loss
		if upper != nil {
			loss, err := t.pass(up, upper)
			if err != nil {
				return 0, err
			}
			if !finite(loss) {
				return 0, t.diverged(t.Config.Before+epoch, step, loss)
			}
		}
		t.step++
		if t.Progress.Step != nil {
			t.Progress.Step(t.Config.Before+epoch, step+1, t.steps, total/float64(step+1))
		}
	}
	return total / float64(max(1, t.steps)), nil
}

// pass hands the next batch of a stream to f.
func (t *Trainer) pass(s *data.Batches, f func(b *data.Batch) (float64, error)) (float64, error) {
	b, err := s.Next()
	if errors.Is(err, io.EOF) {
		return 0, errors.New("the data ended before the epoch did")
	}
	if err != nil {
		return 0, err
	}
	defer b.Release()
	return f(b)
}
