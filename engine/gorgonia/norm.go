//go:build gorgonia

package gorgonia

import (
	"errors"
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/onnxprune/onnxprune/graph"
	"github.com/onnxprune/onnxprune/op"
)

// norm is a normalisation in training, with the running statistics of the state.
type norm struct {
	op             *G.BatchNormOp
	mean, variance *op.Tensor
}

// batchNormalization is Gorgonia's BatchNorm in training. In inference it is
// (x−μ)/√(σ²+ε)·s + b on the state's running statistics, which may change between runs.
func batchNormalization(l *lowering, n *graph.Node) (*G.Node, error) {
	in := make([]*G.Node, 5)
	for i := range in {
		var err error
		if in[i], err = l.in(n, i); err != nil {
			return nil, err
		}
	}
	x, scale, bias, mean, variance := in[0], in[1], in[2], in[3], in[4]
	rank := x.Shape().Dims()
	if rank != 2 && rank != 4 {
		return nil, fmt.Errorf("the input is of rank %d, gorgonia is given [N,C] or [N,C,H,W]", rank)
	}
	if n.Attrs["training_mode"].I != 0 {
		return nil, errors.New("attribute \"training_mode\" is 1, which is not lowered to gorgonia")
	}
	epsilon := float32(1e-5)
	if a, ok := n.Attrs["epsilon"]; ok {
		epsilon = a.F
	}
	if l.p.Loss != nil && !l.p.FreezeNorm {
		return l.trainNorm(n, x, scale, bias, epsilon)
	}
	deviation, err := G.Add(variance, G.NewConstant(epsilon))
	if err != nil {
		return nil, err
	}
	if deviation, err = G.Sqrt(deviation); err != nil {
		return nil, err
	}
	factor, err := G.HadamardDiv(scale, deviation)
	if err != nil {
		return nil, err
	}
	if x, err = perChannel(G.BroadcastSub, x, mean); err != nil {
		return nil, err
	}
	if x, err = perChannel(G.BroadcastHadamardProd, x, factor); err != nil {
		return nil, err
	}
	return perChannel(G.BroadcastAdd, x, bias)
}

func (l *lowering) trainNorm(n *graph.Node, x, scale, bias *G.Node, epsilon float32) (*G.Node, error) {
	for _, u := range n.In[0].Uses {
		if u.Node != n && u.Node.Type == n.Type && u.Input == 0 {
			return nil, fmt.Errorf("%s normalises the same value, and gorgonia takes both for one", u.Node)
		}
	}
	s := &norm{mean: l.p.State.Tensor(n.In[3].Name), variance: l.p.State.Tensor(n.In[4].Name)}
	if s.mean == nil || s.variance == nil {
		return nil, errors.New("the running statistics are no initializers")
	}
	momentum := 0.9
	if a, ok := n.Attrs["momentum"]; ok {
		momentum = float64(a.F)
	}
	c := x.Shape()[1]
	broad := tensor.Shape{1, c, 1, 1}[:x.Shape().Dims()]
	scale, err := G.Reshape(scale, broad)
	if err != nil {
		return nil, err
	}
	if bias, err = G.Reshape(bias, broad); err != nil {
		return nil, err
	}
	var y *G.Node
	if y, _, _, s.op, err = G.BatchNorm(x, scale, bias, 1-momentum, float64(epsilon)); err != nil {
		return nil, err
	}
	l.norms = append(l.norms, s)
	return y, nil
}

// load gives Gorgonia the running statistics before a step, store takes them back.
func (s *norm) load() error { return s.op.SetStats(over(s.mean), over(s.variance)) }

func (s *norm) store() error {
	mean, variance := s.op.Stats()
	if err := copyValue(s.mean.F, mean); err != nil {
		return err
	}
	return copyValue(s.variance.F, variance)
}
