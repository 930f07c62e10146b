package prune

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/onnxprune/onnxprune/data"
	"github.com/onnxprune/onnxprune/engine"
	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/internal/kernel"
)

// Renorm is a model with BatchNormalization put back behind its Convs, and the way back.
// With y = w∗x + b what a Conv computes, μ and σ² its mean and variance over data per
// channel, and any a > 0,
//
//	w' = w/a,  mean = (μ−b)/a,  variance = σ²/a²,  scale = a·√(variance+ε),  shift = μ
//
// leave the function as it is. a gives every filter the norm that [Renorm.norms] finds for it.
// [Renorm.Fold] goes back by
//
//	w = w'·f,  b = shift − mean·f,  f = scale/√(variance+ε)
type Renorm struct {
	// Graph has the normalisations.
	Graph *graph.Graph
	// Convs they stand behind, of the graph as it came.
	Convs []graph.Normed
}

// normEpsilon is the default of BatchNormalization's attribute.
const normEpsilon = 1e-5

// renormSamples is how many samples the statistics are measured on, in batches of at most
// renormBatch: all results of the Convs are held at once.
const (
	renormSamples = 512
	renormBatch   = 16
)

// NewRenorm measures g on the first samples of d, in shuffled order and augmented, and
// puts the normalisations in. Only c's Seed, Augment, Dims, Batch and Loss are read. progress, if
// set, is called as batches are done.
func NewRenorm(g *graph.Graph, d *data.Dataset, pool *kernel.Pool, c Config, progress func(done, total int)) (*Renorm, error) {
	r := &Renorm{Convs: g.Normable()}
	if len(r.Convs) == 0 {
		return nil, fmt.Errorf("%s: no Conv can get BatchNormalization: none has weights and a bias of its own and other weights behind it", g.Name)
	}
	size := min(renormBatch, EvalBatch(g, c.Dims, d.Len()), max(1, c.Batch))
	first, second := max(1, min(d.Len(), renormSamples)/size), 0
	if fromLogits(c.Loss) {
		second = max(1, min(d.Len(), filterSamples)/size)
	}
	done := 0
	tick := func() {
		if done++; progress != nil {
			progress(done, first+second)
		}
	}
	means, variances, err := r.measure(g, d, pool, c, size, first, tick)
	if err != nil {
		return nil, err
	}
	norms := meanNorms(r.Convs)
	if err := r.normalise(g, means, variances, norms); err != nil || second == 0 {
		return r, err
	}
	if norms, err = r.norms(d, pool, c, norms, size, second, tick); err != nil {
		return nil, err
	}
	return r, r.normalise(g, means, variances, norms)
}

// normalise makes the graph, with filters of those norms; a filter of zeros stays.
func (r *Renorm) normalise(g *graph.Graph, means, variances, norms [][]float64) (err error) {
	values := map[string][]float32{}
	for k, conv := range r.Convs {
		w := append([]float32(nil), conv.Weight.Init.F...)
		out := len(conv.Bias.Init.F)
		scale, shift, mean, variance := make([]float32, out), make([]float32, out), make([]float32, out), make([]float32, out)
		for o := range out {
			filter := filterOf(w, out, o)
			a := norm(filter) / norms[k][o]
			if a == 0 || !finite(a) {
				a = 1
			}
			for i := range filter {
				filter[i] = float32(float64(filter[i]) / a)
			}
			v := variances[k][o] / (a * a)
			mean[o] = float32((means[k][o] - float64(conv.Bias.Init.F[o])) / a)
			variance[o] = float32(v)
			scale[o] = float32(a * math.Sqrt(float64(variance[o])+normEpsilon))
			shift[o] = float32(means[k][o])
		}
		values[conv.Weight.Name], values[conv.Scale], values[conv.Shift], values[conv.Mean], values[conv.Variance] = w, scale, shift, mean, variance
	}
	r.Graph, err = g.AddNorms(r.Convs, values)
	return err
}

// filterOf is filter number o of w [O,C/G,…], out = O.
func filterOf(w []float32, out, o int) []float32 {
	each := len(w) / out
	return w[o*each : (o+1)*each]
}

func norm(v []float32) float64 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}

// measure is the mean and the variance of every channel that the Convs compute, over batches of that size.
func (r *Renorm) measure(g *graph.Graph, d *data.Dataset, pool *kernel.Pool, c Config, size, batches int, tick func()) (means, variances [][]float64, err error) {
	var values []string
	for _, conv := range r.Convs {
		values = append(values, conv.Node.Out[0].Name)
		means = append(means, make([]float64, len(conv.Bias.Init.F)))
		variances = append(variances, make([]float64, len(conv.Bias.Init.F)))
	}
	heads, err := g.Heads(values)
	if err != nil {
		return nil, nil, err
	}
	plan, err := engine.Compile(heads, engine.NewState(g), engine.Options{Batch: size, Dims: c.Dims, Pool: pool})
	if err != nil {
		return nil, nil, err
	}
	results := plan.Outputs
	stream, err := d.Batches(data.BatchOptions{Size: size, Shuffle: true, DropLast: true, Augment: c.Augment, Seed: 2 * c.Seed})
	if err != nil {
		return nil, nil, err
	}
	defer stream.Close()
	n := 0.0
	for range batches {
		b, err := stream.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		plan.Feed(b.Inputs, b.Rows)
		b.Release()
		if err := plan.Forward(); err != nil {
			return nil, nil, err
		}
		n++
		pool.Run(len(results), func(k, _ int) {
			mean, variance := means[k], variances[k]
			y := results[k].F
			inner := len(y) / (size * len(mean))
			for o := range mean {
				sum, squares := 0.0, 0.0
				for s := range size {
					for _, x := range y[(s*len(mean)+o)*inner:][:inner] {
						sum += float64(x)
						squares += float64(x) * float64(x)
					}
				}
				count := float64(size * inner)
				mean[o] += (sum/count - mean[o]) / n
				variance[o] += (squares/count - variance[o]) / n
			}
		})
		tick()
	}
	if n == 0 {
		return nil, nil, fmt.Errorf("%s: no batch of %d samples to measure BatchNormalization on", g.Name, size)
	}
	var errs []error
	for k := range means {
		for o, mu := range means[k] {
			variances[k][o] = max(0, variances[k][o]-mu*mu)
			if !finite(mu) || !finite(variances[k][o]) {
				errs = append(errs, fmt.Errorf("%s: %s: channel %d of its result is not finite on the data", g.Name, r.Convs[k].Node, o))
				break
			}
		}
	}
	return means, variances, errors.Join(errs...)
}

// Fold gives the values of the graph as it came: those of r.Graph with the normalisations
// multiplied into weights and biases.
func (r *Renorm) Fold(values map[string][]float32) map[string][]float32 {
	out := map[string][]float32{}
	for name, v := range values {
		out[name] = v
	}
	for _, c := range r.Convs {
		w, bias := append([]float32(nil), values[c.Weight.Name]...), make([]float32, len(c.Bias.Init.F))
		scale, shift, mean, variance := values[c.Scale], values[c.Shift], values[c.Mean], values[c.Variance]
		each := len(w) / len(bias)
		for o := range bias {
			f := float64(scale[o]) / math.Sqrt(float64(variance[o])+normEpsilon)
			for i := range each {
				w[o*each+i] = float32(float64(w[o*each+i]) * f)
			}
			bias[o] = float32(float64(shift[o]) - float64(mean[o])*f)
		}
		out[c.Weight.Name], out[c.Bias.Name] = w, bias
		for _, name := range []string{c.Scale, c.Shift, c.Mean, c.Variance} {
			delete(out, name)
		}
	}
	return out
}
