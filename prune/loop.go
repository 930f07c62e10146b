package prune

import (
	"errors"
	"io"
	"math"

	"github.com/onnxprune/onnxprune/data"
)

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
	steps := []func(*data.Batch) (float64, error){t.lower}
	if t.Config.BothBatches {
		steps = append(steps, t.lower)
	}
	for epoch := 1; epoch <= t.Config.Epochs; epoch++ {
		mean, err := t.epoch(epoch, steps...)
		if err != nil {
			return err
		}
		if err := t.epochEnd(epoch, mean, 0); err != nil {
			return err
		}
	}
	return nil
}

// epoch makes one pass over the data. Every step in turn gets a batch of its own stream;
// mean is the loss of the first. A pass that diverges begins anew with smaller rates as
// often as the settings allow.
func (t *Trainer) epoch(epoch int, steps ...func(b *data.Batch) (float64, error)) (mean float64, err error) {
	j := t.Journal
	_, skip, err := j.enter(t.Config.Retries)
	if skip || err != nil {
		return 0, err
	}
	for {
		step, loss, err := t.makeSteps(t.Config.Before+epoch, steps)
		if err != nil {
			return 0, err
		}
		if step < 0 {
			mean := float64(j.at.Loss) / float64(max(1, t.steps))
			j.at.Mean, j.good = exact(mean), nil
			return mean, nil
		}
		again, err := t.retry(t.Config.Before+epoch, step, loss)
		if err != nil {
			return 0, err
		}
		if !again {
			return 0, t.diverged(t.Config.Before+epoch, step, loss)
		}
	}
}

// makeSteps makes what is missing of a pass. Where it diverges, it returns the step and the
// loss, else −1.
func (t *Trainer) makeSteps(epoch int, steps []func(b *data.Batch) (float64, error)) (diverged int, loss float64, err error) {
	j := t.Journal
	var streams []*data.Batches
	defer func() {
		for _, s := range streams {
			s.Close()
		}
	}()
	for i := range steps {
		s, err := t.stream(i, epoch, j.at.Step)
		if err != nil {
			return 0, 0, err
		}
		streams = append(streams, s)
	}
	for step := j.at.Step; step < t.steps; step++ {
		var first float64
		for i, f := range steps {
			loss, err := t.pass(streams[i], f)
			if err != nil {
				return 0, 0, err
			}
			if j.at.Mean == 0 && finite(loss) {
				j.at.Mean = exact(loss)
			}
			if exploded(loss, float64(max(j.at.Mean, j.at.Goal))) {
				return step, loss, nil
			}
			if i == 0 {
				first = loss
			}
		}
		if step == t.steps-1 && !t.sound() {
			return step, math.NaN(), nil
		}
		t.step++
		j.Trace.step(epoch, step, t.steps, first)
		if err := j.made(first); err != nil {
			return 0, 0, err
		}
		if t.Progress.Step != nil {
			t.Progress.Step(epoch, step+1, t.steps, float64(j.at.Loss)/float64(step+1))
		}
	}
	return -1, 0, nil
}

// stream begins with a batch of an epoch's first or second pass over the training data.
func (t *Trainer) stream(i, epoch, first int) (*data.Batches, error) {
	return t.Train.Batches(data.BatchOptions{Size: t.Config.Batch, Shuffle: true, DropLast: true, Augment: t.Config.Augment, Seed: 2*t.Config.Seed + uint64(i), Epoch: epoch, First: first})
}

// lower is a step of the weights, masks fixed.
func (t *Trainer) lower(b *data.Batch) (float64, error) {
	loss, err := t.gradients(b)
	if err == nil && finite(loss) {
		t.descend()
	}
	return loss, err
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
	t.batches++
	return f(b)
}
