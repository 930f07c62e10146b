package prune

import (
	"math"
	"slices"
)

// Trace keeps what a page shows of a run beside its epochs: the loss by step, the masks
// that it began with, and where the scores lay that chose the last ones. It is part of the
// journal, so that a run that goes on from a checkpoint has all of it.
type Trace struct {
	masks  *Masks
	epochs int
	first  [][]float32
	// sum and count of losses per bin of steps.
	sum, count []float64
	// kept and removed count scores per bin; the first has all up to lowest·largest.
	kept, removed []float64
	largest       float64
}

const (
	lossBins  = 240
	scoreBins = 60
	// lowest is the least score that has a bin of its own, as a fraction of the largest.
	lowest = 1e-5
)

// NewTrace makes the journal of a run with the given masks and number of epochs keep one.
func NewTrace(j *Journal, m *Masks, epochs int) *Trace {
	t := &Trace{masks: m, epochs: epochs, sum: make([]float64, lossBins), count: make([]float64, lossBins), kept: make([]float64, scoreBins), removed: make([]float64, scoreBins)}
	for _, l := range m.Layers {
		t.first = append(t.first, slices.Clone(l.Mask))
	}
	j.Trace = t
	j.hold("trace", true, t.visit)
	return t
}

// visit lists the variables.
func (t *Trace) visit(s *slots) {
	s.doubles("sum", t.sum)
	s.doubles("count", t.count)
	s.doubles("kept", t.kept)
	s.doubles("removed", t.removed)
	s.number("largest", &t.largest)
	for i, l := range t.masks.Layers {
		s.mask(named("first", l.Name), t.first[i])
	}
}

// begin enters the masks that training starts with.
func (t *Trace) begin() {
	if t == nil {
		return
	}
	for i, l := range t.masks.Layers {
		copy(t.first[i], l.Mask)
	}
}

// step enters a loss.
func (t *Trace) step(epoch, step, steps int, loss float64) {
	if t == nil {
		return
	}
	at := (float64(epoch-1) + float64(step)/float64(steps)) / float64(t.epochs)
	i := min(max(0, int(at*lossBins)), lossBins-1)
	t.sum[i] += loss
	t.count[i]++
}

// rank enters scores and what they chose; each goes through all of them.
func (t *Trace) rank(each func(f func(score float64, keep bool))) {
	if t == nil {
		return
	}
	clear(t.kept)
	clear(t.removed)
	t.largest = 0
	each(func(s float64, _ bool) {
		if finite(s) {
			t.largest = max(t.largest, s)
		}
	})
	each(func(s float64, keep bool) {
		i := 0
		if s > lowest*t.largest {
			i = min(scoreBins-1, 1+int((scoreBins-1)*math.Log(s/(lowest*t.largest))/math.Log(1/lowest)))
		}
		if keep {
			t.kept[i]++
		} else {
			t.removed[i]++
		}
	})
}

// rankWeights enters scores of weights, whose masks were chosen by them.
func (t *Trace) rankWeights(scores [][]float32) {
	if t == nil {
		return
	}
	t.rank(func(f func(score float64, keep bool)) {
		for i, l := range t.masks.Layers {
			for k, s := range scores[i] {
				f(float64(s), l.Mask[k] != 0)
			}
		}
	})
}

// rankUnits enters scores of channels.
func (t *Trace) rankUnits(scores [][]float64, removed [][]bool) {
	t.rank(func(f func(score float64, keep bool)) {
		for g, row := range scores {
			for u, s := range row {
				f(s, !removed[g][u])
			}
		}
	})
}

// LossPoint is the mean training loss of some steps around Epoch, which counts from 0 at the
// first step.
type LossPoint struct{ Epoch, Loss float64 }

// Losses are in the order of the steps.
func (t *Trace) Losses() (out []LossPoint) {
	for i, n := range t.count {
		if n > 0 {
			out = append(out, LossPoint{(float64(i) + 0.5) / lossBins * float64(t.epochs), t.sum[i] / n})
		}
	}
	return out
}

// Moved counts, for a weight tensor, how the masks differ from the first: Gone were kept at first,
// Back were not.
type Moved struct {
	Name           string
	Kept, Removed  int // at first
	Gone, Returned int
}

// Moved compares the present masks with those that training began with.
func (t *Trace) Moved() (out []Moved) {
	for i, l := range t.masks.Layers {
		m := Moved{Name: l.Name}
		for k, was := range t.first[i] {
			is := l.Mask[k]
			switch {
			case was != 0:
				m.Kept++
				if is == 0 {
					m.Gone++
				}
			default:
				m.Removed++
				if is != 0 {
					m.Returned++
				}
			}
		}
		out = append(out, m)
	}
	return out
}

// ScoreBin counts the scores from Low to High, those that stayed and those that went.
type ScoreBin struct {
	Low, High     float64
	Kept, Removed int
}

// Scores are bins of equal width by the logarithm, but for the first, which has all that
// are smaller, negative ones too; none where nothing was ranked.
func (t *Trace) Scores() (out []ScoreBin) {
	if !(t.largest > 0) {
		return nil
	}
	edge := func(i int) float64 {
		return t.largest * lowest * math.Pow(1/lowest, float64(i)/(scoreBins-1))
	}
	for i := range t.kept {
		b := ScoreBin{Low: math.Inf(-1), High: edge(i), Kept: int(t.kept[i]), Removed: int(t.removed[i])}
		if i > 0 {
			b.Low = edge(i - 1)
		}
		out = append(out, b)
	}
	return out
}
