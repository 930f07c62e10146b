package engine

import (
	"fmt"
	"math"
)

// blockOf is the number of positions whose classes are looked at together, since they lie far apart in [N,K,D1,…].
const blockOf = 256

// softmaxes are those of a block of positions, at a temperature: exp has e^(y/T − top) class by class, sum their sums
// and log is log Σ e^(y/T).
type softmaxes struct {
	exp, top, sum, log []float64
}

func newSoftmaxes(k int) *softmaxes {
	return &softmaxes{make([]float64, k*blockOf), make([]float64, blockOf), make([]float64, blockOf), make([]float64, blockOf)}
}

// read takes n positions whose class j begins at y[j·inner].
func (s *softmaxes) read(y []float32, k, inner, n int, temperature float64) {
	top, sum := s.top[:n], s.sum[:n]
	for p := range top {
		top[p], sum[p] = math.Inf(-1), 0
	}
	for j := range k {
		for p, v := range y[j*inner : j*inner+n] {
			if x := float64(v) / temperature; x > top[p] || x != x {
				top[p] = x
			}
		}
	}
	for j := range k {
		e := s.exp[j*blockOf : j*blockOf+n]
		for p, v := range y[j*inner : j*inner+n] {
			e[p] = math.Exp(float64(v)/temperature - top[p])
			sum[p] += e[p]
		}
	}
	for p := range top {
		s.log[p] = top[p] + math.Log(sum[p])
	}
}

// blocks calls f with every block of positions: labels and elements of class 0 begin at label and at.
func blocks(n, k, inner int, f func(label, at, count int) error) error {
	for i := range n {
		for lo := 0; lo < inner; lo += blockOf {
			if err := f(i*inner+lo, i*k*inner+lo, min(blockOf, inner-lo)); err != nil {
				return err
			}
		}
	}
	return nil
}

// dense is the sum of CrossEntropy over positions, and its gradient times scale, where classes do not lie side by side.
func (CrossEntropy) dense(y []float32, labels []int64, dy []float32, n, k, inner int, scale float64) (float64, error) {
	total := 0.0
	s := newSoftmaxes(k)
	err := blocks(n, k, inner, func(first, at, count int) error {
		s.read(y[at:], k, inner, count, 1)
		for p, label := range labels[first : first+count] {
			if label == Uncounted {
				continue
			}
			if label < 0 || int(label) >= k {
				return fmt.Errorf("label %d is outside [0,%d)", label, k)
			}
			total += s.log[p] - float64(y[at+int(label)*inner+p])
		}
		if dy == nil {
			return nil
		}
		for j := range k {
			d := dy[at+j*inner : at+j*inner+count]
			for p, label := range labels[first : first+count] {
				g := 0.0
				if label != Uncounted {
					g = s.exp[j*blockOf+p] / s.sum[p] * scale
				}
				if int(label) == j {
					g -= scale
				}
				d[p] = float32(g)
			}
		}
		return nil
	})
	return total, err
}

// dense is the sum of T²·KL over positions, where classes do not lie side by side. Its gradient times scale is mixed with
// what dy has, that of the labels, by LabelWeight.
func (l Distillation) dense(y, teacher, dy []float32, n, k, inner int, scale float64) float64 {
	total, temp := 0.0, l.Temperature
	s, t := newSoftmaxes(k), newSoftmaxes(k)
	blocks(n, k, inner, func(_, at, count int) error {
		s.read(y[at:], k, inner, count, temp)
		t.read(teacher[at:], k, inner, count, temp)
		for j := range k {
			for p := range count {
				a := at + j*inner + p
				prob := t.exp[j*blockOf+p] / t.sum[p]
				logQ, logP := float64(y[a])/temp-s.log[p], float64(teacher[a])/temp-t.log[p]
				total += prob * (logP - logQ) * temp * temp
				if dy == nil {
					continue
				}
				g := temp * (s.exp[j*blockOf+p]/s.sum[p] - prob) * scale * (1 - l.LabelWeight)
				if l.LabelWeight > 0 {
					g += l.LabelWeight * float64(dy[a])
				}
				dy[a] = float32(g)
			}
		}
		return nil
	})
	return total
}
