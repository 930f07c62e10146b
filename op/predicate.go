package op

// predicate is y = f(x) as bool for floats x, element by element, in any layout.
type predicate struct{ f func(x float64) bool }

// registerPredicate adds an operator that tests its elements. make reads the attributes.
func registerPredicate(name string, since int, newFunc func(r *reader) func(x float64) bool, cases ...Case) {
	Register(Def{
		Name: name, Since: since,
		New: func(n Node) (Op, error) {
			r := &reader{n: n}
			return &predicate{newFunc(r)}, r.err
		},
		Reference: func(n Node, in []*Array) []*Array {
			f := newFunc(&reader{n: n})
			y := NewArray(in[0].Shape...)
			for i, v := range in[0].V {
				y.V[i] = float64(truth(f(v)))
			}
			return []*Array{y}
		},
		Cases: cases,
	})
}

func (t *predicate) Infer(in []*Tensor) ([]*Tensor, error) {
	if err := wantInputs(in, 1, 1); err != nil {
		return nil, err
	}
	if err := wantFloats(in); err != nil {
		return nil, err
	}
	return []*Tensor{Info(Bool, in[0].Shape...)}, nil
}

func (t *predicate) Forward(c *Context, in, out []*Tensor) error {
	for i, v := range in[0].F {
		out[0].I[i] = truth(t.f(float64(v)))
	}
	return nil
}

func (t *predicate) Layouts(in []*Tensor) (want, out []Layout) { return keepLayouts(in, 1) }

func (t *predicate) Links(in, out []*Tensor) []Link { return passLinks(in, out) }
