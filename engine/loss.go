package engine

import (
	"fmt"
	"math"

	"github.com/onnxprune/onnxprune/op"
)

// Target is what a loss compares a batch with: class labels, or values.
type Target struct {
	// Labels are class indices, one per sample or per position; those of [Uncounted] do not count.
	Labels []int64
	// Values are real targets in the shape of the output.
	Values []float32
	// Others are those of the further outputs that a plan's loss reads.
	Others [][]float32
}

// Loss is a training objective, averaged over the batch.
type Loss interface {
	// Eval returns the mean loss of y [N,…] and, if dy is not nil, writes dℓ/dy.
	Eval(y *op.Tensor, t *Target, dy *op.Tensor) (float64, error)
	// FromLogits reports whether y is the input of a model's final Softmax rather
	// than its output.
	FromLogits() bool
}

// Uncounted is the label of a position that a loss leaves out.
const Uncounted = -1

// Classifier is a loss of class probabilities.
type Classifier interface {
	Loss
	// ClassAxis is the axis of y, of that rank, that has the classes.
	ClassAxis(rank int) int
}

// CrossEntropy is −log softmax(y)[label], averaged over all labels that are not [Uncounted]; 0 if
// there are none. y is [N,K], or [N,K,D1,…] with labels [N,D1,…], row-major; with Last it is [N,D1,…,K]. Another label
// outside [0,K) is an error.
// Source: https://onnx.ai/onnx/operators/onnx__SoftmaxCrossEntropyLoss.html
type CrossEntropy struct {
	// Last says that the classes are the last axis, not axis 1.
	Last bool
}

// ClassAxis implements [Classifier].
func (l CrossEntropy) ClassAxis(rank int) int { return classAxis(l.Last, rank) }

// ClassAxis implements [Classifier].
func (l Distillation) ClassAxis(rank int) int { return classAxis(l.Last, rank) }

func classAxis(last bool, rank int) int {
	if last {
		return rank - 1
	}
	return 1
}

// Eval implements [Loss].
func (l CrossEntropy) Eval(y *op.Tensor, t *Target, dy *op.Tensor) (float64, error) {
	n, k, inner, err := Classes(l, y)
	if err != nil {
		return 0, err
	}
	if len(t.Labels) != n*inner {
		return 0, fmt.Errorf("the batch has %d labels, the output %s wants %d", len(t.Labels), op.ShapeString(y.Shape), n*inner)
	}
	total := 0.0
	counted := 0
	for _, label := range t.Labels {
		if label != Uncounted {
			counted++
		}
	}
	scale := 1 / float64(max(1, counted))
	if inner > 1 {
		var d []float32
		if dy != nil {
			d = dy.F
		}
		total, err = l.dense(y.F, t.Labels, d, n, k, inner, scale)
		return total * scale, err
	}
	for i, label := range t.Labels {
		at := i * k
		if label == Uncounted {
			if dy != nil {
				clear(dy.F[at : at+k])
			}
			continue
		}
		if label < 0 || int(label) >= k {
			return 0, fmt.Errorf("label %d is outside [0,%d)", label, k)
		}
		logZ := logSumExp(y.F[at:at+k], 1)
		total += logZ - float64(y.F[at+int(label)])
		if dy == nil {
			continue
		}
		for j := 0; j < k; j++ {
			g := math.Exp(float64(y.F[at+j])-logZ) * scale
			if j == int(label) {
				g -= scale
			}
			dy.F[at+j] = float32(g)
		}
	}
	return total * scale, nil
}

// FromLogits implements [Loss].
func (CrossEntropy) FromLogits() bool { return true }

// FromLogits implements [Loss].
func (MeanSquaredError) FromLogits() bool { return false }

// FromLogits implements [Loss].
func (Distillation) FromLogits() bool { return true }

// Classes is how l reads y: element (i, class, j) of [n,k,inner] belongs to label i·inner + j.
func Classes(l Classifier, y *op.Tensor) (n, k, inner int, err error) {
	if y.Rank() < 2 {
		return 0, 0, 0, fmt.Errorf("the output has shape %s, classification wants [N,classes]", op.ShapeString(y.Shape))
	}
	axis := l.ClassAxis(y.Rank())
	return op.Size(y.Shape[:axis]), y.Shape[axis], op.Size(y.Shape[axis+1:]), nil
}

func logSumExp(v []float32, temperature float64) float64 {
	top := math.Inf(-1)
	for _, x := range v {
		top = math.Max(top, float64(x)/temperature)
	}
	sum := 0.0
	for _, x := range v {
		sum += math.Exp(float64(x)/temperature - top)
	}
	return top + math.Log(sum)
}

// MeanSquaredError is mean((y − target)²) over all elements.
type MeanSquaredError struct{}

// Eval implements [Loss].
func (MeanSquaredError) Eval(y *op.Tensor, t *Target, dy *op.Tensor) (float64, error) {
	if len(t.Values) != len(y.F) {
		return 0, fmt.Errorf("the batch has %d target values, the output %s wants %d", len(t.Values), op.ShapeString(y.Shape), len(y.F))
	}
	total := 0.0
	scale := 1 / float64(len(y.F))
	for i, v := range y.F {
		d := float64(v) - float64(t.Values[i])
		total += d * d
		if dy != nil {
			dy.F[i] = float32(2 * d * scale)
		}
	}
	return total * scale, nil
}

// FromLogits implements [Loss].
func (NormalizedSquaredError) FromLogits() bool { return false }

// NormalizedSquaredError is Σ(y − target)² / Σ(target − t̄)² with t̄ the mean of all target
// values of the batch: the squared error as a fraction of the target's variance, which does
// not depend on its scale. A target without variance counts with one of 1e-12.
type NormalizedSquaredError struct{}

// Eval implements [Loss].
func (NormalizedSquaredError) Eval(y *op.Tensor, t *Target, dy *op.Tensor) (float64, error) {
	loss, err := MeanSquaredError{}.Eval(y, t, dy)
	if err != nil || len(t.Values) == 0 {
		return loss, err
	}
	mean, variance := 0.0, 0.0
	for _, v := range t.Values {
		mean += float64(v)
	}
	mean /= float64(len(t.Values))
	for _, v := range t.Values {
		variance += (float64(v) - mean) * (float64(v) - mean)
	}
	variance = max(1e-12, variance/float64(len(t.Values)))
	if dy != nil {
		for i := range dy.F {
			dy.F[i] = float32(float64(dy.F[i]) / variance)
		}
	}
	return loss / variance, nil
}

// Distillation is T²·KL(softmax(teacher/T) ‖ softmax(y/T)), averaged over samples,
// with the teacher's logits as target values, stored or computed live; mixed
// with CrossEntropy as (1−LabelWeight)·KL + LabelWeight·CE where the batch has
// labels. Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural
// Network", section 2.
type Distillation struct {
	Temperature float64
	// LabelWeight is the share of the labels' loss, a fraction in [0,1].
	LabelWeight float64
	// Last says that the classes are the last axis, not axis 1.
	Last bool
}

// Eval implements [Loss].
func (l Distillation) Eval(y *op.Tensor, t *Target, dy *op.Tensor) (float64, error) {
	n, k, inner, err := Classes(l, y)
	if err != nil {
		return 0, err
	}
	if len(t.Values) != len(y.F) {
		return 0, fmt.Errorf("the batch has %d teacher values, the output %s wants %d", len(t.Values), op.ShapeString(y.Shape), len(y.F))
	}
	hard := 0.0
	if l.LabelWeight > 0 {
		if hard, err = (CrossEntropy{Last: l.Last}).Eval(y, t, dy); err != nil {
			return 0, err
		}
	}
	temp := l.Temperature
	soft := 0.0
	scale := 1 / float64(n*inner)
	if inner > 1 {
		var d []float32
		if dy != nil {
			d = dy.F
		}
		soft = l.dense(y.F, t.Values, d, n, k, inner, scale) * scale
		return (1-l.LabelWeight)*soft + l.LabelWeight*hard, nil
	}
	for i := range n {
		zs, zt := logSumExp(y.F[i*k:(i+1)*k], temp), logSumExp(t.Values[i*k:(i+1)*k], temp)
		for a := i * k; a < (i+1)*k; a++ {
			logQ, logP := float64(y.F[a])/temp-zs, float64(t.Values[a])/temp-zt
			p := math.Exp(logP)
			soft += p * (logP - logQ) * temp * temp * scale
			if dy == nil {
				continue
			}
			g := temp * (math.Exp(logQ) - p) * scale * (1 - l.LabelWeight)
			if l.LabelWeight > 0 {
				g += l.LabelWeight * float64(dy.F[a])
			}
			dy.F[a] = float32(g)
		}
	}
	return (1-l.LabelWeight)*soft + l.LabelWeight*hard, nil
}
