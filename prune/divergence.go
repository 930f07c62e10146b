package prune

import (
	"fmt"
	"math"
)

// Divergence is a pass over the data that was given up and begun anew with smaller rates.
type Divergence struct {
	// Epoch and Step say where, from 1, Loss what it had become.
	Epoch, Step int
	Loss        float64
	// LR and MaskLR are the first rates of the cosine from there on.
	LR, MaskLR float64
}

// String says it in one line.
func (d Divergence) String() string {
	return fmt.Sprintf("epoch %d: the loss became %.4g at step %d, back to the beginning of the epoch with --lr %g and --mask-lr %g", d.Epoch, d.Loss, d.Step, d.LR, d.MaskLR)
}

// divergenceRecord is a [Divergence] as files keep it.
type divergenceRecord struct {
	Epoch  int   `json:"epoch"`
	Step   int   `json:"step"`
	Loss   exact `json:"loss"`
	LR     exact `json:"lr"`
	MaskLR exact `json:"mask_lr"`
}

func (r divergenceRecord) divergence() Divergence {
	return Divergence{r.Epoch, r.Step, float64(r.Loss), float64(r.LR), float64(r.MaskLR)}
}

const (
	// backOff multiplies all rates after a divergence.
	backOff = 0.25
	// explosion is how many times its like a loss may become: the mean of the pass before, or
	// that of the mask that a rising ratio goes to. Less than 1 counts as 1:
	// cross-entropy of a network that is right is near 0, and may well become 1.
	explosion = 1000
)

// exploded reports whether a loss, or what training made of the weights, is beyond use.
func exploded(loss, mean float64) bool {
	return !finite(loss) || loss > explosion*max(1, mean)
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// DivergedError is the error of a loss that is no number, or out of all proportion.
type DivergedError struct{ text string }

func (e *DivergedError) Error() string { return e.text }

func (t *Trainer) diverged(epoch, step int, loss float64) error {
	c, scale := &t.Config, t.Journal.scale()
	again := ""
	if n := len(t.Journal.Divergences()); n > 0 {
		again = fmt.Sprintf(", after going back %d times", n)
	}
	return &DivergedError{fmt.Sprintf("%s: the loss became %.6g at step %d of epoch %d%s\nhint: try a smaller --lr (now %g), a smaller --mask-lr (now %g), or look for outliers in the data",
		t.Graph.Name, loss, step+1, epoch, again, c.LR*scale, c.MaskLR*scale)}
}

// retry goes back to the beginning of a pass that diverged; false where that was done
// often enough.
func (t *Trainer) retry(epoch, step int, loss float64) (bool, error) {
	j := t.Journal
	if len(j.at.Divergences) >= t.Config.Retries || j.good == nil {
		return false, nil
	}
	if err := j.back(); err != nil {
		return false, err
	}
	j.at.Scale = exact(j.scale() * backOff)
	r := divergenceRecord{epoch, step + 1, exact(loss), exact(t.Config.LR * j.scale()), exact(t.Config.MaskLR * j.scale())}
	j.at.Divergences = append(j.at.Divergences, r)
	if t.Progress.Diverged != nil {
		t.Progress.Diverged(r.divergence())
	}
	return true, nil
}

// measureGoal measures, on the first batch, the loss of the mask at hand, to which a rising ratio is going to bring the losses
// without any divergence.
func (t *Trainer) measureGoal() error {
	if t.Journal.replaying() {
		return nil
	}
	s, err := t.stream(0, 0, 0)
	if err != nil {
		return err
	}
	defer s.Close()
	b, err := s.Next()
	if err != nil {
		return err
	}
	defer b.Release()
	state := t.State.Snapshot()
	loss, err := t.gradients(b)
	t.State.Restore(state)
	if err == nil && finite(loss) {
		t.Journal.at.Goal = exact(loss)
	}
	return err
}

// arrives notes the ratio that a pass ended with, on the way to a final one.
func (t *Trainer) arrives(ratio, final float64) {
	if t.rising = ratio; ratio == final {
		t.rising, t.Journal.at.Goal = 0, 0
	}
}

// sound reports whether all trained values are finite: the last step of an epoch may spoil
// them without a loss that shows it.
func (t *Trainer) sound() bool {
	ok := true
	for _, name := range t.plan.Trained() {
		for _, x := range t.State.Tensor(name).F {
			// Of numbers that are not finite only the difference to themselves is no zero.
			if x-x != 0 {
				ok = false
			}
		}
	}
	return ok
}
