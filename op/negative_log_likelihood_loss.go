package op

// NegativeLogLikelihoodLoss: −w[t]·x[n,t,…] for every label t, reduced, of
// log-probabilities x [N,C,D1,…]. The class weights have no gradient.
// https://onnx.ai/onnx/operators/onnx__NegativeLogLikelihoodLoss.html
func init() {
	Register(Def{
		Name: "NegativeLogLikelihoodLoss", Since: 12,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			f := &negativeLogLikelihood{newClassLoss(r)}
			return f, r.err
		},
		Reference: func(n Node, in []*Array) []*Array { return []*Array{refClassLoss(n, in, in[0])} },
		Cases:     fixedWeights(lossCases()),
	})
}

// fixedWeights makes drawn class weights constants, which have no gradient.
func fixedWeights(cases []Case) []Case {
	for i := range cases {
		if len(cases[i].In) > 2 {
			cases[i].In[2] = Const(Floats([]float32{0.75, 1.5, 1.25}, 3))
		}
	}
	return cases
}

type negativeLogLikelihood struct{ classLoss }

func (f *negativeLogLikelihood) Infer(in []*Tensor) ([]*Tensor, error) {
	s, err := f.shape(in)
	if err != nil {
		return nil, err
	}
	return []*Tensor{Info(in[0].Type, s...)}, nil
}

func (f *negativeLogLikelihood) Links(in, out []*Tensor) []Link { return f.links(out) }

func (f *negativeLogLikelihood) Forward(c *Context, in, out []*Tensor) error {
	return f.loss(in, in[0], out[0])
}

func (f *negativeLogLikelihood) Reads() (in, out uint32) { return 1<<1 | 1<<2, 0 }

func (f *negativeLogLikelihood) Backward(c *Context, in, out, dout, din []*Tensor) error {
	if len(din) > 2 && din[2] != nil {
		clear(din[2].F)
	}
	if din[0] == nil {
		return nil
	}
	clear(din[0].F)
	return f.grad(in, din[0], dout[0], func(_, at int, d float32) { din[0].F[at] = -d })
}
