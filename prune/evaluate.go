package prune

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/op"
)

// EvalBatch returns the batch size for an evaluation of n samples: that of the file
// where the model is bound to it, else up to 200.
func EvalBatch(g *graph.Graph, dims map[string]int, n int) int {
	return g.BatchSize(dims, min(200, n))
}

// Score is the quality of a model on a dataset. Top1 and Top5 are fractions in
// [0,1], of classification only: of samples, or of all their positions that count.
type Score struct {
	Loss            float64 `json:"loss"`
	Top1            float64 `json:"top1"`
	Top5            float64 `json:"top5"`
	Samples         int     `json:"samples"`
	Seconds         float64 `json:"-"`
	ImagesPerSecond float64 `json:"images_per_second"`
	// Classes marks a score with Top1 and Top5.
	Classes bool `json:"-"`
	// MeanIoU is the mean over classes, of those that are labels or outputs anywhere, of positions that are the class in both
	// over those that are it in either; of labels of positions only, else 0.
	MeanIoU float64 `json:"-"`
	// both and either are the counts of MeanIoU, by class.
	both, either []int
	// counted is the number of labels, or of samples where there are none, that the sums are of.
	counted int
}

// better reports whether s is to be preferred: higher top-1, then lower loss.
func (s *Score) better(o *Score) bool {
	if o == nil {
		return true
	}
	if s.Classes && s.Top1 != o.Top1 {
		return s.Top1 > o.Top1
	}
	return s.Loss < o.Loss || math.IsNaN(o.Loss) && !math.IsNaN(s.Loss)
}

// Evaluate runs a plan over a whole dataset in file order. progress may be nil.
func Evaluate(p *engine.Plan, d *data.Dataset, loss engine.Loss, progress func(done, total int)) (*Score, error) {
	return evaluate(p, nil, nil, d, loss, func(done, total int) error {
		if progress != nil {
			progress(done, total)
		}
		return nil
	})
}

// evaluate compares with the outputs of teacher, if there is one, in place of the data's
// values; the loss is then the mean over output 0 and others. An error of progress ends it.
func evaluate(p, teacher *engine.Plan, others []int, d *data.Dataset, loss engine.Loss, progress func(done, total int) error) (*Score, error) {
	if err := p.CheckScored(loss); err != nil {
		return nil, err
	}
	batches, err := d.Batches(data.BatchOptions{Size: p.Batch, Augment: data.AugmentNone})
	if err != nil {
		return nil, err
	}
	defer batches.Close()
	s := &Score{}
	start := time.Now()
	for {
		b, err := batches.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		p.Feed(b.Inputs, b.Rows)
		if err := p.Forward(); err != nil {
			return nil, err
		}
		target := &engine.Target{Labels: b.Labels, Values: b.Targets}
		if teacher != nil {
			teacher.Feed(b.Inputs, b.Rows)
			if err := teacher.Forward(); err != nil {
				return nil, err
			}
			y := teacher.Scored(loss)
			target.Values = y.F[:b.Rows*(y.Size()/teacher.Batch)]
			for _, k := range others {
				y := teacher.Outputs[k]
				target.Others = append(target.Others, y.F[:b.Rows*(y.Size()/teacher.Batch)])
			}
		}
		if err := s.add(p, b, loss, target, others); err != nil {
			return nil, err
		}
		b.Release()
		if err := progress(s.Samples, d.Len()); err != nil {
			return nil, err
		}
	}
	s.Seconds = time.Since(start).Seconds()
	n := float64(max(1, s.counted))
	s.Loss /= n
	s.Top1 /= n
	s.Top5 /= n
	s.MeanIoU = s.meanIoU()
	s.ImagesPerSecond = float64(s.Samples) / s.Seconds
	return s, nil
}

// add counts the samples of one batch, which may be smaller than the plan's.
func (s *Score) add(p *engine.Plan, b *data.Batch, loss engine.Loss, target *engine.Target, others []int) error {
	first := func(y *op.Tensor) *op.Tensor {
		return &op.Tensor{Type: y.Type, Shape: append([]int{b.Rows}, y.Shape[1:]...), F: y.F[:b.Rows*(y.Size()/p.Batch)]}
	}
	y := p.Scored(loss)
	per := y.Size() / p.Batch
	rows := first(y)
	l, err := loss.Eval(rows, target, nil)
	for i, v := range target.Others {
		more, e := loss.Eval(first(p.Outputs[others[i]]), &engine.Target{Values: v}, nil)
		l, err = l+more, errors.Join(err, e)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	l /= float64(1 + len(target.Others))
	s.Samples += b.Rows
	n, k, inner := b.Rows, per, 1
	if c, ok := loss.(engine.Classifier); ok && len(b.Labels) != b.Rows {
		if n, k, inner, err = engine.Classes(c, rows); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	if b.Labels == nil || len(b.Labels) != n*inner {
		s.Loss, s.counted = s.Loss+l*float64(b.Rows), s.counted+b.Rows
		return nil
	}
	s.Classes = true
	counted := 0
	for i, label := range b.Labels {
		if label == engine.Uncounted {
			continue
		}
		counted++
		if label < 0 || int(label) >= k {
			continue
		}
		at := i/inner*k*inner + i%inner
		mine, rank, top := rows.F[at+int(label)*inner], 0, 0
		for j := range k {
			v := rows.F[at+j*inner]
			if v > mine || v == mine && j < int(label) || v != v {
				rank++
			}
			if v > rows.F[at+top*inner] {
				top = j
			}
		}
		if n*inner > b.Rows {
			s.overlap(int(label), top, k)
		}
		if rank == 0 {
			s.Top1++
		}
		if rank < 5 {
			s.Top5++
		}
	}
	s.Loss, s.counted = s.Loss+l*float64(counted), s.counted+counted
	return nil
}

// overlap counts a position for MeanIoU.
func (s *Score) overlap(label, output, classes int) {
	if s.both == nil {
		s.both, s.either = make([]int, classes), make([]int, classes)
	}
	s.either[label]++
	if label == output {
		s.both[label]++
	} else {
		s.either[output]++
	}
}

func (s *Score) meanIoU() float64 {
	sum, classes := 0.0, 0
	for k, n := range s.either {
		if n > 0 {
			sum += float64(s.both[k]) / float64(n)
			classes++
		}
	}
	return sum / float64(max(1, classes))
}
