package prune

import (
	"errors"
	"io"
	"math"
	"math/rand/v2"

	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
	"github.com/onnxprune/onnxprune/op"
)

// filterNorm is the norm of Kaiming's initialisation, for filters of which no gradient is known.
const filterNorm = math.Sqrt2

// pullOfDecay is what √E[‖g‖²]/‖w‖ comes to, about, in networks that end their training with weight decay and
// normalisations, for the gradients of batches of pullBatch samples.
const (
	pullOfDecay = 0.019
	pullBatch   = 64
)

// Filters get a norm between these in the mean over a network, and at least leastShare of their Conv's.
// A step turns a filter by the learning rate over the square of its norm; networks that have learned
// their data by heart have gradients that say nothing about it.
const (
	leastNorm  = 1
	mostNorm   = 2
	leastShare = 0.02
)

// filterSamples is how many samples the gradients behind [Renorm.norms] are measured on.
const filterSamples = 1024

// meanNorms are norms between those of the filters as they are and equal ones: the geometric
// mean of a filter's norm and of the root mean square of its Conv's, which becomes filterNorm.
func meanNorms(convs []graph.Normed) [][]float64 {
	norms := make([][]float64, len(convs))
	for k, conv := range convs {
		w, out := conv.Weight.Init.F, len(conv.Bias.Init.F)
		all := norm(w) / math.Sqrt(float64(out))
		for o := range out {
			norms[k] = append(norms[k], filterNorm*math.Sqrt(norm(filterOf(w, out, o))/all))
		}
	}
	return norms
}

// norms finds for every filter w about the norm that it had before normalisations were folded away.
// Behind a normalisation only weight decay shortens a filter, and
// only gradients, which stand on it, lengthen it. Under SGD both come to rest where
//
//	‖w‖² = E[‖g‖²]^½·‖w‖ / ρ
//
// with g the gradient of a batch by the filter and ρ of rate and decay only. The numerator is the same at any length of w,
// so that it can be measured at the present one; ρ is pullOfDecay. Gradients are those of cross-entropy, with labels drawn
// from the model's own probabilities where the data have none.
// Source: Wan et al. 2021, "Spherical Motion Dynamics: Learning Dynamics of Normalized Neural Network
// using SGD and Weight Decay".
func (r *Renorm) norms(d *data.Dataset, pool *kernel.Pool, c Config, present [][]float64, size, batches int, tick func()) ([][]float64, error) {
	squares, err := r.squares(d, pool, c, size, batches, tick)
	if err != nil {
		return nil, err
	}
	norms := make([][]float64, len(squares))
	logs, counted := 0.0, 0
	for k := range squares {
		mean := 0.0
		for o, s := range squares[k] {
			square := math.Sqrt(s*float64(size)/pullBatch) * present[k][o] / pullOfDecay
			norms[k] = append(norms[k], math.Sqrt(square))
			mean += square / float64(len(squares[k]))
		}
		if mean > 0 && finite(mean) {
			logs += math.Log(mean) / 2
			counted++
		}
		for o := range norms[k] {
			norms[k][o] = max(norms[k][o], leastShare*math.Sqrt(mean))
		}
	}
	level := math.Exp(logs / float64(max(1, counted)))
	factor := min(max(level, leastNorm), mostNorm) / level
	for k := range norms {
		for o := range norms[k] {
			if norms[k][o] *= factor; norms[k][o] == 0 || !finite(norms[k][o]) {
				norms[k][o] = present[k][o]
			}
		}
	}
	return norms, nil
}

// squares is E[‖g‖²] of every filter over batches of that size.
func (r *Renorm) squares(d *data.Dataset, pool *kernel.Pool, c Config, size, batches int, tick func()) ([][]float64, error) {
	loss := &ownLabels{random: rand.New(rand.NewPCG(c.Seed, 0))}
	plan, err := engine.Compile(r.Graph, engine.NewState(r.Graph), engine.Options{Batch: size, Dims: c.Dims, Loss: loss, Pool: pool})
	if err != nil {
		return nil, err
	}
	stream, err := d.Batches(data.BatchOptions{Size: size, Shuffle: true, DropLast: true, Augment: c.Augment, Seed: 2 * c.Seed})
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	squares := make([][]float64, len(r.Convs))
	for k, conv := range r.Convs {
		squares[k] = make([]float64, len(conv.Bias.Init.F))
	}
	for n := range batches {
		b, err := stream.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		plan.Feed(b.Inputs, b.Rows)
		_, err = plan.Step(&engine.Target{Labels: b.Labels})
		b.Release()
		if err != nil {
			return nil, err
		}
		pool.Run(len(r.Convs), func(k, _ int) {
			gradient := plan.Grad(r.Convs[k].Weight.Name).F
			for o := range squares[k] {
				g := norm(filterOf(gradient, len(squares[k]), o))
				squares[k][o] += (g*g - squares[k][o]) / float64(n+1)
			}
		})
		tick()
	}
	return squares, nil
}

// ownLabels is cross-entropy, with labels drawn from softmax(y) where there are none.
type ownLabels struct {
	engine.CrossEntropy
	random *rand.Rand
	labels []int64
}

// Eval implements [engine.Loss].
func (l *ownLabels) Eval(y *op.Tensor, t *engine.Target, dy *op.Tensor) (float64, error) {
	if t.Labels != nil || y.Rank() < 2 {
		return l.CrossEntropy.Eval(y, t, dy)
	}
	n, k, inner := y.Shape[0], y.Shape[1], op.Size(y.Shape[2:])
	l.labels = l.labels[:0]
	p := make([]float64, k)
	for i := range n * inner {
		at := i/inner*k*inner + i%inner
		l.labels = append(l.labels, int64(draw(l.random, y.F[at:], inner, p)))
	}
	return l.CrossEntropy.Eval(y, &engine.Target{Labels: l.labels}, dy)
}

// draw picks a class by the logits v[0], v[step], …, one for each element of p, which is scratch.
func draw(random *rand.Rand, v []float32, step int, p []float64) int {
	top := math.Inf(-1)
	for j := range p {
		top = max(top, float64(v[j*step]))
	}
	sum := 0.0
	for j := range p {
		p[j] = math.Exp(float64(v[j*step]) - top)
		sum += p[j]
	}
	x := random.Float64() * sum
	for j := range p {
		if x -= p[j]; x < 0 {
			return j
		}
	}
	return len(p) - 1
}

// fromLogits reports whether l is a loss of class probabilities.
func fromLogits(l engine.Loss) bool { return l != nil && l.FromLogits() }
